//! Control groups: one per environment, which holds its limits, counts what it uses, freezes it and names what is left of it.
//!
//! ```text
//! <where the manager itself is>/            v1: in each of memory, cpu, pids, freezer;   v2: once
//!   tenure-<uuid of the instance>/          made by the keeper, removed by it
//!     <berth>/                              one environment
//! ```
//!
//! Groups hang below the manager's own, so that whatever limits the manager was given still hold for all it starts. On v2 a group that holds
//! processes cannot pass controllers on; where the manager's own group holds strangers too, root goes to the top of the tree.
//!
//! Version 1 and 2 differ in every file name and in how a process gets in: on v2 a process is cloned into its group, on v1 a process that waits
//! inside clones the environment. The first write to a `cgroup.procs` after some quiet waits for a grace period of the kernel, 5 to 15 ms.

mod discover;
mod v1;
mod v2;

pub use discover::{Layout, V1Layout, V2Layout};

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tenure_environment::{Enforced, Observation, ResourceLimits};

/// Processes that the agent itself needs, over the session's own limit.
const AGENT_PIDS: u64 = 1;
/// How long removing a group or freezing it may take before it is an error.
const PATIENCE: Duration = Duration::from_millis(2000);

/// The group of one instance, in which those of its environments lie.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parent {
    version: Version,
    dirs: Dirs,
}

/// The group of one environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    version: Version,
    dirs: Dirs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    V1,
    V2,
    /// This host gives us no group at all.
    Absent,
}

/// A group's directories by controller; on v2 all that are there are the same one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Dirs {
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    pids: Option<PathBuf>,
    freezer: Option<PathBuf>,
}

impl Dirs {
    fn each(&self) -> Vec<&Path> {
        let mut all: Vec<&Path> =
            [&self.memory, &self.cpu, &self.pids, &self.freezer].into_iter().flatten().map(PathBuf::as_path).collect();
        all.dedup();
        all
    }

    fn map(&self, change: impl Fn(&Path) -> Option<PathBuf>) -> Dirs {
        let apply = |dir: &Option<PathBuf>| dir.as_deref().and_then(&change);
        Dirs {
            memory: apply(&self.memory),
            cpu: apply(&self.cpu),
            pids: apply(&self.pids),
            freezer: apply(&self.freezer),
        }
    }
}

impl Parent {
    /// The group of an instance that has one already, wherever in the trees it is; else as [`Parent::create`].
    pub fn find_or_create(layout: &Layout, name: &str, ours: &[u32]) -> Parent {
        let found = Parent::all_named(layout, name).into_iter().find(|(found, _)| found == name);
        match found {
            Some((_, parent)) if parent.version == Version::V1 => parent,
            Some((_, Parent { version, dirs })) => {
                Parent { version, dirs: dirs.freezer.as_deref().map(v2::dirs_of).unwrap_or_default() }
            }
            None => Parent::create(layout, name, ours),
        }
    }

    /// Makes the group of one instance, as far as this host lets us; what it does not give is missing from [`Parent::enforced`]. `ours` are the
    /// processes of the manager and its keeper, which may be moved if they stand where the group belongs.
    pub fn create(layout: &Layout, name: &str, ours: &[u32]) -> Parent {
        match layout {
            Layout::V1(layout) => Parent { version: Version::V1, dirs: v1::create_parent(layout, name) },
            Layout::V2(layout) => match v2::create_parent(layout, name, ours) {
                Some(dirs) => Parent { version: Version::V2, dirs },
                None => Parent::absent(),
            },
            Layout::Absent => Parent::absent(),
        }
    }

    fn absent() -> Parent {
        Parent { version: Version::Absent, dirs: Dirs::default() }
    }

    /// Which limits the groups below this one enforce. The disk is not theirs.
    pub fn enforced(&self) -> Enforced {
        let Dirs { memory, cpu, pids, .. } = &self.dirs;
        Enforced { cpu: cpu.is_some(), memory: memory.is_some(), pids: pids.is_some(), disk: false }
    }

    /// Whether environments can be frozen.
    pub fn freezes(&self) -> bool {
        self.dirs.freezer.is_some()
    }

    /// The version in words, for people.
    pub fn describe(&self) -> &'static str {
        match self.version {
            Version::V1 => "control groups version 1",
            Version::V2 => "control groups version 2",
            Version::Absent => "no control groups",
        }
    }

    /// Whether an environment's first process must be cloned by one that already is in the group.
    pub fn wants_waiting_process(&self) -> bool {
        self.version == Version::V1
    }

    /// Where the group of one environment is, or will be.
    pub fn group(&self, name: &str) -> Group {
        Group { version: self.version, dirs: self.dirs.map(|dir| Some(dir.join(name))) }
    }

    /// The names of the groups that are there, whoever made them.
    pub fn existing_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .dirs
            .each()
            .into_iter()
            .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten())
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The groups that are there, whoever made them.
    pub fn existing(&self) -> Vec<Group> {
        let group = |name: &String| self.dirs.map(|dir| Some(dir.join(name)).filter(|group| group.is_dir()));
        self.existing_names().iter().map(|name| Group { version: self.version, dirs: group(name) }).collect()
    }

    /// Removes the instance's group, which must be empty.
    pub fn remove(&self) -> io::Result<()> {
        self.dirs.each().into_iter().try_for_each(remove_dir)
    }

    /// The groups of all instances on this host, by the given name prefix, wherever in the trees they are: a manager's group is not always the same.
    pub fn all_named(layout: &Layout, prefix: &str) -> Vec<(String, Parent)> {
        let found = match layout {
            Layout::V1(layout) => v1::instances(layout, prefix),
            Layout::V2(layout) => v2::instances(layout, prefix),
            Layout::Absent => Vec::new(),
        };
        let version = if matches!(layout, Layout::V1(_)) { Version::V1 } else { Version::V2 };
        found.into_iter().map(|(name, dirs)| (name, Parent { version, dirs })).collect()
    }
}

