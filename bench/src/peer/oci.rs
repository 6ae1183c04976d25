//! The OCI runtimes crun and runc, each on the same bundle.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Peer, bundle, timed_run, version};

/// One installed runtime.
pub struct Oci {
    program: &'static str,
    name: String,
    dir: PathBuf,
    count: usize,
}

impl Oci {
    /// Finds it and tries it once; `dir` must hold `rootfs`.
    ///
    /// # Errors
    /// When it is not installed or does not work here.
    pub fn find(program: &'static str, dir: &Path) -> io::Result<Box<dyn Peer>> {
        let name = version(program)?;
        let own = dir.join(program);
        let root = dir.join("rootfs");
        let group = |part: &str| format!("tenure-bench-{}-{program}-{part}", std::process::id());
        bundle::config(&own.join("once"), &root, &group("once"), &["/bin/true"])?;
        bundle::config(&own.join("stay"), &root, &group("stay"), &["/bin/sleep", "1000000"])?;
        let mut found = Self { program, name, dir: own, count: 0 };
        found.create_and_destroy()?;
        Ok(Box::new(found))
    }

    fn call(&self, words: &[&str]) -> io::Result<Duration> {
        let mut command = Command::new(self.program);
        command.arg("--root").arg(self.dir.join("state")).args(words);
        timed_run(&mut command, &self.dir.join("log"))
    }
}

impl Peer for Oci {
    fn name(&self) -> &str {
        &self.name
    }

    fn differs(&self) -> &str {
        "no disk limit, no seccomp here"
    }

    fn create_and_destroy(&mut self) -> io::Result<Duration> {
        self.count += 1;
        let bundle = self.dir.join("once");
        self.call(&["run", "--bundle", &bundle.to_string_lossy(), &format!("once-{}", self.count)])
    }

    fn start(&mut self) -> io::Result<bool> {
        let bundle = self.dir.join("stay");
        self.call(&["run", "--detach", "--bundle", &bundle.to_string_lossy(), "stay"]).map(|_| true)
    }

    fn exec(&mut self) -> io::Result<Duration> {
        self.call(&["exec", "stay", "/bin/true"])
    }

    fn stop(&mut self) {
        if let Err(error) = self.call(&["delete", "--force", "stay"]) {
            eprintln!("{}: not removed: {error}", self.program);
        }
    }
}
