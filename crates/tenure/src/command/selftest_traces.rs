//! What the kernel's own tables say is left of one data directory: processes, mounts, control groups, loop devices.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Knows by which names what belongs to a data directory is found.
pub struct Traces {
    dir: PathBuf,
    instances: BTreeSet<String>,
}

impl Traces {
    /// Of this directory.
    pub fn of(dir: &Path) -> Traces {
        Traces { dir: dir.to_owned(), instances: BTreeSet::new() }
    }

    /// Remembers the instances that there are now: their files go before what could be left of them.
    pub fn note(&mut self) {
        let names = entries(&self.dir.join("instances")).into_iter();
        let uuid = |path: PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(".lock")?.to_owned());
        self.instances.extend(names.filter_map(uuid));
    }

    /// Whatever is left, in words.
    pub fn left(&self) -> Vec<String> {
        let processes = pids().into_iter().filter(|pid| self.is_ours(*pid)).map(|pid| format!("process {pid}"));
        let mounts = pids().into_iter().flat_map(|pid| {
            let table = read(format!("/proc/{pid}/mountinfo"));
            let ours = table.lines().any(|line| line.contains(&*self.dir.to_string_lossy()));
            ours.then(|| format!("a mount seen by process {pid}"))
        });
        processes.chain(mounts).chain(self.groups()).chain(self.loop_devices()).collect()
    }

    /// An agent has its instance among its words, a program its control group, a keeper the directory among its variables.
    fn is_ours(&self, pid: i32) -> bool {
        let words = read(format!("/proc/{pid}/cmdline")) + &read(format!("/proc/{pid}/cgroup"));
        let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let dir = self.dir.as_os_str().as_encoded_bytes();
        self.instances.iter().any(|uuid| words.contains(uuid)) || variables.windows(dir.len()).any(|part| part == dir)
    }

    fn groups(&self) -> Vec<String> {
        let table = read("/proc/self/mountinfo".to_owned());
        let trees = table.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
        let mut waiting: Vec<PathBuf> = trees.map(PathBuf::from).collect();
        let mut left = Vec::new();
        while let Some(dir) = waiting.pop() {
            for below in entries(&dir).into_iter().filter(|path| path.is_dir()) {
                let name = below.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if name.strip_prefix("tenure-").is_some_and(|uuid| self.instances.contains(uuid)) {
                    left.push(format!("control group {}", below.display()));
                }
                waiting.push(below);
            }
        }
        left
    }

    fn loop_devices(&self) -> Vec<String> {
        let ours = |device: &PathBuf| {
            Path::new(&read(device.join("loop/backing_file").display().to_string())).starts_with(&self.dir)
        };
        let devices = entries(Path::new("/sys/block")).into_iter().filter(ours);
        devices.map(|device| format!("loop device {}", device.display())).collect()
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn read(path: String) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// All processes but this one.
fn pids() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let pid = |path: PathBuf| path.file_name()?.to_str()?.parse().ok();
    entries(Path::new("/proc")).into_iter().filter_map(pid).filter(|pid| *pid != own).collect()
}
