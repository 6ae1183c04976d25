//! What the kernel's own tables say is left of the environments in one data directory.

use rustix::fs::FlockOperation;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Knows the names of all instances that ever were in a data directory, and what to look for.
pub struct Traces {
    data_dir: PathBuf,
    inotify: OwnedFd,
    instances: Mutex<BTreeSet<String>>,
}

impl Traces {
    /// Begins to watch.
    pub fn watch(data_dir: &Path) -> Traces {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&inotify, data_dir.join("instances"), WatchFlags::CREATE).unwrap();
        Traces { data_dir: data_dir.canonicalize().unwrap(), inotify, instances: Mutex::default() }
    }

    /// A variable for programs inside, by which they are known outside.
    pub fn variable(&self) -> String {
        format!("TENURE_TEST_DIR={}", self.data_dir.display())
    }

    /// Whatever is left, in words.
    pub fn everything(&self) -> Vec<String> {
        let mut left = self.processes();
        left.extend(self.mounts());
        left.extend(self.groups());
        left.extend(self.loop_devices());
        left.extend(self.files());
        left.extend(self.id_locks());
        if left.is_empty() {
            // Looking into the pool takes a loop device itself.
            left.extend(self.volumes());
        }
        left
    }

    /// The UUIDs of all instances so far.
    fn instances(&self) -> BTreeSet<String> {
        let mut known = self.instances.lock().unwrap();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = events.next() {
            let name = event.file_name().and_then(|name| name.to_str().ok()).unwrap_or_default();
            known.extend(name.strip_suffix(".lock").map(str::to_owned));
        }
        known.clone()
    }

    /// Processes with the marks of an instance: an agent's argument, a control group, the data directory in the variables of a keeper or a program.
    pub fn processes(&self) -> Vec<String> {
        let instances = self.instances();
        let named = |text: &str| instances.iter().any(|uuid| text.contains(uuid));
        let dir = self.data_dir.as_os_str().as_encoded_bytes();
        let ours = |pid: i32| {
            let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let marked = (line.starts_with("tenure-agent ") && named(&line))
                || named(&String::from_utf8_lossy(&read("cgroup")))
                || read("environ").windows(dir.len()).any(|part| part == dir);
            let name = String::from_utf8_lossy(&read("comm")).trim_end().to_owned();
            marked.then(|| format!("process {pid} {name}: {line}"))
        };
        pids().into_iter().filter_map(ours).collect()
    }

    /// Mounts that name the data directory, in any namespace.
    fn mounts(&self) -> Vec<String> {
        let dir = self.data_dir.display().to_string();
        let of = |pid: i32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let lines: Vec<String> = text.lines().filter(|line| line.contains(&dir)).map(str::to_owned).collect();
            lines.into_iter().map(move |line| format!("mount seen by {pid}: {line}"))
        };
        pids().into_iter().flat_map(of).collect()
    }

    /// Control groups, in any hierarchy.
    fn groups(&self) -> Vec<String> {
        let instances = self.instances();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let trees = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
        let mut waiting: Vec<PathBuf> = trees.map(PathBuf::from).collect();
        let mut left = Vec::new();
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if name.strip_prefix("tenure-").is_some_and(|uuid| instances.contains(uuid)) {
                        left.push(format!("control group {}", entry.path().display()));
                    }
                    waiting.push(entry.path());
                }
            }
        }
        left
    }

    fn loop_devices(&self) -> Vec<String> {
        let backing = |entry: std::fs::DirEntry| {
            let file = std::fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            file.starts_with(&self.data_dir.display().to_string())
                .then(|| format!("loop device {}: {}", entry.path().display(), file.trim_end()))
        };
        std::fs::read_dir("/sys/block").into_iter().flatten().flatten().filter_map(backing).collect()
    }

    fn files(&self) -> Vec<String> {
        let in_dir = |dir: &str| {
            let entries = std::fs::read_dir(self.data_dir.join(dir)).into_iter().flatten().flatten();
            entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
        };
        // The mount point of the pool is empty here, where it is never mounted.
        in_dir("instances").into_iter().chain(in_dir("pool")).collect()
    }

    /// What is in the pool, seen in a mount namespace of its own: subvolumes, those removed and not yet freed, directories.
    fn volumes(&self) -> Vec<String> {
        let pool = self.data_dir.join("pool.btrfs");
        if !pool.exists() {
            return Vec::new();
        }
        let look = "mount -o loop,ro \"$0\" \"$1\" && btrfs subvolume list \"$1\" && btrfs subvolume list -d \"$1\" && ls \"$1\"";
        let seen = Command::new("unshare")
            .args(["--mount", "sh", "-c", look])
            .args([&pool, &self.data_dir.join("pool")])
            .output()
            .unwrap();
        assert!(seen.status.success(), "cannot look into the pool: {}", String::from_utf8_lossy(&seen.stderr));
        String::from_utf8_lossy(&seen.stdout).lines().map(|line| format!("in the pool: {line}")).collect()
    }

    /// ID ranges that are locked by nobody who runs, or by one of ours. Others on this host may hold some.
    fn id_locks(&self) -> Vec<String> {
        let ours = self.processes();
        let held = std::fs::read_dir("/run/tenure/ids").into_iter().flatten().flatten().filter_map(|entry| {
            let path = entry.path();
            let is_free = || {
                let Ok(file) = File::open(&path) else { return true };
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            };
            if is_free() {
                return None;
            }
            let holders: Vec<i32> = pids().into_iter().filter(|pid| has_open(*pid, &path)).collect();
            let by_ours =
                holders.iter().any(|pid| ours.iter().any(|line| line.starts_with(&format!("process {pid} "))));
            // A holder that was between two processes just now is asked for once more.
            (by_ours || holders.is_empty() && !is_free())
                .then(|| format!("ID range {} held by {holders:?}", path.display()))
        });
        held.collect()
    }
}

/// Makes a control group below our own, in the tree of the memory controller, or in the only one.
pub fn make_group(name: &str) -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let find = |kind: &str, option: &str, controller: &str| {
        let mount =
            mounts.lines().find(|line| line.contains(kind) && line.split([',', ' ']).any(|word| word == option))?;
        let below = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|word| word == controller).then_some(path)
        })?;
        Some(PathBuf::from(mount.split(' ').nth(4)?).join(below.trim_start_matches('/')).join(name))
    };
    let group = find(" - cgroup ", "memory", "memory").or_else(|| find(" - cgroup2 ", "cgroup2", "")).unwrap();
    std::fs::create_dir(&group).unwrap();
    group
}

fn has_open(pid: i32, path: &Path) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == path))
}

fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let own = std::process::id() as i32;
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| *pid != own).collect()
}
