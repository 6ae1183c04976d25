//! Tenure as it is measured: two keepers, forked before there are threads, and the drivers that speak to them.

pub mod create;
pub mod crowd;
pub mod exec;
pub mod idle;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bench::measure::Table;
use tenure_environment::agent::Client;
use tenure_environment::{Driver as _, Environment, EnvironmentId, EnvironmentSpec};
use tenure_linux::LinuxDriver;
use tenure_linux::keeper::{self, KeeperProcess, Settings};
use tenure_linux::template::DEFAULT_TEMPLATE;
use tenure_protocol::{Exec, Sink};
use tokio::runtime::Runtime;

/// How many environments wait in the pool.
pub const POOLED: usize = 8;
const BERTHS: usize = 4;
const GIB: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(30);

/// Keepers that nobody speaks to yet.
pub struct Keepers {
    cold: KeeperProcess,
    pooled: KeeperProcess,
}

/// Keepers and their drivers.
pub struct Tenure {
    runtime: Runtime,
    /// Makes each environment when it is asked for.
    pub cold: LinuxDriver,
    /// Keeps some ready, from the first request on.
    pub pooled: LinuxDriver,
    /// The keeper of `cold`.
    pub keeper: i32,
    /// What the host gives, for a note.
    host: String,
}

impl Keepers {
    /// Forks them; their data goes below `dir`. The caller must have one thread only.
    pub fn start(dir: &Path) -> anyhow::Result<Keepers> {
        let start = |name: &str, berths_ready: usize, pool_bytes: u64| {
            let data_dir = dir.join(name);
            std::fs::create_dir(&data_dir)?;
            keeper::start(Settings {
                data_dir,
                dies_with_manager: true,
                berths_ready,
                only_one: false,
                pool_bytes: Some(pool_bytes),
                plain_storage: false,
            })
        };
        Ok(Keepers { cold: start("cold", BERTHS, 2 * GIB)?, pooled: start("pooled", BERTHS, GIB)? })
    }

    /// Connects to them, and makes one environment, so that what is made once is there.
    pub fn connect(self) -> anyhow::Result<Tenure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let keeper = self.cold.pid;
        let (cold, pooled, host) = runtime.block_on(async {
            let cold = LinuxDriver::connect(self.cold)?;
            let pooled = LinuxDriver::connect_with_pool(self.pooled, POOLED)?;
            let found = cold.host_found().await?;
            let missing: Vec<String> = found.enforced.missing().iter().map(ToString::to_string).collect();
            let missing = if missing.is_empty() { "none".to_owned() } else { missing.join(", ") };
            let host = format!("Tenure: {}, {}; limits not enforced: {missing}.", found.groups, found.storage);
            cycle(&cold).await?;
            anyhow::Ok((cold, pooled, host))
        })?;
        Ok(Tenure { runtime, cold, pooled, keeper, host })
    }
}

impl Tenure {
    /// Does something as a server would: in a task, on the runtime's own threads.
    pub fn run<T, F>(&self, work: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = anyhow::Result<T>> + Send + 'static,
    {
        self.runtime.block_on(self.runtime.spawn(work))?
    }

    /// Waits until the pool is full.
    pub fn pool_full(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.pooled.pooled(DEFAULT_TEMPLATE) < POOLED {
            ensure!(start.elapsed() < PATIENCE, "the pool does not fill");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Takes down what waits in the pool.
    pub fn pool_drain(&self) -> anyhow::Result<()> {
        let driver = self.pooled.clone();
        self.run(async move {
            driver.pool_drain(DEFAULT_TEMPLATE).await;
            Ok(())
        })
    }

    /// Says below a table what the host gives Tenure.
    pub fn note(&self, table: &mut Table) {
        table.note(&self.host);
    }

    /// Ends everything.
    pub fn shut_down(self) -> anyhow::Result<()> {
        let both = async {
            self.cold.shut_down().await;
            self.pooled.shut_down().await;
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, both).await }).context("a keeper does not end")
    }
}

/// Says below a table of several tools in what Tenure's program differs.
pub fn note_program(table: &mut Table) {
    table.note("Tenure runs the host's /bin/true, linked dynamically; the other tools that of a static busybox.");
}

/// Makes an environment with the default limits.
pub async fn create(driver: &LinuxDriver) -> anyhow::Result<Arc<dyn Environment>> {
    let mut spec = EnvironmentSpec::new(EnvironmentId::generate()?, DEFAULT_TEMPLATE);
    spec.allow_unenforced = true;
    Ok(driver.create(spec).await?)
}

/// Takes it down at once.
pub async fn destroy(environment: &dyn Environment) -> anyhow::Result<()> {
    environment.destroy(Duration::ZERO).await?;
    Ok(())
}

/// Makes an environment, runs `/bin/true` in it, and takes it down.
pub async fn cycle(driver: &LinuxDriver) -> anyhow::Result<()> {
    let environment = create(driver).await?;
    let ran = match environment.connect().await {
        Ok(client) => run_true(client).await.map(drop),
        Err(error) => Err(error.into()),
    };
    destroy(environment.as_ref()).await?;
    ran
}

/// Runs `/bin/true` to its end; the client again.
pub async fn run_true(client: Client) -> anyhow::Result<Client> {
    let mut attached = client.exec(command(&["/bin/true"]), Vec::new()).await?;
    let ended = attached.wait().await?;
    ensure!(ended.exit_code == Some(0), "/bin/true: {ended:?}");
    attached.into_client().context("the connection is not at rest")
}

/// An exec of these words.
pub fn command(words: &[&str]) -> Exec {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    Exec {
        exec_id: format!("exec-{}", COUNT.fetch_add(1, Ordering::Relaxed)),
        cmd: words.iter().map(|word| (*word).to_owned()).collect(),
        cwd: "/".into(),
        env: Default::default(),
        user: None,
        tag: None,
        timeout_ms: None,
        stdin: false,
        tty: None,
        sink: Sink::Frames,
    }
}
