//! A door with previews on a port of the loopback, one session behind it, and servers inside the session.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tenure_api::jwt::{Jwt, JwtKey, KeyMaterial, UserClaim};
use tenure_api::ticket::{Grant, Purpose, Tickets};
use tenure_api::{Door, DoorParts, HttpMeters, PreviewSettings, ServeSettings};
use tenure_engine::{
    Answer, BaseError, BaseSource, Bases, Call, CreateRequest, Engine, HostClock, KeyRequest, Parts, Settings,
    TerminateRequest,
};
use tenure_environment::fake::{FakeDriver, FakeEnvironment, Script};
use tenure_session::{Caller, Role, SessionId};
use tenure_sqlite::SqliteStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub const DOMAIN: &str = "preview.example";
pub const PORT: u16 = 8080;

/// Longest that anything here may take.
pub const SOON: Duration = Duration::from_secs(20);

const SECRET: &[u8] = b"a secret of thirty-two bytes or more";

fn issuer() -> JwtKey {
    JwtKey {
        name: "acme".to_owned(),
        kid: None,
        material: KeyMaterial::Hs256(SECRET.to_vec()),
        issuer: "https://acme.example".to_owned(),
        audience: "tenure".to_owned(),
        user_claim: UserClaim::Sub,
        role_claim: None,
    }
}

struct Clock(Instant);

impl HostClock for Clock {
    fn boot_id(&self) -> String {
        "boot".to_owned()
    }

    fn boot_ms(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    fn wall_ms(&self) -> i64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
    }
}

struct NoBases;

#[async_trait::async_trait]
impl Bases for NoBases {
    async fn base_add(&self, name: &str, _: BaseSource) -> Result<String, BaseError> {
        Ok(name.to_owned())
    }

    async fn base_exists(&self, _: &str) -> bool {
        true
    }

    async fn base_remove(&self, _: &str) -> Result<(), BaseError> {
        Ok(())
    }
}

pub struct House {
    pub engine: Engine,
    pub tickets: Tickets,
    /// Cancelled when the door closes.
    pub closing: CancellationToken,
    pub address: SocketAddr,
    /// The secret of the owner's key, and what the engine knows of the owner.
    pub key: String,
    pub owner: Caller,
    pub id: SessionId,
    pub environment: Arc<FakeEnvironment>,
    _output: tempfile::TempDir,
}

/// What a server inside was sent, byte for byte.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The value of a header of the last request.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.text(), name)
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// The value of a header in a message.
pub fn header(message: &str, name: &str) -> Option<String> {
    let head = message.split("\r\n\r\n").next()?;
    let value = |line: &str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    };
    head.lines().skip(1).find_map(value)
}

pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

impl House {
    pub async fn open() -> House {
        House::open_with(false).await
    }

    pub async fn open_with(https: bool) -> House {
        let output = tempfile::tempdir().unwrap();
        let driver = Arc::new(FakeDriver::new(|_| Script::prints("")));
        let mut registry = prometheus_client::registry::Registry::default();
        let meters = HttpMeters::register(&mut registry);
        let parts = Parts {
            store: Arc::new(SqliteStore::in_memory().unwrap()),
            driver: driver.clone(),
            bases: Arc::new(NoBases),
            clock: Box::new(Clock(Instant::now())),
            gauge: Box::new(tenure_engine::NoGauge),
            settings: Settings::new(output.path().to_owned()),
            registry,
        };
        let engine = Engine::begin(parts).await.unwrap();
        engine.recover().await.unwrap();
        engine.template_seed().await.unwrap();
        let (owner, key) = user(&engine, "alice").await;
        let call = Call::by(Arc::new(owner.clone()));
        let Answer::Fresh { result, .. } = engine.session_create(&call, Ok(CreateRequest::default())).await.unwrap()
        else {
            panic!("nobody made it before")
        };
        let session = result.unwrap();
        let environment =
            driver.environment(&session.environment.as_ref().unwrap().id.as_str().parse().unwrap()).unwrap();
        engine.preview_register(&call, session.id.as_str(), Ok(u64::from(PORT))).await.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let previews = PreviewSettings { domain: Some(DOMAIN.to_owned()), https, port: Some(address.port()) };
        let tickets = Tickets::default();
        let door = Door::new(DoorParts {
            engine: engine.clone(),
            jwt: Jwt::new(vec![issuer()]).unwrap(),
            tickets: tickets.clone(),
            previews,
            allowed_hosts: Vec::new(),
            listen: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            meters,
            metrics_token: None,
            audit: Default::default(),
            upload_dir: output.path().to_owned(),
        });
        let closing = door.closing();
        tokio::spawn(async move { door.serve(listener, ServeSettings::default(), std::future::pending()).await });
        House { engine, tickets, closing, address, key, owner, id: session.id, environment, _output: output }
    }

