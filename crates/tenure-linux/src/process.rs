//! Finding our own processes from the kernel's table, by the mark in their arguments.

use crate::sys;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;

/// The name under which agents run; what follows in their arguments is the instance and the berth.
pub const AGENT_NAME: &str = "tenure-agent";
/// The name under which keepers run.
pub const KEEPER_NAME: &std::ffi::CStr = c"tenure-keeper";

/// Kills every agent whose mark begins so. A tenant that gives itself such a name ends itself.
pub fn kill_marked(mark: &str) -> usize {
    let found = marked(mark);
    for (_, pidfd) in &found {
        let _ = sys::pidfd_kill(pidfd);
    }
    found.len()
}

/// The agents whose mark begins so, by their IDs on the host.
pub fn marked(mark: &str) -> Vec<(i32, OwnedFd)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        if !is_marked(pid, mark) {
            return None;
        }
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // The ID may have passed to another process before the descriptor was open; it cannot afterwards.
        is_marked(pid, mark).then_some((pid, pidfd))
    })
    .collect()
}

fn is_marked(pid: i32, mark: &str) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    words.next() == Some(AGENT_NAME.as_bytes()) && words.next().is_some_and(|word| word.starts_with(mark.as_bytes()))
}
