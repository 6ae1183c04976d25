//! Control groups version 2: one tree, in which a group passes controllers on to those below it.

use super::discover::V2Layout;
use super::{AGENT_PIDS, Dirs, PATIENCE, named_below_top, read_keyed, read_number, write};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tenure_environment::{Observation, ResourceLimits};

const CPU_PERIOD_US: u64 = 100_000;
const WANTED: [&str; 3] = ["memory", "cpu", "pids"];
/// Where the manager moves itself if its own group is to pass controllers on.
const MANAGER_LEAF: &str = "tenure-manager";

/// Makes the instance's group where controllers can be passed on: below our own group, or as root at the top.
pub fn create_parent(layout: &V2Layout, name: &str, ours: &[u32]) -> Option<Dirs> {
    let own = delegable(&layout.own, ours);
    let base = if own { &layout.own } else { &layout.mount };
    enable_controllers(base);
    let dir = base.join(name);
    match std::fs::create_dir(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return None,
        _ => {}
    }
    enable_controllers(&dir);
    Some(dirs_of(&dir))
}

/// The group's directory under each controller that reaches the groups below it. Freezing needs no controller.
pub fn dirs_of(dir: &Path) -> Dirs {
    let passed_on = std::fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
    let has = |controller: &str| passed_on.split_whitespace().any(|word| word == controller).then(|| dir.to_path_buf());
    Dirs { memory: has("memory"), cpu: has("cpu"), pids: has("pids"), freezer: Some(dir.to_path_buf()) }
}

/// Whether our own group can pass controllers on. The top of the tree always can; another must hold no process of its own, so a manager that is
/// alone in it (a service with delegation) moves into a leaf.
fn delegable(own: &Path, ours: &[u32]) -> bool {
    if !own.join("cgroup.type").exists() {
        return true;
    }
    if own.file_name().is_some_and(|name| name == MANAGER_LEAF) {
        return false;
    }
    let processes = std::fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
    let leaf = own.join(MANAGER_LEAF);
    let is_ours = |line: &str| line.parse().is_ok_and(|pid: u32| ours.contains(&pid));
    if !processes.lines().all(is_ours) || std::fs::create_dir_all(&leaf).is_err() {
        return false;
    }
    processes.lines().all(|pid| write(&leaf.join("cgroup.procs"), pid).is_ok())
}

/// Passes on every controller that is there, one by one: a missing one must not cost the others.
fn enable_controllers(dir: &Path) {
    for controller in WANTED {
        let _ = write(&dir.join("cgroup.subtree_control"), &format!("+{controller}"));
    }
}

/// The groups of instances that are there.
pub fn instances(layout: &V2Layout, prefix: &str) -> Vec<(String, Dirs)> {
    let dirs = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let all = Some(path);
        Some((name, Dirs { memory: all.clone(), cpu: all.clone(), pids: all.clone(), freezer: all }))
    };
    named_below_top(&layout.own, prefix).into_iter().filter_map(dirs).collect()
}

pub fn set_limits(dirs: &Dirs, limits: &ResourceLimits) -> io::Result<()> {
    if let Some(dir) = &dirs.memory {
        write(&dir.join("memory.max"), &limits.memory_bytes.to_string())?;
        let swap = dir.join("memory.swap.max");
        if swap.exists() {
            write(&swap, "0")?;
        }
    }
    if let Some(dir) = &dirs.cpu {
        let quota_us = u64::from(limits.cpu_millis) * CPU_PERIOD_US / 1000;
        write(&dir.join("cpu.max"), &format!("{quota_us} {CPU_PERIOD_US}"))?;
    }
    if let Some(dir) = &dirs.pids {
        write(&dir.join("pids.max"), &(u64::from(limits.pids) + AGENT_PIDS).to_string())?;
    }
    Ok(())
}

