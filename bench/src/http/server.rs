//! A server of its own, in a data directory of its own, for one table.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::Client;
use anyhow::{Context as _, ensure};

const POOL_BYTES: &str = "8G";
const READY: &str = "tenure listens on http://";
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Dropping it stops it and removes its data.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    key: String,
    dir: PathBuf,
    start: Start,
    leaves: Leaves,
}

/// How a server is started, every time.
struct Start {
    program: PathBuf,
    ready: usize,
    settings: &'static [(&'static str, &'static str)],
}

/// What a server has when its table is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// Environments: its sessions are ended before it stops.
    Environments,
    /// Rows alone, maybe a million of them: they go with their directory.
    Rows,
}

impl Server {
    /// Starts one that keeps so many environments ready.
    pub fn start(program: &Path, work: &Path, ready: usize) -> anyhow::Result<Server> {
        let start = Start { program: program.to_owned(), ready, settings: &[] };
        Server::begin(start, work.join(format!("serve-{ready}")), Leaves::Environments)
    }

    /// Starts one that makes no environments, with these settings.
    pub fn of_rows(
        program: &Path,
        work: &Path,
        name: &str,
        settings: &'static [(&'static str, &'static str)],
    ) -> anyhow::Result<Server> {
        let start = Start { program: program.to_owned(), ready: 0, settings };
        Server::begin(start, work.join(name), Leaves::Rows)
    }

    fn begin(start: Start, dir: PathBuf, leaves: Leaves) -> anyhow::Result<Server> {
        fs::create_dir_all(&dir)?;
        let (child, address) = start.begin(&dir)?;
        let key = fs::read_to_string(dir.join("admin.key"))?.trim().to_owned();
        Ok(Server { child, address, key, dir, start, leaves })
    }

    /// Tells it to stop, and waits until it has.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        // Its own child, so the number is nobody else's.
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "it could not be told to stop");
        self.child.wait()?;
        Ok(())
    }

    /// Kills it where it stands, and waits until it is gone.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again on the same data, and returns when it listens.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        (self.child, self.address) = self.start.begin(&self.dir)?;
        Ok(())
    }

    /// Its database.
    pub fn database(&self) -> PathBuf {
        self.dir.join("store/tenure.db")
    }

    /// Its administrator's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A connection to it, as its administrator.
    pub fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.address, &self.key)
    }

    fn end_all(&self) -> anyhow::Result<()> {
        let mut client = self.client()?;
        for phase in ["CREATING", "ACTIVE", "PAUSED"] {
            loop {
                let page = client.expect("GET", &format!("/v1/sessions?phase={phase}&limit=500"), None, 200)?;
                let ids: Vec<_> =
                    page["items"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
                if ids.is_empty() {
                    break;
                }
                ids.iter().try_for_each(|id| client.end(id))?;
            }
        }
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a session that was ended is gone from the host: until its environment's record says so.
    pub fn settled(&self, client: &mut Client, id: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let session = client.expect("GET", &format!("/v1/sessions/{id}"), None, 200)?;
            if session["environment"]["state"] == "gone" {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "{id} does not go");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Start {
    fn begin(&self, dir: &Path) -> anyhow::Result<(Child, SocketAddr)> {
        let mut child = Command::new(&self.program)
            .arg("--data-dir")
            .arg(dir)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("TENURE_POOL_READY", self.ready.to_string())
            .env("TENURE_POOL_BYTES", POOL_BYTES)
            .env("TENURE_LOG", "error")
            .envs(self.settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", self.program.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix(READY).with_context(|| format!("it said {line:?}"))?.parse()?;
        Ok((child, address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Sessions outlive their server: each is ended first.
        if self.leaves == Leaves::Environments {
            let _ = self.end_all();
        }
        let _ = self.stop();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
