//! What every test begins with: an engine, its parts, and somebody who asks.

use crate::driver::TestDriver;
use crate::trouble::{Trouble, Troubled};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tenure_engine::*;
use tenure_environment::Driver;
use tenure_environment::fake::{Call as Program, FakeDriver, FakeEnvironment, Script, Then};
use tenure_session::*;
use tenure_sqlite::SqliteStore;
use tenure_store::Store;

/// The instant at which every test begins.
pub const BEGIN_MS: i64 = 1_795_226_984_000;

/// A clock that runs, or stands until it is moved.
#[derive(Clone)]
pub struct Clock {
    begun: Instant,
    runs: Arc<AtomicBool>,
    moved_ms: Arc<AtomicU64>,
    /// How far the wall clock is from the truth.
    pub wall_off_ms: Arc<AtomicI64>,
    boot: Arc<Mutex<String>>,
}

impl Clock {
    fn new() -> Clock {
        Clock {
            begun: Instant::now(),
            runs: Arc::new(AtomicBool::new(false)),
            moved_ms: Arc::default(),
            wall_off_ms: Arc::default(),
            boot: Arc::new(Mutex::new("a boot".to_owned())),
        }
    }

    /// Time passes.
    pub fn pass(&self, ms: u64) {
        self.moved_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// From now on time passes by itself.
    pub fn run(&self) {
        let ms = self.begun.elapsed().as_millis() as u64;
        let before = self.moved_ms.load(Ordering::SeqCst);
        self.moved_ms.store(before.wrapping_sub(ms), Ordering::SeqCst);
        self.runs.store(true, Ordering::SeqCst);
    }
}

impl HostClock for Clock {
    fn boot_id(&self) -> String {
        self.boot.lock().unwrap().clone()
    }

    fn boot_ms(&self) -> u64 {
        let ran = if self.runs.load(Ordering::SeqCst) { self.begun.elapsed().as_millis() as u64 } else { 0 };
        1_000_000u64.wrapping_add(self.moved_ms.load(Ordering::SeqCst)).wrapping_add(ran)
    }

    fn wall_ms(&self) -> i64 {
        BEGIN_MS + self.boot_ms() as i64 - 1_000_000 + self.wall_off_ms.load(Ordering::SeqCst)
    }
}

/// Roots that exist in memory only.
#[derive(Default)]
pub struct TestBases {
    pub there: Mutex<Vec<String>>,
    count: AtomicU64,
}

#[async_trait]
impl Bases for TestBases {
    async fn base_add(&self, name: &str, source: BaseSource) -> Result<String, BaseError> {
        if source == BaseSource::Path("/nowhere".to_owned()) {
            return Err(BaseError::NotFound("nothing is at /nowhere".to_owned()));
        }
        let base = format!("{name}@{}", self.count.fetch_add(1, Ordering::SeqCst) + 1);
        self.there.lock().unwrap().push(base.clone());
        Ok(base)
    }
    async fn base_exists(&self, base: &str) -> bool {
        base == "default" || self.there.lock().unwrap().iter().any(|there| there == base)
    }
    async fn base_remove(&self, base: &str) -> Result<(), BaseError> {
        self.there.lock().unwrap().retain(|there| there != base);
        Ok(())
    }
}

/// What programs do: `say WORDS`, `say-and-stay WORDS`, `stay`, `echo WORDS` on a terminal, `exit N`, `die`, `missing`.
fn program(call: &Program) -> Script {
    let words = call.exec.cmd[1..].join(" ");
    match call.exec.cmd[0].as_str() {
        "say" => Script::prints(words),
        "much" => Script::prints(vec![b'x'; words.parse().unwrap()]),
        "leave" => Script::then(Then::Leave(words.parse().unwrap())),
        "cat" => Script::prints(call.stdin.clone()),
        "env" => Script::prints(format!("{:?}", call.env)),
        "say-and-stay" => Script { output: words.into_bytes(), error: Vec::new(), then: Then::Run },
        "stay" => Script::then(Then::Run),
        "echo" => Script { output: words.into_bytes(), error: Vec::new(), then: Then::Echo },
        "exit" => Script::then(Then::Exit(words.parse().unwrap())),
        "die" => Script::then(Then::Die(9)),
        _ => Script::then(Then::NotFound),
    }
}

/// A host of which as much is free as a test says.
#[derive(Clone, Default)]
pub struct Gauge(pub Arc<Mutex<HostFree>>);

impl HostGauge for Gauge {
    fn free(&self) -> HostFree {
        *self.0.lock().unwrap()
    }
}

/// An engine and its parts.
pub struct World {
    pub gauge: Gauge,
    pub engine: Engine,
    pub store: Arc<SqliteStore>,
    pub trouble: Arc<Trouble>,
    pub driver: Arc<TestDriver>,
    pub bases: Arc<TestBases>,
    pub clock: Clock,
    settings: Settings,
    _dir: tempfile::TempDir,
}

impl World {
    pub async fn new() -> World {
        World::with(|_| ()).await
    }

