//! `tenure run`, from the outside: a command among the others, which starts a keeper of its own and ends it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Peer, timed_run, version};

/// The size of the storage pool that the first call makes.
const POOL: &str = "1G";

/// The binary that was named.
pub struct TenureRun {
    name: String,
    program: PathBuf,
    dir: PathBuf,
}

impl TenureRun {
    /// Tries it once, which makes its storage pool below `dir`.
    ///
    /// # Errors
    /// When it is not there or does not work here.
    pub fn find(program: &Path, dir: &Path) -> io::Result<Box<dyn Peer>> {
        let name = version(&program.to_string_lossy())?.replacen("tenure", "tenure run", 1);
        let own = dir.join("tenure");
        std::fs::create_dir_all(&own)?;
        let mut found = Self { name, program: program.to_owned(), dir: own };
        found.create_and_destroy()?;
        Ok(Box::new(found))
    }
}

impl Peer for TenureRun {
    fn name(&self) -> &str {
        &self.name
    }

    fn differs(&self) -> &str {
        ""
    }

    fn create_and_destroy(&mut self) -> io::Result<Duration> {
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(self.dir.join("data")).args(["run", "--", "/bin/true"]);
        command.env("TENURE_POOL_BYTES", POOL);
        timed_run(&mut command, &self.dir.join("log"))
    }

    fn start(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn exec(&mut self) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stop(&mut self) {}
}
