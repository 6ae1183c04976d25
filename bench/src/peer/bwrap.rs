//! bubblewrap: namespaces and mounts, no control groups, no second program in a running environment.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Peer, timed_run, version};

/// The installed bubblewrap.
pub struct Bwrap {
    name: String,
    rootfs: PathBuf,
    log: PathBuf,
}

impl Bwrap {
    /// Finds it and tries it once.
    ///
    /// # Errors
    /// When it is not installed or does not work here.
    pub fn find(dir: &Path, rootfs: &Path) -> io::Result<Box<dyn Peer>> {
        let name = version("bwrap")?.replace("bubblewrap", "bwrap");
        let mut found = Self { name, rootfs: rootfs.to_owned(), log: dir.join("bwrap.log") };
        found.create_and_destroy()?;
        Ok(Box::new(found))
    }
}

impl Peer for Bwrap {
    fn name(&self) -> &str {
        &self.name
    }

    fn differs(&self) -> &str {
        "no limits, no id range, no life of its own"
    }

    fn create_and_destroy(&mut self) -> io::Result<Duration> {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL", "--ro-bind"]);
        command.arg(&self.rootfs).args(["/", "--proc", "/proc", "--dev", "/dev", "/bin/true"]);
        timed_run(&mut command, &self.log)
    }

    fn start(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn exec(&mut self) -> io::Result<Duration> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn stop(&mut self) {}
}