    pub async fn with(set: impl FnOnce(&mut Settings)) -> World {
        World::on(FakeDriver::new(program), set).await
    }

    /// On a driver of the test's own; programs are as everywhere where it is made by [`driver`].
    pub async fn on(fake: FakeDriver, set: impl FnOnce(&mut Settings)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(dir.path().to_owned());
        settings.grace_ms = 100;
        set(&mut settings);
        let driver = TestDriver::new(fake);
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        let (driver, bases, clock) = (Arc::new(driver), Arc::new(TestBases::default()), Clock::new());
        let gauge = Gauge::default();
        let trouble = Arc::default();
        let engine = begin(&store, &trouble, &driver, &bases, &clock, &gauge, &settings).await;
        World { gauge, engine, store, trouble, driver, bases, clock, settings, _dir: dir }
    }

    /// The service stops and another begins on the same store and host.
    pub async fn restart(&mut self) -> Recovered {
        self.begin_again().await;
        self.engine.recover().await.unwrap()
    }

    /// The host boots: service and environments are gone, and their files are there. Nothing runs afterwards.
    pub fn boot(&mut self, name: &str) {
        self.driver.next_service();
        self.driver.fake.reboot();
        *self.clock.boot.lock().unwrap() = name.to_owned();
    }

    /// The service stops and another begins, and nothing is looked after yet.
    pub async fn begin_again(&mut self) {
        self.driver.next_service();
        self.engine =
            begin(&self.store, &self.trouble, &self.driver, &self.bases, &self.clock, &self.gauge, &self.settings)
                .await;
    }

    /// A session of alice's with these limits.
    pub async fn session(&self, limits: LimitRequest) -> Session {
        self.create(CreateRequest { limits, ..CreateRequest::default() }).await.unwrap()
    }

    /// A session of alice's.
    pub async fn create(&self, request: CreateRequest) -> Result<Session, EngineError> {
        fresh(self.engine.session_create(&alice(), Ok(request)).await?)
    }

    /// The session as it is stored.
    pub async fn stored(&self, id: &SessionId) -> Session {
        self.store.session_get(id).await.unwrap().unwrap()
    }

    /// The environment of a session, whether it lives or not.
    pub async fn environment(&self, id: &SessionId) -> Arc<FakeEnvironment> {
        let record = self.stored(id).await.environment.unwrap();
        self.driver.fake.environment(&record.id.as_str().parse().unwrap()).unwrap()
    }

    /// The actions in a session's audit.
    pub async fn actions(&self, id: &SessionId) -> Vec<String> {
        let filter = AuditFilter { session_id: Some(id.clone()), ..AuditFilter::default() };
        let page = self.store.audit_list(filter, PageRequest { limit: 1000, cursor: None }).await.unwrap();
        page.items.into_iter().map(|entry| entry.action).collect()
    }

