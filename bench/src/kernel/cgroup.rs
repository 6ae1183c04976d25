//! Control groups of a trial: made below the caller's own, removed when dropped.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Where the caller's own group of `controller` is (v1), or of the v2 hierarchy for the empty name.
///
/// # Errors
/// When `/proc` says nothing of it or no such hierarchy is mounted.
pub fn own_group(controller: &str) -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (on, kind, options) = (words.next()?, words.next()?, words.next()?);
        let wanted = match controller {
            "" => kind == "cgroup2",
            name => kind == "cgroup" && options.split(',').any(|o| o == name),
        };
        wanted.then(|| on.to_owned())
    });
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        names.split(',').any(|n| n == controller).then(|| path.trim_start_matches('/').to_owned())
    });
    let found = mount.zip(path).map(|(mount, path)| Path::new(&mount).join(path));
    found.ok_or_else(|| io::Error::other(format!("no control group hierarchy for {controller:?}")))
}

/// One group, removed when dropped.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// Makes the group `name` below `parent`.
    ///
    /// # Errors
    /// Those of `mkdir`.
    pub fn new(parent: &Path, name: &str) -> io::Result<Self> {
        let path = parent.join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.0.join(file), value)
    }

    /// Puts a process into it.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn attach(&self, pid: i32) -> io::Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Opens it, for `CLONE_INTO_CGROUP`.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A member that has just died may be counted for a moment longer.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        eprintln!("left behind: {}", self.0.display());
    }
}

/// The v1 controllers an environment needs, each with a group of the same name.
#[derive(Debug)]
pub struct GroupSet(Vec<Group>);

impl GroupSet {
    /// The controllers used: limits of processor, memory and processes; use of the processor; the freezer.
    pub const CONTROLLERS: [&str; 5] = ["cpu", "cpuacct", "memory", "pids", "freezer"];

    /// Makes the five groups.
    ///
    /// # Errors
    /// When a controller is not mounted as v1, or those of `mkdir`.
    pub fn new(name: &str) -> io::Result<Self> {
        let make = |controller: &&str| Group::new(&own_group(controller)?, name);
        Self::CONTROLLERS.iter().map(make).collect::<io::Result<_>>().map(Self)
    }

    /// Puts a process into all five.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn attach(&self, pid: i32) -> io::Result<()> {
        self.0.iter().try_for_each(|group| group.attach(pid))
    }
}