impl Group {
    /// Makes it.
    pub fn create(&self) -> io::Result<()> {
        self.dirs.each().into_iter().try_for_each(std::fs::create_dir)
    }

    /// Moves the calling process into the group.
    pub fn enter(&self) -> io::Result<()> {
        self.dirs.each().into_iter().try_for_each(|dir| write(&dir.join("cgroup.procs"), "0"))
    }

    /// The descriptor to clone a process into, on v2.
    pub fn clone_target(&self) -> io::Result<Option<std::fs::File>> {
        match (self.version, self.dirs.each().first()) {
            (Version::V2, Some(dir)) => std::fs::File::open(dir).map(Some),
            (Version::V1 | Version::V2 | Version::Absent, _) => Ok(None),
        }
    }

    /// Sets the limits that this host enforces.
    pub fn set_limits(&self, limits: &ResourceLimits) -> io::Result<()> {
        match self.version {
            Version::V1 => v1::set_limits(&self.dirs, limits),
            Version::V2 => v2::set_limits(&self.dirs, limits),
            Version::Absent => Ok(()),
        }
    }

    /// What the kernel counted; what it does not count here stays `None`.
    pub fn observe(&self) -> Observation {
        match self.version {
            Version::V1 => v1::observe(&self.dirs),
            Version::V2 => v2::observe(&self.dirs),
            Version::Absent => Observation::default(),
        }
    }

    /// The file in which the kernel counts OOM kills, on a line `oom_kill N`.
    pub fn oom_counter(&self) -> Option<std::fs::File> {
        let name = match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
            Version::Absent => return None,
        };
        std::fs::File::open(self.dirs.memory.as_ref()?.join(name)).ok()
    }

    /// Stops every process in the group where it stands, and returns once all of them are.
    pub fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    /// Lets every process go on.
    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        let Some(dir) = &self.dirs.freezer else { return Err(io::ErrorKind::Unsupported.into()) };
        match self.version {
            Version::V1 => v1::set_frozen(dir, frozen),
            Version::V2 => v2::set_frozen(dir, frozen),
            Version::Absent => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The processes in the group, by their IDs on the host.
    pub fn processes(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self
            .dirs
            .each()
            .into_iter()
            .filter_map(|dir| std::fs::read_to_string(dir.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Kills whatever is in the group, and removes it once the kernel lets go of it.
    pub fn destroy(&self) -> io::Result<()> {
        if self.dirs.freezer.is_some() {
            // A frozen process dies only when it is thawed, on v1.
            let _ = self.kill_all();
            let _ = self.thaw();
        }
        self.kill_all()?;
        self.dirs.each().into_iter().try_for_each(remove_dir)
    }

    fn kill_all(&self) -> io::Result<()> {
        if let (Version::V2, Some(dir)) = (self.version, self.dirs.each().first())
            && write(&dir.join("cgroup.kill"), "1").is_ok()
        {
            return Ok(());
        }
        for pid in self.processes() {
            let Some(pid) = rustix::process::Pid::from_raw(pid) else { continue };
            // Between the listing and the signal the ID could pass to a stranger; the descriptor and a second look exclude that.
            let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { continue };
            if self.processes().contains(&pid.as_raw_nonzero().get()) {
                crate::sys::pidfd_kill(&pidfd)?;
            }
        }
        Ok(())
    }
}

/// The groups of this name prefix at or below the top of the tree that a group is in, by path.
fn named_below_top(own: &Path, prefix: &str) -> Vec<PathBuf> {
    let is_group = |dir: &&Path| dir.join("cgroup.procs").exists();
    let mut waiting: Vec<PathBuf> =
        own.ancestors().take_while(is_group).last().into_iter().map(PathBuf::from).collect();
    let mut found = Vec::new();
    while let Some(dir) = waiting.pop() {
        let below = std::fs::read_dir(dir).into_iter().flatten().flatten();
        for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
            if named { &mut found } else { &mut waiting }.push(entry.path());
        }
    }
    found
}

/// Removes an empty group; waits a little for the last process in it to be gone.
fn remove_dir(dir: &Path) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match std::fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    // One write of the whole value: the kernel reads a value per write.
    let result = std::fs::OpenOptions::new().write(true).open(file).and_then(|mut open| {
        use std::io::Write;
        open.write_all(value.as_bytes())
    });
    result.map_err(|error| io::Error::new(error.kind(), format!("write {value:?} to {}: {error}", file.display())))
}

fn read_number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Reads the value of `key` in a file of lines `key value`.
fn read_keyed(file: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
