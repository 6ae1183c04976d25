//! A door on a port of the loopback, three people with keys, and a clock that can be moved.

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tenure_api::jwt::Jwt;
use tenure_api::ticket::Tickets;
use tenure_api::{Door, DoorParts, HttpMeters, PreviewSettings, ServeSettings};
use tenure_engine::{BaseError, BaseSource, Bases, Call, Engine, HostClock, KeyRequest, Parts, Settings};
use tenure_environment::fake::{Call as Program, FakeDriver, FakeEnvironment, Script, Then};
use tenure_environment::{
    Adopt, Adopted, Driver, Environment, EnvironmentError, EnvironmentId, EnvironmentSpec, HostReport,
};
use tenure_session::{Caller, Role};
use tenure_sqlite::{SqliteOptions, SqliteStore};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Longest that anything here may take.
pub const SOON: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Clock {
    begun: Instant,
    moved_ms: Arc<AtomicU64>,
}

impl HostClock for Clock {
    fn boot_id(&self) -> String {
        "boot".to_owned()
    }

    fn boot_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64 + self.moved_ms.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> i64 {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
        wall + self.moved_ms.load(Ordering::Relaxed) as i64
    }
}

struct NoBases;

#[async_trait::async_trait]
impl Bases for NoBases {
    async fn base_add(&self, name: &str, _: BaseSource) -> Result<String, BaseError> {
        Ok(format!("{name}@1"))
    }

    async fn base_exists(&self, base: &str) -> bool {
        base == "default"
    }

    async fn base_remove(&self, _: &str) -> Result<(), BaseError> {
        Ok(())
    }
}

/// A driver that never finishes an environment with the variable `HANG`.
struct Slow(Arc<FakeDriver>);

#[async_trait::async_trait]
impl Driver for Slow {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    async fn host(&self) -> HostReport {
        self.0.host().await
    }

    async fn create(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        if spec.env.contains_key("PANIC") {
            panic!("the secret of this panic");
        }
        if spec.env.contains_key("HANG") {
            std::future::pending::<()>().await;
        }
        self.0.create(spec).await
    }

    async fn adopt(&self, adopt: Adopt) -> Result<Adopted, EnvironmentError> {
        self.0.adopt(adopt).await
    }

    async fn remake(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        self.0.remake(spec).await
    }

    async fn known(&self) -> Result<Vec<EnvironmentId>, EnvironmentError> {
        self.0.known().await
    }

    async fn discard(&self, id: &EnvironmentId) -> Result<(), EnvironmentError> {
        self.0.discard(id).await
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    Owner,
    Other,
    Admin,
    Nobody,
}

pub struct House {
    pub driver: Arc<FakeDriver>,
    pub address: SocketAddr,
    pub client: Client,
    pub closing: CancellationToken,
    keys: [String; 3],
    moved_ms: Arc<AtomicU64>,
    _dir: tempfile::TempDir,
}

impl Drop for House {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl House {
    pub async fn open() -> House {
        House::open_with(ServeSettings::default(), &["tenure.example"]).await
    }

    pub async fn open_with(settings: ServeSettings, hosts: &[&str]) -> House {
        let dir = tempfile::tempdir().unwrap();
        let driver = Arc::new(FakeDriver::new(program));
        let mut registry = prometheus_client::registry::Registry::default();
        let meters = HttpMeters::register(&mut registry);
        let moved_ms = Arc::<AtomicU64>::default();
        let store = SqliteStore::open(SqliteOptions::new(dir.path().join("tenure.db"))).unwrap();
        let engine = Engine::begin(Parts {
            store: Arc::new(store),
            driver: Arc::new(Slow(driver.clone())),
            bases: Arc::new(NoBases),
            clock: Box::new(Clock { begun: Instant::now(), moved_ms: moved_ms.clone() }),
            gauge: Box::new(tenure_engine::NoGauge),
            settings: Settings { grace_ms: 50, ..Settings::new(dir.path().join("output")) },
            registry,
        });
        std::fs::create_dir(dir.path().join("output")).unwrap();
        let engine = engine.await.unwrap();
        engine.recover().await.unwrap();
        engine.template_seed().await.unwrap();
        let keys = [
            key(&engine, "alice", Role::User).await,
            key(&engine, "bob", Role::User).await,
            key(&engine, "root", Role::Admin).await,
        ];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door::new(DoorParts {
            engine,
            jwt: Jwt::default(),
            tickets: Tickets::default(),
            previews: PreviewSettings::default(),
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            meters,
            metrics_token: Some("scraper".to_owned()),
            audit: Default::default(),
            upload_dir: dir.path().to_owned(),
        });
        let closing = door.closing();
        let shutdown = closing.clone();
        tokio::spawn(async move { door.serve(listener, settings, shutdown.cancelled_owned()).await });
        let client = Client::builder().no_proxy().timeout(SOON).build().unwrap();
        House { driver, address, client, closing, keys, moved_ms, _dir: dir }
    }

