//! A server that is killed and started again over the same data directory, and who works for it.

use crate::process;
use anyhow::{Context as _, bail};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const READY: &str = "tenure listens on http://";
/// How long a start may take; longer is a finding.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long a stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A server's data directory, its program, and its process while there is one.
pub struct Server {
    program: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    variables: Vec<(&'static str, OsString)>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    line: Receiver<String>,
}

impl Server {
    /// Over this data directory, which is made where there is none; it logs into this file.
    pub fn new(program: &Path, dir: &Path, log: PathBuf) -> anyhow::Result<Server> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir.join("instances"))?;
        let dir = dir.canonicalize()?;
        Ok(Server { program: program.to_owned(), dir, log, variables: Vec::new(), running: None })
    }

    /// From its next start on it is started with these, too.
    pub fn set(&mut self, variables: impl IntoIterator<Item = (&'static str, OsString)>) {
        self.variables.extend(variables);
    }

    /// What it logged so far, in bytes.
    pub fn logged(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |meta| meta.len())
    }

    /// Whether it logged this since then.
    pub fn logged_since(&self, from: u64, text: &str) -> bool {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(from as usize..).unwrap_or_default()).contains(text)
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a line of its own into the log.
    pub fn note(&self, line: &str) -> std::io::Result<()> {
        writeln!(OpenOptions::new().create(true).append(true).open(&self.log)?, "torture: {line}")
    }

    /// Starts it, and does not wait until it is ready.
    pub fn spawn(&mut self) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("TENURE_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0"])
            // By this the processes that it leaves behind are known as its own.
            .env("TENURE_DATA_DIR", &self.dir)
            .env("TENURE_CONFIG", "/dev/null")
            .env("TENURE_POOL_BYTES", "2G")
            .env("TENURE_POOL_READY", "1")
            .env("TENURE_GRACE_MS", "500")
            .env("TENURE_LOG", "info")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let stdout = child.stdout.take().context("no output")?;
        let (told, line) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // An empty line says that it ended.
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = told.send(line);
        });
        self.running = Some(Running { child, line });
        Ok(())
    }

    /// Waits until it serves, and says where.
    pub fn wait_ready(&mut self) -> anyhow::Result<SocketAddr> {
        let running = self.running.as_mut().context("not started")?;
        match running.line.recv_timeout(START_PATIENCE) {
            Ok(line) => match line.trim().strip_prefix(READY) {
                Some(address) => Ok(address.parse()?),
                None => bail!("the server did not start: {}", running.child.wait()?),
            },
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                bail!("the server was not ready within {START_PATIENCE:?}")
            }
        }
    }

    /// Starts it where it cannot do everything, and kills it: it serves, or it ends by itself and says why.
    pub fn starts_or_says(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        let ready = self.wait_ready();
        let running = self.running.as_mut().context("not started")?;
        if let (Err(error), None) = (ready, running.child.try_wait()?) {
            self.kill()?;
            return Err(error);
        }
        self.kill()
    }

    /// The administrator's key.
    pub fn admin_key(&self) -> anyhow::Result<String> {
        let path = self.dir.join("admin.key");
        let key = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        Ok(key.trim().to_owned())
    }

    /// The server's process; it is not reaped before [`Server::kill`], so the number is its own.
    pub fn pid(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.child.id() as i32)
    }

    /// Kills it with -9, and waits until it is dead.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut running) = self.running.take() {
            running.child.kill()?;
            running.child.wait()?;
        }
        Ok(())
    }

    /// Lets it drain and end.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        process::signal(running.child.id() as i32, Signal::TERM);
        let until = Instant::now() + STOP_PATIENCE;
        while running.child.try_wait()?.is_none() {
            if Instant::now() > until {
                running.child.kill()?;
                running.child.wait()?;
                bail!("the server did not end within {STOP_PATIENCE:?} of SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The keeper of the data directory: it holds an instance's lock, and is the child of nobody who does.
    pub fn keeper(&self) -> Option<i32> {
        let keepers: Vec<i32> =
            process::named("tenure-keeper").into_iter().filter(|pid| self.holds_lock(*pid)).collect();
        keepers.iter().copied().find(|pid| process::parent(*pid).is_some_and(|parent| !keepers.contains(&parent)))
    }

    /// The keeper, and what it has forked of itself.
    pub fn makers(&self) -> Vec<i32> {
        process::named("tenure-keeper").into_iter().filter(|pid| self.holds_lock(*pid)).collect()
    }

    /// The agents of the data directory's environments.
    pub fn agents(&self) -> Vec<i32> {
        let instances = self.instances();
        let ours = |pid: &i32| {
            let line = process::command_line(*pid);
            line.starts_with("tenure-agent ") && instances.iter().any(|uuid| line.contains(uuid))
        };
        process::all().into_iter().filter(ours).collect()
    }

    fn instances(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.join("instances")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(".lock").map(str::to_owned)).collect()
    }

    fn holds_lock(&self, pid: i32) -> bool {
        let all = self.dir.join("instances");
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
        links.any(|link| link.starts_with(&all) && link.extension().is_some_and(|extension| extension == "lock"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only where something failed before: otherwise it was stopped.
        let _ = self.kill();
        // What a bad run left behind, and reported, would live on. With its environments gone the keeper tidies up and ends.
        let kill = |pids: Vec<i32>| pids.into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
        let until = Instant::now() + STOP_PATIENCE;
        // Again and again: one may just have been started.
        while Instant::now() < until {
            kill(self.agents());
            if self.makers().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        kill(self.makers());
        kill(self.agents());
    }
}
