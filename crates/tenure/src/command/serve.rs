//! `tenure serve`: the server. Starts the keeper, opens the store, looks after what it finds, opens the door, and drains at SIGTERM.
//!
//! ```text
//!  configuration ─► lock ─► keeper (one thread only) ─► runtime ─► store ─► engine ─► door ─► "listening"
//!                                                                            │          │ SIGTERM, SIGINT
//!                                                                        recovery    drain ─► close the store
//! ```

use crate::Context;
use crate::config::{self, Config};
use crate::failure::{Code, Failure};
use crate::wiring::bases::LinuxBases;
use crate::wiring::clock::KernelClock;
use crate::wiring::host::{KernelGauge, Reserve};
use crate::wiring::{data_lock, door, secrets, store};
use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tenure_engine::{Engine, HostClock, Parts};
use tenure_linux::LinuxDriver;
use tenure_linux::keeper::{self, KeeperProcess};
use tokio::signal::unix::{SignalKind, signal};

/// Where programs' output is kept, below the data directory.
const OUTPUT_DIR: &str = "output";
/// How often the host is looked at where nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Runs until it is told to stop.
pub fn run(context: &Context) -> Result<u8, Failure> {
    let (dir, config) = (&context.data_dir, &context.config);
    log(config)?;
    let lock = data_lock::take(dir)?;
    // Before any thread is started; and before the listener is there, which must be free again as soon as we are gone.
    let keeper = keeper::start(keeper_settings(dir, config))?;
    let listener = listen(config.listen)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(dir, config, keeper, listener));
    runtime.shutdown_background();
    drop(lock);
    served.map(|()| 0)
}

fn log(config: &Config) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log)
        .map_err(|error| Failure::new(Code::Validation, format!("log: {error}")))?;
    // Set once per process, here; standard output is for what callers read.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // A log that cannot be written, as on a full disk, is no reason to fail; to say so in the same place would be a panic.
    log.log_internal_errors(false).init();
    Ok(())
}

fn keeper_settings(dir: &Path, config: &Config) -> keeper::Settings {
    keeper::Settings {
        data_dir: dir.to_path_buf(),
        dies_with_manager: false,
        berths_ready: 2,
        only_one: false,
        pool_bytes: config.pool_bytes,
        plain_storage: false,
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let refused = |error: std::io::Error| {
        Failure::new(Code::Unavailable, format!("cannot listen on {address}: {error}"))
            .hint("another server may listen there; choose another address with --listen")
    };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

async fn serve(dir: &Path, config: &Config, keeper: KeeperProcess, listener: TcpListener) -> Result<(), Failure> {
    // From the first moment on: a signal that comes early is not lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let output_dir = dir.join(OUTPUT_DIR);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&output_dir)?;
    let mut registry = prometheus_client::registry::Registry::default();
    let reserve = Arc::new(Reserve::take(dir, config.host.reserve_bytes));
    let opened = store::open(dir, &mut registry, reserve.clone())?;
    let driver = LinuxDriver::connect_with_pool(keeper, config.pool_ready)?;
    let meters = tenure_api::HttpMeters::register(&mut registry);
    let parts = Parts {
        store: opened.store.clone(),
        driver: Arc::new(driver.clone()),
        bases: Arc::new(LinuxBases::new(dir.to_path_buf(), driver)),
        clock: Box::new(KernelClock::new()?) as Box<dyn HostClock>,
        gauge: Box::new(KernelGauge::new(dir.to_path_buf(), reserve)),
        settings: config.engine_settings(output_dir),
        registry,
    };
    let engine = Engine::begin(parts).await?;
    let shown = engine.clone();
    let showing = tokio::spawn(async move { shown.show_life().await });
    opened.tell_time(engine.clone());
    engine.template_seed().await?;
    first_key(dir, &engine).await?;

    let recovery = engine.recovery().await?;
    let door = door::open(dir, config, engine.clone(), meters, listener)?;
    let looked_after = tokio::spawn(recovery.run());
    let (sweeping, every) = (engine.clone(), Duration::from_millis(config.sweeper.interval_ms));
    let sweeper = config.sweeper.enabled.then(|| tokio::spawn(async move { sweeping.sweep_on(every).await }));
    let (retaining, every) = (engine.clone(), Duration::from_millis(config.retention.interval_ms));
    let retention = config.retention.enabled.then(|| tokio::spawn(async move { retaining.retain_on(every).await }));
    let watched = engine.clone();
    let watching = tokio::spawn(async move { watch_host(&watched).await });
    say_ready(config, &door.address);
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    engine.drain();
    door.close().await;
    looked_after.abort();
    for background in [sweeper, retention].into_iter().flatten() {
        background.abort();
    }
    engine.denials_write().await;
    watching.abort();
    showing.abort();
    engine.sign_of_life().await?;
    opened.close().await;
    tracing::info!("stopped; sessions live on");
    Ok(())
}

/// Looks at the host where nobody asks: for the log, and so that the reserve is given and taken in time.
async fn watch_host(engine: &Engine) {
    loop {
        engine.host_low();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The first start makes an administrator's key, in a file that only its owner can read.
async fn first_key(dir: &Path, engine: &Engine) -> Result<(), Failure> {
    let path = dir.join(secrets::ADMIN_KEY);
    if let Some(made) = engine.key_first_admin(|secret| secrets::write(&path, secret)).await? {
        tracing::info!(key = %made.id, file = %path.display(), "the first administrator's key was made");
    }
    Ok(())
}

/// One line that says where: for people, and for whoever waits for it. On a terminal also what to open.
fn say_ready(config: &Config, address: &SocketAddr) {
    println!("tenure listens on http://{address}");
    if std::io::stdout().is_terminal() {
        println!("the administrator's key is in {}", config.data_dir.join(secrets::ADMIN_KEY).display());
    }
}

/// What `serve` takes beside what every command takes.
pub type Args = config::Flags;
