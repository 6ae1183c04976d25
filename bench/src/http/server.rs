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
}

impl Server {
    /// Starts one that keeps so many environments ready.
    pub fn start(program: &Path, work: &Path, ready: usize) -> anyhow::Result<Server> {
        let dir = work.join(format!("serve-{ready}"));
        fs::create_dir_all(&dir)?;
        let mut child = Command::new(program)
            .arg("--data-dir")
            .arg(&dir)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("TENURE_POOL_READY", ready.to_string())
            .env("TENURE_POOL_BYTES", POOL_BYTES)
            .env("TENURE_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix(READY).with_context(|| format!("it said {line:?}"))?.parse()?;
        let key = fs::read_to_string(dir.join("admin.key"))?.trim().to_owned();
        Ok(Server { child, address, key, dir })
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

impl Drop for Server {
    fn drop(&mut self) {
        // Sessions outlive their server: each is ended first.
        let _ = self.end_all();
        // Its own child, so the number is nobody else's.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
