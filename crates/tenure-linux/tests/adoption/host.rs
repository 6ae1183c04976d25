//! What the host's kernel says: which agents and keepers run, and whether they are dead.

use crate::ground::leftover;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than anything may take that the kernel does.
const SOON: Duration = Duration::from_secs(15);

pub fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub fn kill(pid: i32) {
    match kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL) {
        // It went with another that was killed before it.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("{pid} was not killed: {error}"),
    }
    until("it is dead", || is_dead(pid));
}

/// Whether a process is gone, or dead and not reaped.
pub fn is_dead(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// The agents of an instance.
pub fn agents(uuid: &str) -> Vec<i32> {
    let mut pids: Vec<i32> =
        tenure_linux::process::marked(&format!("{uuid}/")).into_iter().map(|(pid, _)| pid).collect();
    pids.retain(|pid| !is_dead(*pid));
    pids.sort_unstable();
    pids
}

/// The keeper of a data directory, among the children that it forked: the one that none of them is the parent of.
pub fn keeper(data_dir: &Path) -> Option<i32> {
    let pids = leftover::pids().into_iter().filter_map(|dir| dir.file_name()?.to_str()?.parse::<i32>().ok());
    let named = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "tenure-keeper")
    };
    let ours: Vec<i32> = pids.filter(named).filter(|pid| leftover::instance_of(*pid, data_dir).is_some()).collect();
    ours.iter()
        .copied()
        .find(|pid| tenure_linux::process::parent_of(*pid).is_some_and(|parent| !ours.contains(&parent)))
}

#[track_caller]
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !reached() {
        assert!(Instant::now() < end, "not within {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Whether every freezer of an instance's environments stands.
pub fn is_frozen(uuid: &str) -> bool {
    let groups = leftover::groups(uuid);
    let states: Vec<String> = groups
        .iter()
        .filter_map(|line| line.strip_prefix("group "))
        .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten())
        .flat_map(|berth| ["freezer.state", "cgroup.freeze"].map(|name| berth.path().join(name)))
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect();
    // Ready berths stand beside it, and are never frozen.
    states.iter().any(|state| matches!(state.trim(), "FROZEN" | "1"))
}
