//! A manager in a process of its own, which does what it is told line by line, and can be killed.

use crate::boot::Boot;
use crate::ground::inside;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenure_environment::{
    Adopt, Adopted, Driver as _, Environment, EnvironmentEnd, EnvironmentError, EnvironmentId, EnvironmentSpec,
    Generation, ResourceLimits, conformance,
};
use tenure_linux::LinuxDriver;
use tenure_linux::keeper::{self, Settings};
use tenure_linux::template::DEFAULT_TEMPLATE;
use tenure_protocol::{Exec, Sink};

const DATA_DIR: &str = "TENURE_TEST_DATA_DIR";
const POOLED: &str = "TENURE_TEST_POOLED";
const POOL_BYTES: u64 = 300 << 20;
/// Longer than anything that a manager is told takes.
const PATIENCE: Duration = Duration::from_secs(50);

/// Is a manager, if this process was started for one; then it never returns. Must be called before any thread is started.
pub fn play() {
    let Some(data_dir) = std::env::var_os(DATA_DIR) else { return };
    become_owner_of(Path::new(&data_dir));
    let pooled = std::env::var(POOLED).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let keeper = keeper::start(Settings {
        data_dir: data_dir.into(),
        dies_with_manager: false,
        berths_ready: 1,
        only_one: false,
        pool_bytes: Some(POOL_BYTES),
        plain_storage: false,
    });
    let keeper = match keeper {
        Ok(keeper) => keeper,
        Err(error) => {
            say(&json!({ "error": error.to_string() }));
            std::process::exit(1);
        }
    };
    let pid = keeper.pid;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let driver = runtime.block_on(async { LinuxDriver::connect_with_pool(keeper, pooled) }).unwrap();
    let mut manager = Played { driver, environments: HashMap::new() };
    runtime.block_on(manager.driver.host_found()).unwrap();
    say(&json!({ "keeper": pid }));
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let told: Value = serde_json::from_str(&line).unwrap();
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, manager.does(&told)).await });
        say(&match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => json!({ "error": error.to_string() }),
            Err(_) => json!({ "error": "it takes too long" }),
        });
    }
    std::process::exit(0);
}

/// Gives up being root, where the data directory is an ordinary user's.
fn become_owner_of(data_dir: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(data_dir).unwrap().uid();
    if owner != 0 {
        let (uid, gid) = (rustix::process::Uid::from_raw(owner), rustix::process::Gid::from_raw(owner));
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable).unwrap();
    }
}

fn say(what: &Value) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}

struct Played {
    driver: LinuxDriver,
    environments: HashMap<String, Arc<dyn Environment>>,
}

fn end(end: EnvironmentEnd) -> Value {
    serde_json::to_value(end).unwrap()
}

impl Played {
    fn env(&self, told: &Value) -> Arc<dyn Environment> {
        self.environments[told["id"].as_str().unwrap()].clone()
    }

