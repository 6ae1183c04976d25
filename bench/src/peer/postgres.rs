//! PostgreSQL: a cluster of its own in a temporary directory, as it comes, asked by `pgbench`.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::version;
use crate::measure::{Done, Samples};
use anyhow::{Context as _, ensure};

const USER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(30);
/// Debian keeps the server's programs apart, by version.
const PROGRAMS: &str = "/usr/lib/postgresql";
const THREADS: &str = "1";

/// A running server.
pub struct Postgres {
    /// Its name and version.
    pub name: String,
    dir: PathBuf,
    server: Child,
    connections: usize,
}

impl Postgres {
    /// Starts one with so many rows, each of them a lease.
    ///
    /// # Errors
    /// When it is not installed or does not work here.
    pub fn start(work: &Path, connections: usize, rows: usize) -> anyhow::Result<Postgres> {
        let name = version("pgbench").context("pgbench")?;
        let programs = programs()?;
        let dir = work.join(USER);
        fs::create_dir(&dir)?;
        let (uid, gid) = (user("-u")?, user("-g")?);
        chown(&dir, Some(uid), Some(gid))?;
        // The user that it runs as goes through; nobody reads what is in it.
        fs::set_permissions(work, PermissionsExt::from_mode(0o711))?;
        let data = dir.join("data");
        let mut make = Command::new(programs.join("initdb"));
        make.arg("-D").arg(&data).args(["-A", "trust", "-U", USER, "-E", "UTF8"]);
        finished(make.uid(uid).gid(gid).current_dir(&dir))?;
        let log = File::create(dir.join("log"))?;
        let server = Command::new(programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses="])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", dir.display()))
            .uid(uid)
            .gid(gid)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let own = Postgres { name, dir, server, connections };
        own.fill(rows)?;
        Ok(own)
    }

    fn fill(&self, rows: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        while finished(&mut self.sql("SELECT 1")).is_err() {
            ensure!(begun.elapsed() < PATIENCE, "it does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        let rows_of = format!(
            "INSERT INTO lease SELECT id, 1, now() + interval '1 hour', repeat('x', 400) FROM generate_series(1, {rows}) AS id"
        );
        let table = "CREATE TABLE lease (id bigint PRIMARY KEY, token bigint, expires_at timestamptz, rest text)";
        for text in [table, &rows_of, "VACUUM ANALYZE lease", "CHECKPOINT"] {
            finished(&mut self.sql(text))?;
        }
        let update = format!(
            "\\set id random(1, {rows})\nUPDATE lease SET expires_at = now() + interval '1 hour' WHERE id = :id AND token = 1 AND expires_at > now();\n"
        );
        Ok(fs::write(self.dir.join("update.sql"), update)?)
    }

    fn sql(&self, text: &str) -> Command {
        let mut command = Command::new("psql");
        command.arg("-h").arg(&self.dir).args(["-U", USER, "-d", USER, "-qAt", "-c", text]);
        command
    }

    /// Updates rows for as long, each update a transaction of its own.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn update(&self, window: Duration) -> anyhow::Result<Done> {
        let mut tool = Command::new("pgbench");
        tool.arg("-h").arg(&self.dir).args(["-U", USER, "-n", "-M", "prepared", "-j", THREADS]);
        tool.args(["-c", &self.connections.to_string(), "-T", &window.as_secs().to_string(), "-f"]);
        let said = finished(tool.arg(self.dir.join("update.sql")).arg(USER))?;
        let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")).context("it said no rate")?;
        let rate: f64 = tps.split(' ').next().unwrap_or_default().parse()?;
        let count = (rate * window.as_secs_f64()) as u64;
        Ok(Done { count, took: window, latencies: Samples::default() })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own child. SIGINT: it breaks connections off, writes what is left and ends.
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The newest version's.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(PROGRAMS).context(PROGRAMS)?.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|dir| dir.join("postgres").exists()).max().context("no server is installed")
}

/// A number of the user that it runs as: it refuses to run as root.
fn user(which: &str) -> anyhow::Result<u32> {
    Ok(finished(Command::new("id").args([which, USER]))?.trim().parse()?)
}

/// Runs a command to its end; what it said.
fn finished(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", errors.lines().last().unwrap_or_default());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
