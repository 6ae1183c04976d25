//! Finding our own processes from the kernel's table, by the mark in their arguments.

use crate::sys;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;

/// The name under which agents run; what follows in their arguments is the instance and the berth.
pub const AGENT_NAME: &str = "tenure-agent";
/// The name under which keepers run.
pub const KEEPER_NAME: &std::ffi::CStr = c"tenure-keeper";
/// The name under which spares run.
pub const SPARE_NAME: &std::ffi::CStr = c"tenure-spare";

/// Kills every agent whose mark begins so. A tenant that gives itself such a name ends itself.
pub fn kill_marked(mark: &str) -> usize {
    let found = marked(mark);
    for (_, pidfd) in &found {
        let _ = sys::pidfd_kill(pidfd);
    }
    found.len()
}

/// Kills every agent of exactly this mark.
pub fn kill_exactly(mark: &str) -> usize {
    let found = find(|pid| word_of(pid).is_some_and(|word| word == mark.as_bytes()));
    for (_, pidfd) in &found {
        let _ = sys::pidfd_kill(pidfd);
    }
    found.len()
}

/// The marks of the agents that begin so: what runs of an instance, as the kernel lists it.
pub fn marks(start: &str) -> Vec<String> {
    let words = pids().filter_map(word_of).filter(|word| word.starts_with(start.as_bytes()));
    words.filter_map(|word| String::from_utf8(word).ok()).collect()
}

/// The agents whose mark begins so, by their IDs on the host.
pub fn marked(mark: &str) -> Vec<(i32, OwnedFd)> {
    find(|pid| word_of(pid).is_some_and(|word| word.starts_with(mark.as_bytes())))
}

fn pids() -> impl Iterator<Item = i32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn find(is_it: impl Fn(i32) -> bool) -> Vec<(i32, OwnedFd)> {
    pids()
        .filter_map(|pid| {
            if !is_it(pid) {
                return None;
            }
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            // The ID may have passed to another process before the descriptor was open; it cannot afterwards.
            is_it(pid).then_some((pid, pidfd))
        })
        .collect()
}

/// An agent's mark.
fn word_of(pid: i32) -> Option<Vec<u8>> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|byte| *byte == 0);
    let named = words.next() == Some(AGENT_NAME.as_bytes());
    words.next().filter(|_| named).map(<[u8]>::to_vec)
}

/// Names this boot of the host.
pub fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started, in clock ticks since the host's start. None once it was reaped.
pub fn started_ticks(pid: i32) -> Option<u64> {
    stat_field(pid, 22)
}

/// The parent of a process.
pub fn parent_of(pid: i32) -> Option<i32> {
    stat_field(pid, 4)
}

/// A field of `stat` by its number in the manual, past the name, which may hold anything.
fn stat_field<T: std::str::FromStr>(pid: i32, number: usize) -> Option<T> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(number - 3)?.parse().ok()
}

/// What the kernel says of a process that was written down earlier.
#[derive(Debug)]
pub enum Identity {
    /// It is the same one, and lives; the descriptor names it.
    Same(OwnedFd),
    /// No process has this ID.
    Gone,
    /// The ID has passed to another process, which started then.
    Another(u64),
}

/// Opens a process that was written down as ID and start, and looks again once it is open: from then on the descriptor cannot pass to another one.
pub fn identify(pid: i32, started: u64) -> Identity {
    let Some(opened) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return Identity::Gone;
    };
    match started_ticks(pid) {
        Some(now) if now == started => Identity::Same(opened),
        Some(now) => Identity::Another(now),
        None => Identity::Gone,
    }
}

/// The ID of the process that a descriptor names, on this host; none once it was reaped.
pub fn pid_of(pidfd: &OwnedFd) -> Option<i32> {
    use std::os::fd::AsRawFd;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

/// Whether the process that a descriptor names has ended, reaped or not.
pub fn has_ended(pidfd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok() && !polled[0].revents().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_start() {
        let own = std::process::id() as i32;
        assert_eq!(started_ticks(own), started_ticks(own));
        assert!(started_ticks(own).is_some_and(|ticks| ticks > 0));
    }

    /// EN-10
    #[test]
    fn an_id_that_passed_on_is_another_process() {
        let own = std::process::id() as i32;
        let started = started_ticks(own).unwrap();
        let Identity::Same(pidfd) = identify(own, started) else { panic!("it is this one") };
        assert_eq!((pid_of(&pidfd), has_ended(&pidfd)), (Some(own), false));
        assert!(matches!(identify(own, started + 1), Identity::Another(now) if now == started));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(matches!(identify(child.id() as i32, started), Identity::Gone));
    }
}
