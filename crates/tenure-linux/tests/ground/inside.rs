//! One environment, and what is done inside it.

use super::Keeper;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenure_environment::agent::{Attached, Captured, Client};
use tenure_environment::{
    AgentError, Driver as _, Environment, EnvironmentEnd, EnvironmentError, EnvironmentId, EnvironmentSpec, Observation,
};
use tenure_linux::template::DEFAULT_TEMPLATE;
use tenure_protocol::{Ended, Exec, Sink};

/// Bounds everything that must not hang.
pub const SOON: Duration = Duration::from_secs(30);
/// Most output that is looked at.
const OUTPUT_MAX: usize = 4 << 20;

/// Within the time that anything may take.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("within the time that anything may take")
}

/// A living environment.
pub struct Inside {
    pub env: Arc<dyn Environment>,
}

/// What became of a program.
#[derive(Debug)]
pub struct Ran {
    pub ended: Ended,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its output, if it went well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.ended.exit_code, Some(0), "{self:?}");
        self.out
    }
}

/// A spec over the host's own `/usr`.
pub fn spec() -> EnvironmentSpec {
    EnvironmentSpec::new(EnvironmentId::generate().unwrap(), DEFAULT_TEMPLATE)
}

/// An exec of these words.
pub fn command(words: &[&str]) -> Exec {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    Exec {
        exec_id: format!("exec-{}", COUNT.fetch_add(1, Ordering::Relaxed)),
        cmd: words.iter().map(|word| (*word).to_owned()).collect(),
        cwd: "/workspace".into(),
        env: BTreeMap::new(),
        user: None,
        tag: None,
        timeout_ms: Some(120_000),
        stdin: false,
        tty: None,
        sink: Sink::Frames,
    }
}

/// An exec of a shell line.
pub fn shell(script: &str) -> Exec {
    command(&["/bin/sh", "-c", script])
}

/// What every Python program of these tests begins with: `call` makes a raw system call and answers with the name of its error, or `ok`.
const PRELUDE: &str = r#"
import ctypes, errno, os, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *wide)
    return errno.errorcode.get(ctypes.get_errno(), "none") if result == -1 else "ok"
def attempt(action):
    try:
        action()
        return "ok"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
"#;

/// An exec of a Python program.
pub fn python(program: &str) -> Exec {
    command(&["/usr/bin/python3", "-Ic", &format!("{PRELUDE}{program}")])
}

impl Inside {
    /// One as most tests want it.
    pub async fn new(keeper: &Keeper) -> Inside {
        Inside::with(keeper, |_| ()).await
    }

    /// One from a changed spec.
    pub async fn with(keeper: &Keeper, change: impl FnOnce(&mut EnvironmentSpec)) -> Inside {
        let mut spec = spec();
        change(&mut spec);
        Inside { env: soon(keeper.driver.create(spec)).await.expect("it can be made") }
    }

    pub async fn connect(&self) -> Client {
        soon(self.env.connect()).await.expect("a living environment can be reached")
    }

    pub async fn start(&self, exec: Exec) -> Attached {
        self.try_start(exec).await.expect("the program starts")
    }

    pub async fn try_start(&self, exec: Exec) -> Result<Attached, AgentError> {
        soon(self.connect().await.exec(exec, Vec::new())).await
    }

    /// Runs a program to its end, which may take as long as the exec allows.
    pub async fn run(&self, exec: Exec) -> Ran {
        let Captured { ended, output, error, .. } =
            self.start(exec).await.capture(OUTPUT_MAX).await.expect("the program ends");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { ended, out: text(output), err: text(error) }
    }

    pub async fn sh(&self, script: &str) -> Ran {
        self.run(shell(script)).await
    }

    pub async fn python(&self, program: &str) -> Ran {
        self.run(python(program)).await
    }

    /// Starts a program that goes on without a connection.
    pub async fn background(&self, exec: Exec) {
        let mut attached = self.start(exec).await;
        soon(attached.sender.detach()).await.expect("it hears");
        soon(attached.next()).await.expect("it answers");
    }

    /// All of a small file.
    pub async fn read(&self, path: &str) -> Result<Vec<u8>, AgentError> {
        let (_, mut reader) = soon(self.connect().await.file_read(path, 0, Some(1 << 20))).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = soon(reader.chunk()).await? {
            bytes.extend(chunk);
        }
        Ok(bytes)
    }

    /// Writes a small file.
    pub async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let mut writer = soon(self.connect().await.file_write(path, None)).await?;
        soon(writer.write(bytes)).await?;
        soon(writer.finish()).await.map(drop)
    }

    pub async fn observe(&self) -> Observation {
        soon(self.env.observe()).await.expect("it can be looked at")
    }

    /// Answers at all, within the time that a neighbour's attack may cost.
    pub async fn answers(&self) {
        let answer = async {
            self.connect().await.ping().await.expect("it answers");
            assert_eq!(self.sh("echo here").await.ok(), "here\n");
        };
        tokio::time::timeout(Duration::from_secs(5), answer).await.expect("it answers within 5 s");
    }

    /// Ends it at once.
    pub async fn destroy(&self) -> EnvironmentEnd {
        soon(self.env.destroy(Duration::ZERO)).await.expect("it can be destroyed")
    }

    /// Its agent's process ID on the host: the parent of whatever is started in it.
    pub async fn agent_pid(&self) -> i32 {
        let sleep = self.start(command(&["sleep", "1000"])).await;
        // Named by the process and its namespace: two environments can run the same words at once.
        let namespace = self.sh("readlink /proc/self/ns/pid").await.ok();
        let mut client = self.connect().await;
        let on_host = super::leftover::pids().into_iter().find(|dir| {
            let link = std::fs::read_link(dir.join("ns/pid")).unwrap_or_default();
            let line = std::fs::read_to_string(dir.join("cmdline")).unwrap_or_default();
            link.to_str() == Some(namespace.trim()) && line.starts_with("tenure-agent\0")
        });
        let agent = on_host.expect("it is on the host").file_name().unwrap().to_str().unwrap().parse().unwrap();
        let processes = soon(client.processes()).await.unwrap().processes;
        assert!(processes.iter().any(|process| process.pid == sleep.pid()));
        agent
    }

    /// What a request for it was refused with.
    pub async fn refused(keeper: &Keeper, spec: EnvironmentSpec) -> EnvironmentError {
        match soon(keeper.driver.create(spec)).await {
            Ok(_) => panic!("it was made"),
            Err(error) => error,
        }
    }
}