    /// How many ends a session's audit has.
    pub async fn ends(&self, id: &SessionId) -> usize {
        self.actions(id).await.iter().filter(|action| *action == "session_end").count()
    }

    /// Alice runs a program.
    pub async fn exec(&self, id: &SessionId, cmd: &[&str]) -> Result<ExecResult, EngineError> {
        fresh(self.engine.exec_run(&alice(), id.as_str(), Ok(run(cmd))).await?)
    }

    /// Alice starts a program and does not wait for its end.
    pub async fn start(&self, id: &SessionId, cmd: &[&str]) -> Result<ExecRecord, EngineError> {
        let request = ExecRequest { background: true, stdin: Some(String::new()), ..run(cmd) };
        fresh(self.engine.exec_start(&alice(), id.as_str(), Ok(request)).await?)
    }

    /// Waits until no environment is left and nothing is kept of any session.
    pub async fn quiet(&self) {
        until(async || self.driver.fake.known().await.unwrap().is_empty() && self.engine.live_count() == 0).await;
    }
}

async fn begin(
    store: &Arc<SqliteStore>,
    trouble: &Arc<Trouble>,
    driver: &Arc<TestDriver>,
    bases: &Arc<TestBases>,
    clock: &Clock,
    gauge: &Gauge,
    settings: &Settings,
) -> Engine {
    let parts = Parts {
        store: Arc::new(Troubled { inner: store.clone(), by: driver.service(), trouble: trouble.clone() }),
        driver: driver.clone(),
        bases: bases.clone(),
        clock: Box::new(clock.clone()),
        gauge: Box::new(gauge.clone()),
        settings: settings.clone(),
        registry: prometheus_client::registry::Registry::default(),
    };
    let engine = Engine::begin(parts).await.unwrap();
    engine.template_seed().await.unwrap();
    engine
}

/// A fake driver in which programs do what they do everywhere in these tests.
pub fn driver() -> FakeDriver {
    FakeDriver::new(program)
}

pub fn run(cmd: &[&str]) -> ExecRequest {
    ExecRequest { cmd: cmd.iter().map(|&word| word.to_owned()).collect(), ..ExecRequest::default() }
}

pub fn call(user: &str, role: Role) -> Call {
    let user: UserId = user.parse().unwrap();
    Call::by(Arc::new(Caller { credential: format!("test of {user}"), user, role }))
}

pub fn alice() -> Call {
    call("alice", Role::User)
}

pub fn bob() -> Call {
    call("bob", Role::User)
}

pub fn root() -> Call {
    call("root", Role::Admin)
}

/// The same with an idempotency key.
pub fn keyed(call: Call, key: &str, body: &str) -> Call {
    Call { idempotency: Some(IdempotencyKey { key: key.to_owned(), digest: body.to_owned() }), ..call }
}

/// An answer that was not replayed; where it was to be kept it is not.
pub fn fresh<T>(answer: Answer<T>) -> Result<T, EngineError> {
    match answer {
        Answer::Fresh { result, .. } => result,
        Answer::Replayed(_) => panic!("answered from memory"),
    }
}

/// How it ended, of what was answered because of that.
pub fn gone<T: std::fmt::Debug>(result: Result<T, EngineError>) -> End {
    match result {
        Err(EngineError::Gone { end, .. }) => *end,
        other => panic!("not gone: {other:?}"),
    }
}

pub fn code<T: std::fmt::Debug>(result: Result<T, EngineError>) -> Code {
    result.unwrap_err().code()
}

/// Waits until something is so; a test that waits for ever fails.
pub async fn until(mut so: impl AsyncFnMut() -> bool) {
    let waited = Instant::now();
    while !so().await {
        assert!(waited.elapsed() < Duration::from_secs(20), "waited for too long");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails where something takes longer than anything here should.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("waited for too long")
}

pub fn uploaded() -> PathBuf {
    PathBuf::from("/tmp/an-archive.tar")
}
