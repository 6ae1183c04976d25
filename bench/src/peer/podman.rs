//! podman on crun, with storage of its own and an image made from the same root directory.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Peer, timed_run, version};

const IMAGE: &str = "tenure-bench:latest";

/// The installed podman.
pub struct Podman {
    name: String,
    dir: PathBuf,
}

impl Podman {
    /// Finds it, imports the image and tries it once.
    ///
    /// # Errors
    /// When it is not installed or does not work here.
    pub fn find(dir: &Path, rootfs: &Path) -> io::Result<Box<dyn Peer>> {
        let name = version("podman")?;
        let own = dir.join("podman");
        std::fs::create_dir_all(&own)?;
        let archive = own.join("root.tar");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(rootfs).arg("-cf").arg(&archive).arg(".");
        timed_run(&mut tar, &own.join("log"))?;
        let mut found = Self { name, dir: own };
        found.call(&["import", &archive.to_string_lossy(), IMAGE])?;
        found.create_and_destroy()?;
        Ok(Box::new(found))
    }

    fn call(&self, words: &[&str]) -> io::Result<Duration> {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.dir.join("root")).arg("--runroot").arg(self.dir.join("run"));
        command.arg("--tmpdir").arg(self.dir.join("tmp"));
        command.args(["--runtime", "crun", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        timed_run(command.args(words), &self.dir.join("log"))
    }

    /// `podman run` without network and control groups, and with limits that need no capability to raise.
    fn run(&self, more: &[&str], args: &[&str]) -> io::Result<Duration> {
        let open = ["run", "--network", "none", "--cgroups", "disabled", "--uidmap", "0:100000:65536"];
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        self.call(&[&open[..], &limits[..], more, &[IMAGE], args].concat())
    }
}

impl Peer for Podman {
    fn name(&self) -> &str {
        &self.name
    }

    fn differs(&self) -> &str {
        "no control groups, no disk limit"
    }

    fn is_slow(&self) -> bool {
        true
    }

    fn create_and_destroy(&mut self) -> io::Result<Duration> {
        self.run(&["--rm"], &["/bin/true"])
    }

    fn start(&mut self) -> io::Result<bool> {
        self.run(&["--detach", "--name", "stay"], &["/bin/sleep", "1000000"]).map(|_| true)
    }

    fn exec(&mut self) -> io::Result<Duration> {
        self.call(&["exec", "stay", "/bin/true"])
    }

    fn stop(&mut self) {
        if let Err(error) = self.call(&["rm", "--force", "--time", "0", "stay"]) {
            eprintln!("podman: not removed: {error}");
        }
    }
}