    async fn does(&mut self, told: &Value) -> Result<Value, EnvironmentError> {
        let done = Ok(json!({}));
        match told["do"].as_str().unwrap() {
            "create" => self.create(told).await,
            "adopt" => self.adopt(told).await,
            "exec" => exec(self.env(told).as_ref(), told).await,
            "execs" => {
                let mut client = self.env(told).connect().await?;
                let execs = client.execs().await?;
                Ok(json!({ "execs": serde_json::to_value(execs).unwrap() }))
            }
            "run" => {
                let exec = inside::shell(told["script"].as_str().unwrap());
                let captured = self.env(told).connect().await?.exec(exec, Vec::new()).await?.capture(1 << 20).await?;
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (output, error) = (text(&captured.output), text(&captured.error));
                Ok(json!({ "exit_code": captured.ended.exit_code, "output": output, "error_output": error }))
            }
            "signal" => {
                let mut client = self.env(told).connect().await?;
                client.signal(told["exec"].as_str().unwrap(), 9).await?;
                done
            }
            "wait" => {
                let client = self.env(told).connect().await?;
                let ended = client.attach(told["exec"].as_str().unwrap()).await?.wait().await?;
                Ok(json!({ "exit_code": ended.exit_code, "signal": ended.signal }))
            }
            "freeze" => self.env(told).freeze().await.map(|()| json!({})),
            "thaw" => self.env(told).thaw().await.map(|()| json!({})),
            "deadline" => self.env(told).set_deadline(told["at"].as_u64()).await.map(|()| json!({})),
            "limits" => {
                let limits = ResourceLimits { pids: 77, memory_bytes: 96 << 20, ..ResourceLimits::default() };
                self.env(told).set_limits(&limits).await?;
                Ok(json!({ "disk": self.env(told).observe().await?.disk_limit_bytes }))
            }
            "observe" => Ok(serde_json::to_value(self.env(told).observe().await?).unwrap()),
            "wait_end" => Ok(json!({ "end": end(self.env(told).wait_end().await) })),
            "destroy" => Ok(json!({ "end": end(self.env(told).destroy(Duration::from_millis(200)).await?) })),
            "known" => {
                let known: Vec<String> = self.driver.known().await?.iter().map(EnvironmentId::to_string).collect();
                Ok(json!({ "known": known }))
            }
            "remake" => self.remake(told).await,
            "leave_files" => {
                let env = self.driver.create(remaking_spec(EnvironmentId::generate().unwrap())).await?;
                conformance::what_lives_is_not_made_again(&self.driver, env.as_ref(), DEFAULT_TEMPLATE).await;
                conformance::leave_files(env.as_ref()).await;
                Ok(json!({ "id": env.id().to_string() }))
            }
            "remaking" => {
                conformance::what_a_boot_ended_is_made_again(&self.driver, &remaking_spec(id(told))).await;
                done
            }
            "discard" => self.driver.discard(&id(told)).await.map(|()| json!({})),
            "pooled" => Ok(json!({ "pooled": self.driver.pooled(DEFAULT_TEMPLATE) })),
            "quit" => {
                self.driver.shut_down().await;
                done
            }
            other => panic!("what is {other}?"),
        }
    }

    async fn create(&mut self, told: &Value) -> Result<Value, EnvironmentError> {
        let spec =
            EnvironmentSpec { deadline_boot_ms: told["deadline"].as_u64(), allow_unenforced: true, ..inside::spec() };
        let mut limits = spec.limits;
        limits.disk_bytes = told["disk"].as_u64().unwrap_or(limits.disk_bytes);
        // What is fixed at creation would not come from a pool.
        let spec = EnvironmentSpec { grace_ms: if told["pooled"] == true { 5000 } else { 200 }, limits, ..spec };
        let env = self.driver.create(spec).await?;
        let id = env.id().to_string();
        self.environments.insert(id.clone(), env);
        Ok(json!({ "id": id }))
    }

    async fn remake(&mut self, told: &Value) -> Result<Value, EnvironmentError> {
        let generation = Generation(told["generation"].as_u64().unwrap_or(2));
        let mut limits = ResourceLimits::default();
        limits.disk_bytes = told["disk"].as_u64().unwrap_or(limits.disk_bytes);
        let spec = EnvironmentSpec { generation, limits, grace_ms: 200, ..remaking_spec(id(told)) };
        let made = self.driver.remake(spec).await?;
        let generation = made.generation();
        self.environments.insert(made.id().to_string(), made);
        Ok(json!({ "generation": generation.0 }))
    }