pub fn set_frozen(dir: &Path, frozen: bool) -> io::Result<()> {
    write(&dir.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
    let until = Instant::now() + PATIENCE;
    while read_keyed(&dir.join("cgroup.events"), "frozen") != Some(frozen.into()) {
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

pub fn observe(dirs: &Dirs) -> Observation {
    let memory = |name: &str| dirs.memory.as_ref().map(|dir| dir.join(name));
    let cpu_us = |key: &str| dirs.cpu.as_ref().and_then(|dir| read_keyed(&dir.join("cpu.stat"), key));
    let pids = |name: &str| dirs.pids.as_ref().map(|dir| dir.join(name));
    Observation {
        memory_bytes: memory("memory.current").and_then(|file| read_number(&file)),
        memory_peak_bytes: memory("memory.peak").and_then(|file| read_number(&file)),
        memory_limit_hits: memory("memory.events").and_then(|file| read_keyed(&file, "max")),
        oom_kills: memory("memory.events").and_then(|file| read_keyed(&file, "oom_kill")),
        pids: pids("pids.current").and_then(|file| read_number(&file)).map(|n| n.saturating_sub(AGENT_PIDS)),
        pids_refused: pids("pids.events").and_then(|file| read_keyed(&file, "max")),
        cpu_ms: cpu_us("usage_usec").map(|us| us / 1000),
        cpu_throttled_ms: cpu_us("throttled_usec").map(|us| us / 1000),
        frozen: dirs.freezer.as_ref().and_then(|dir| read_number(&dir.join("cgroup.freeze"))) == Some(1),
        ..Observation::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A tree of plain files, as the kernel would show it.
    fn fake_group(files: &[(&str, &str)]) -> (tempfile::TempDir, Dirs) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let path = Some(dir.path().to_path_buf());
        let dirs = Dirs { memory: path.clone(), cpu: path.clone(), pids: path.clone(), freezer: path };
        (dir, dirs)
    }

    /// GV-4: each limit stands in its own file, in the kernel's units, and swap is no way around memory.
    #[test]
    fn limits_are_written_in_the_kernels_units() {
        let files = ["memory.max", "memory.swap.max", "cpu.max", "pids.max"].map(|name| (name, "max"));
        let (dir, dirs) = fake_group(&files);
        let limits = ResourceLimits { cpu_millis: 1500, memory_bytes: 64 << 20, pids: 20, ..ResourceLimits::default() };
        set_limits(&dirs, &limits).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("memory.max").starts_with("67108864"));
        assert!(read("memory.swap.max").starts_with('0'));
        assert!(read("cpu.max").starts_with("150000 100000"));
        assert!(read("pids.max").starts_with("21"), "the agent is one of them");
    }

    /// GV-4: what the kernel counted is what is told; what it does not count is unknown, not nothing.
    #[test]
    fn counts_are_read_and_missing_ones_are_unknown() {
        let (_dir, dirs) = fake_group(&[
            ("memory.current", "1048576\n"),
            ("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 0\n"),
            ("cpu.stat", "usage_usec 2500000\nuser_usec 1\nnr_periods 4\nthrottled_usec 90000\n"),
            ("pids.current", "5\n"),
            ("pids.events", "max 3\n"),
            ("cgroup.freeze", "1\n"),
        ]);
        let seen = observe(&dirs);
        let expected = Observation {
            memory_bytes: Some(1_048_576),
            memory_peak_bytes: None,
            memory_limit_hits: Some(7),
            oom_kills: Some(2),
            pids: Some(4),
            pids_refused: Some(3),
            cpu_ms: Some(2500),
            cpu_throttled_ms: Some(90),
            disk_bytes: None,
            disk_limit_bytes: None,
            frozen: true,
        };
        assert_eq!(seen, expected);
    }

    /// GV-4: a controller that is not passed on is not claimed.
    #[test]
    fn only_controllers_that_are_passed_on_enforce() {
        let (dir, _) = fake_group(&[("cgroup.subtree_control", "cpu pids\n")]);
        let dirs = dirs_of(dir.path());
        assert_eq!(
            (dirs.memory, dirs.cpu.is_some(), dirs.pids.is_some(), dirs.freezer.is_some()),
            (None, true, true, true)
        );
    }

    /// LC-9: freezing is over when the kernel says so.
    #[test]
    fn a_freeze_waits_for_the_kernel() {
        let (dir, dirs) = fake_group(&[("cgroup.freeze", "0"), ("cgroup.events", "populated 1\nfrozen 0\n")]);
        let events = dir.path().join("cgroup.events");
        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            fs::write(events, "populated 1\nfrozen 1\n").unwrap();
        });
        set_frozen(dirs.freezer.as_deref().unwrap(), true).unwrap();
        later.join().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("cgroup.freeze")).unwrap(), "1");
    }
}
