//! The self-test's own server: this same program, on a port of its own, over a directory of its own.

use crate::client::{Client, Reach};
use crate::config::Sources;
use crate::failure::{Code, Failure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const READY: &str = "tenure listens on ";
const LOG: &str = "selftest.log";
/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// How long a stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// A server that can be killed and started again.
pub struct Server {
    program: PathBuf,
    dir: PathBuf,
    allow_unenforced: bool,
    running: Option<(Child, Client)>,
}

impl Server {
    /// Over this data directory, which is made.
    pub fn new(dir: &Path, allow_unenforced: bool) -> Result<Server, Failure> {
        std::fs::DirBuilder::new().mode(0o700).create(dir)?;
        let program = std::env::current_exe()?;
        Ok(Server { program, dir: dir.to_owned(), allow_unenforced, running: None })
    }

    /// Its data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Who asks it, while it runs.
    pub fn client(&self) -> Option<Client> {
        self.running.as_ref().map(|(_, client)| client.clone())
    }

    /// Starts it, and waits until it serves.
    pub async fn start(&mut self) -> Result<Client, Failure> {
        let failed = |why: String| {
            let log = std::fs::read_to_string(self.dir.join(LOG)).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default().to_owned();
            Failure::new(Code::Unavailable, format!("the self-test's server {why}: {last}"))
        };
        let mut child = self.command()?.spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| failed("has no output".into()))?;
        let mut line = String::new();
        let mut lines = BufReader::new(stdout);
        let told = tokio::time::timeout(START_PATIENCE, lines.read_line(&mut line)).await;
        let url = match (told, line.trim().strip_prefix(READY)) {
            (Ok(Ok(_)), Some(url)) => url.to_owned(),
            (Ok(_), _) => return Err(failed("did not start".into())),
            (Err(_), _) => return Err(failed(format!("was not ready within {START_PATIENCE:?}"))),
        };
        let client = self.reach(url)?.client()?;
        self.running = Some((child, client.clone()));
        Ok(client)
    }

    /// Who asks it as the holder of a lease.
    pub fn holder(&self, client: &Client, token: u64) -> Result<Client, Failure> {
        Reach { lease_token: Some(token.to_string()), ..self.reach(client.base().to_string())? }.client()
    }

    fn reach(&self, url: String) -> Result<Reach, Failure> {
        let key = std::fs::read_to_string(self.dir.join("admin.key"))?;
        let sources =
            Sources { file: None, variables: Vec::new(), flags: Vec::new(), default_data_dir: Some(self.dir.clone()) };
        Ok(Reach { url: Some(url), api_key: Some(key.trim().to_owned()), lease_token: None, sources, verbose: false })
    }

    fn command(&self) -> Result<Command, Failure> {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TENURE_")) {
            command.env_remove(name);
        }
        let log = File::options().create(true).append(true).open(self.dir.join(LOG))?;
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("TENURE_DATA_DIR", &self.dir)
            .env("TENURE_CONFIG", "/dev/null")
            .env("TENURE_POOL_BYTES", "512M")
            .env("TENURE_POOL_READY", "1")
            .env("TENURE_GRACE_MS", "500")
            .env("TENURE_ALLOW_UNENFORCED", if self.allow_unenforced { "true" } else { "false" })
            .env("TENURE_LOG", "warn")
            // A key that is pressed at the terminal is for the self-test alone.
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        Ok(command)
    }

    /// Kills it with -9, and waits until it is dead.
    pub fn kill(&mut self) -> Result<(), Failure> {
        if let Some((mut child, _)) = self.running.take() {
            child.start_kill()?;
            wait(&mut child)?;
        }
        Ok(())
    }

    /// Lets it drain and end.
    pub fn stop(&mut self) -> Result<(), Failure> {
        let Some((mut child, _)) = self.running.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        }
        wait(&mut child)
    }
}

fn wait(child: &mut Child) -> Result<(), Failure> {
    let until = Instant::now() + STOP_PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() > until {
            child.start_kill()?;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