    async fn adopt(&mut self, told: &Value) -> Result<Value, EnvironmentError> {
        let generation = Generation(told["generation"].as_u64().unwrap_or(1));
        let patience = Duration::from_millis(told["patience"].as_u64().unwrap_or(20_000));
        let found = self.driver.adopt(Adopt { id: id(told), generation, patience }).await?;
        if let Some(env) = found.environment() {
            self.environments.insert(env.id().to_string(), env.clone());
        }
        Ok(match found {
            Adopted::Alive(_) => json!({ "found": "alive" }),
            Adopted::Frozen(_) => json!({ "found": "frozen" }),
            Adopted::Silent(_) => json!({ "found": "silent" }),
            Adopted::Ended(how) => json!({ "found": "ended", "end": end(how) }),
            Adopted::Survived { generation, evidence } => {
                json!({ "found": "survived", "generation": generation.0, "evidence": evidence })
            }
            Adopted::Lost { evidence } => json!({ "found": "lost", "evidence": evidence }),
        })
    }
}

fn id(told: &Value) -> EnvironmentId {
    told["id"].as_str().unwrap().parse().unwrap()
}

/// The spec of an environment that is made again.
fn remaking_spec(id: EnvironmentId) -> EnvironmentSpec {
    EnvironmentSpec { id, allow_unenforced: true, ..inside::spec() }
}

/// Starts a program whose output goes to a file of the host.
async fn exec(env: &dyn Environment, told: &Value) -> Result<Value, EnvironmentError> {
    let open =
        |path: &str| -> OwnedFd { std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap().into() };
    let output = told["output"].as_str().unwrap();
    let exec_id = told["exec"].as_str().unwrap().to_owned();
    let sink = Sink::File { cap_bytes: 64 << 20 };
    let exec = Exec { exec_id, sink, ..inside::shell(told["script"].as_str().unwrap()) };
    let files = vec![open(output), open(&format!("{output}.error"))];
    let mut attached = env.connect().await?.exec(exec, files).await?;
    attached.sender.detach().await?;
    Ok(json!({ "pid": attached.pid() }))
}

/// A manager that is told what to do.
pub struct Manager {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub keeper: i32,
}

impl Manager {
    pub fn start(data_dir: &Path) -> Manager {
        Manager::start_with(data_dir, 0)
    }

    /// One that keeps so many environments ready.
    pub fn start_with(data_dir: &Path, pooled: usize) -> Manager {
        Manager::spawn(Command::new(std::env::current_exe().unwrap()), data_dir, pooled)
    }

    /// One in another boot of the host.
    pub fn start_in(boot: &Boot, data_dir: &Path) -> Manager {
        Manager::spawn(boot.command(std::env::current_exe().unwrap()), data_dir, 0)
    }