    pub fn secret(&self, who: As) -> Option<&str> {
        match who {
            As::Owner => Some(&self.keys[0]),
            As::Other => Some(&self.keys[1]),
            As::Admin => Some(&self.keys[2]),
            As::Nobody => None,
        }
    }

    pub fn request(&self, who: As, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        match self.secret(who) {
            Some(secret) => request.bearer_auth(secret),
            None => request,
        }
    }

    pub async fn get(&self, who: As, path: &str) -> Response {
        self.request(who, "GET", path).send().await.unwrap()
    }

    pub async fn post(&self, who: As, path: &str, body: Value) -> Response {
        self.request(who, "POST", path).json(&body).send().await.unwrap()
    }

    /// Time passes.
    pub fn pass(&self, ms: u64) {
        self.moved_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// A session of the owner's, ready.
    pub async fn session(&self, body: Value) -> Value {
        let made = self.post(As::Owner, "/v1/sessions", body).await;
        assert_eq!(made.status(), 201);
        made.json().await.unwrap()
    }

    /// Its ID.
    pub async fn session_id(&self) -> String {
        text(&self.session(json!({})).await, "id")
    }

    /// A session whose environment is being made, and will not be.
    pub async fn session_initializing(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let word = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
        let body = json!({ "env": { "HANG": "1" }, "metadata": { "hang": word } });
        let request = self.request(As::Owner, "POST", "/v1/sessions").json(&body);
        tokio::spawn(request.send());
        loop {
            let path = format!("/v1/sessions?state=initializing&metadata=hang:{word}");
            let page: Value = self.get(As::Owner, &path).await.json().await.unwrap();
            if let Some(found) = page["items"].get(0) {
                return text(found, "id");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A program that runs until it is signalled; its ID.
    pub async fn exec_running(&self, id: &str) -> String {
        let body = json!({ "cmd": ["run"], "background": true });
        let begun = self.post(As::Owner, &format!("/v1/sessions/{id}/exec"), body).await;
        let (status, begun) = (begun.status(), begun.json::<Value>().await.unwrap());
        assert_eq!(status, 202, "{begun}");
        text(&begun, "exec_id")
    }

    /// The environment of a session, from outside.
    pub async fn environment(&self, id: &str) -> Arc<FakeEnvironment> {
        let session: Value = self.get(As::Owner, &format!("/v1/sessions/{id}")).await.json().await.unwrap();
        self.driver.environment(&text(&session["environment"], "id").parse().unwrap()).unwrap()
    }

    /// Waits until a session is in this state.
    pub async fn until(&self, id: &str, state: &str) {
        let until = async {
            loop {
                let session: Value = self.get(As::Owner, &format!("/v1/sessions/{id}")).await.json().await.unwrap();
                if session["state"] == state {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, until).await.expect("the state is reached");
    }
}

/// A text of an object.
pub fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}

/// What programs do here.
fn program(call: &Program) -> Script {
    let word = |index: usize| call.exec.cmd.get(index).cloned().unwrap_or_default();
    match word(0).as_str() {
        "run" => Script { output: b"begun\n".to_vec(), then: Then::Run, ..Script::default() },
        // On a terminal.
        "echo" => Script { output: word(1).into_bytes(), then: Then::Echo, ..Script::default() },
        "cat" => Script::prints(call.stdin.clone()),
        "print" => Script { output: word(1).into_bytes(), error: word(2).into_bytes(), then: Then::Succeed },
        "bytes" => Script::prints(vec![0xff, 0xfe, b'x']),
        "much" => Script::prints(vec![b'x'; 3 << 20]),
        "exit" => Script::then(Then::Exit(word(1).parse().unwrap())),
        "die" => Script::then(Then::Die(9)),
        "oom" => Script::then(Then::OutOfMemory),
        "absent" => Script::then(Then::NotFound),
        _ => Script::then(Then::Succeed),
    }
}

async fn key(engine: &Engine, user: &str, role: Role) -> String {
    let admin = Caller { user: "root".parse().unwrap(), role: Role::Admin, credential: "test".to_owned() };
    let request = KeyRequest { role, user: user.to_owned(), label: None, expires_in_ms: None };
    engine.key_create(&Call::by(Arc::new(admin)), Ok(request)).await.unwrap().secret
}

/// The status and, where it is a problem, the code; a problem must look like one.
pub async fn said(response: Response) -> String {
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("x-request-id"), "every answer has a request's ID");
    if status < 400 {
        return status.to_string();
    }
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(kind, "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    problem_holds(&problem, status);
    format!("{status} {}", text(&problem, "code"))
}

/// What every problem has.
pub fn problem_holds(problem: &Value, status: u16) {
    assert_eq!(problem["status"], status, "{problem}");
    for field in ["type", "title", "detail", "code", "hint"] {
        assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {problem}");
    }
    if status == 410 {
        assert!(problem["reason"].is_string() && problem["terminated_at"].is_string(), "{problem}");
    }
}