    /// The path of the preview, without a slash at its end.
    pub fn path(&self) -> String {
        format!("/v1/sessions/{}/preview/{PORT}", self.id)
    }

    /// The host of the preview, with the port of the door.
    pub fn host(&self) -> String {
        format!("{PORT}-{}.{DOMAIN}:{}", self.id.compact(), self.address.port())
    }

    pub fn grant(&self, purpose: Purpose) -> Grant {
        Grant { caller: Arc::new(self.owner.clone()), credential_expires_at: None, session: self.id.clone(), purpose }
    }

    pub fn ticket(&self) -> String {
        let grant = self.grant(Purpose::Preview { port: PORT });
        self.tickets.issue(grant, self.engine.now()).unwrap().secret
    }

    /// A token as a ticket is exchanged for.
    pub fn token(&self) -> String {
        let grant = self.grant(Purpose::Preview { port: PORT });
        self.tickets.exchange(grant, self.engine.now()).unwrap().secret
    }

    /// The path of the preview with a token.
    pub fn own_path(&self) -> String {
        format!("{}/~{}", self.path(), self.token())
    }

    /// A token of the configured issuer for one of its users.
    pub fn issued_token(&self, sub: &str) -> String {
        let exp = self.engine.now().as_ms() / 1000 + 60;
        let claims = serde_json::json!({ "iss": "https://acme.example", "aud": "tenure", "sub": sub, "exp": exp });
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    }

    pub async fn end(&self) {
        let call = Call::by(Arc::new(self.owner.clone()));
        self.engine.session_terminate(&call, self.id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    }

    /// A server inside that does this with each connection.
    pub fn inside<F: Future<Output = ()> + Send + 'static>(
        &self,
        serve: impl Fn(DuplexStream) -> F + Send + Sync + 'static,
    ) {
        let mut connections = self.environment.listen(PORT);
        tokio::spawn(async move {
            while let Some(stream) = connections.recv().await {
                tokio::spawn(serve(stream));
            }
        });
    }

    /// A server inside that answers every request with these bytes, and remembers the request's head.
    pub fn inside_says(&self, answer: impl Into<Vec<u8>>) -> Seen {
        let (seen, answer) = (Seen::default(), Arc::new(answer.into()));
        let remembered = seen.clone();
        self.inside(move |mut stream| {
            let (seen, answer) = (remembered.clone(), answer.clone());
            async move {
                let head = head(&mut stream).await;
                *seen.0.lock().unwrap() = head;
                let _ = stream.write_all(&answer).await;
                let _ = stream.flush().await;
            }
        });
        seen
    }

    /// Sends a request as it is written here, and reads whatever comes until the door closes.
    pub async fn send(&self, request: &str) -> String {
        String::from_utf8_lossy(&self.send_bytes(request.as_bytes()).await).into_owned()
    }

    pub async fn send_bytes(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
        // A connection that is cut is as good as one that is closed.
        let _ = read.expect("the door answers and closes");
        answer
    }

    /// `GET` by path or host, with more headers.
    pub async fn get(&self, path: &str, host: &str, more: &[(&str, &str)]) -> String {
        self.send(&request("GET", path, host, more)).await
    }

    /// `GET` below the preview's path, by the owner's key.
    pub async fn get_by_key(&self, rest: &str) -> String {
        let bearer = format!("Bearer {}", self.key);
        self.get(&format!("{}{rest}", self.path()), "localhost", &[("Authorization", &bearer)]).await
    }
}

pub fn request(method: &str, path: &str, host: &str, more: &[(&str, &str)]) -> String {
    let more: String = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
}

/// Reads a message's head, as far as the empty line.
pub async fn head(stream: &mut DuplexStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    head
}

/// An ordinary user with a key.
pub async fn user(engine: &Engine, name: &str) -> (Caller, String) {
    let admin = Caller { user: "root".parse().unwrap(), role: Role::Admin, credential: "test".to_owned() };
    let request = KeyRequest { role: Role::User, user: name.to_owned(), label: None, expires_in_ms: None };
    let made = engine.key_create(&Call::by(Arc::new(admin)), Ok(request)).await.unwrap();
    let caller = Caller { user: name.parse().unwrap(), role: Role::User, credential: made.record.id.to_string() };
    (caller, made.secret)
}

pub async fn revoke(engine: &Engine, key: &str) {
    let admin = Caller { user: "root".parse().unwrap(), role: Role::Admin, credential: "test".to_owned() };
    engine.key_revoke(&Call::by(Arc::new(admin)), key).await.unwrap();
}