    fn spawn(mut command: Command, data_dir: &Path, pooled: usize) -> Manager {
        command.env(DATA_DIR, data_dir).env(POOLED, pooled.to_string());
        // In a place and a process group of its own, as a shell starts a job.
        command.current_dir(data_dir).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut manager = Manager { child, stdin, stdout, keeper: 0 };
        let up = manager.hear();
        manager.keeper = up["keeper"].as_i64().unwrap_or_else(|| panic!("it does not start: {up}")) as i32;
        manager
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Tells it something; answers with what it says, errors included, and with nothing where it is dead.
    pub fn tell(&mut self, what: Value) -> Value {
        match writeln!(self.stdin, "{what}") {
            Ok(()) => self.hear(),
            Err(_) => Value::Null,
        }
    }

    /// Tells it something that must go well.
    #[track_caller]
    pub fn ask(&mut self, what: Value) -> Value {
        let answer = self.tell(what.clone());
        assert!(answer.is_object() && answer.get("error").is_none(), "{what}: {answer}");
        answer
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or(Value::Null)
    }

    pub fn create(&mut self) -> String {
        self.ask(json!({ "do": "create" }))["id"].as_str().unwrap().to_owned()
    }

    pub fn adopt(&mut self, id: &str) -> Value {
        self.ask(json!({ "do": "adopt", "id": id }))
    }

    pub fn adopt_in(&mut self, id: &str, generation: u64) -> Value {
        self.ask(json!({ "do": "adopt", "id": id, "generation": generation }))
    }

    /// Tells it something and does not wait for what it says.
    pub fn tell_only(&mut self, what: Value) {
        writeln!(self.stdin, "{what}").unwrap();
    }

    /// Makes it again; what an earlier try left may still be about to go.
    #[track_caller]
    pub fn remake_in_time(&mut self, id: &str, generation: u64) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let made = self.tell(json!({ "do": "remake", "id": id, "generation": generation }));
            if made.get("error").is_none() {
                return made;
            }
            assert!(Instant::now() < end, "{made}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs a shell line to its end, and answers with what it printed.
    #[track_caller]
    pub fn run(&mut self, id: &str, script: &str) -> String {
        let answer = self.ask(json!({ "do": "run", "id": id, "script": script }));
        assert_eq!(answer["exit_code"], 0, "{script}: {answer}");
        answer["output"].as_str().unwrap().to_owned()
    }

    pub fn known(&mut self) -> Vec<String> {
        serde_json::from_value(self.ask(json!({ "do": "known" }))["known"].take()).unwrap()
    }

    /// Does something that says nothing to an environment.
    #[track_caller]
    pub fn does(&mut self, what: &str, id: &str) -> Value {
        self.ask(json!({ "do": what, "id": id }))
    }

    /// Starts a shell line whose output goes to this file.
    pub fn exec(&mut self, id: &str, exec: &str, script: &str, output: &Path) {
        self.ask(json!({ "do": "exec", "id": id, "exec": exec, "script": script, "output": output }));
    }

    /// Kills it and everything in its process group; its output must end with it, whoever lives on.
    pub fn kill(mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        self.wait();
    }

    /// As [`Manager::kill`], also where somebody has done it already.
    pub fn kill_if_alive(mut self) {
        let _ = self.child.kill();
        self.wait();
    }

    fn wait(&mut self) {
        self.child.wait().unwrap();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.stdout, &mut rest).unwrap();
    }

    /// Ends everything there is.
    pub fn quit(mut self) {
        self.ask(json!({ "do": "quit" }));
        drop(self.stdin);
        self.child.wait().unwrap();
    }
}

/// A data directory of one test. Nothing of it may be left at its end.
pub struct Place {
    dir: tempfile::TempDir,
    uuid: std::sync::OnceLock<String>,
}

impl Place {
    pub fn new() -> Place {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = tempfile::Builder::new().prefix("adoption-").tempdir_in(home).unwrap();
        Place { dir, uuid: std::sync::OnceLock::new() }
    }

    /// One of an ordinary user's.
    pub fn of_nobody() -> Place {
        const NOBODY: u32 = 65_534;
        let dir = tempfile::Builder::new().prefix("adoption-").tempdir_in("/var/tmp").unwrap();
        std::os::unix::fs::chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        Place { dir, uuid: std::sync::OnceLock::new() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn output(&self) -> PathBuf {
        self.dir.path().join("output")
    }

    /// The instance, once it is there.
    pub fn uuid(&self) -> &str {
        self.uuid.get_or_init(|| crate::ground::leftover::instances(self.path()).remove(0))
    }

    /// The facts of the only environment.
    pub fn facts(&self) -> (PathBuf, Value) {
        let dir = self.path().join("instances").join(self.uuid()).join("facts");
        let path = std::fs::read_dir(dir).unwrap().next().expect("facts are there").unwrap().path();
        let text = std::fs::read(&path).unwrap();
        (path, serde_json::from_slice(&text).unwrap())
    }

    /// Lets a manager end everything, and looks for what is left.
    #[track_caller]
    pub fn end(&self, manager: Manager) {
        manager.quit();
        self.assert_nothing_is_left();
    }

    #[track_caller]
    pub fn assert_nothing_is_left(&self) {
        let uuids: Vec<String> = self.uuid.get().cloned().into_iter().collect();
        let left = crate::ground::leftover::wait_for_nothing(self.path(), &uuids);
        assert_eq!(left, [] as [String; 0]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a test that failed: whatever still runs would run for ever.
        if std::thread::panicking() {
            let _ = std::panic::catch_unwind(|| Manager::start(self.dir.path()).quit());
        }
    }
}
