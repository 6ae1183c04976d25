//! Reaping: every process that nobody else waits for is waited for here, and execs learn how their programs ended.

use crate::ending::signal_group;
use crate::event_loop::Agent;
use crate::exec::Status;
use rustix::fd::OwnedFd;
use std::time::Instant;

/// Most processes reaped per turn; a tenant can make them faster than anyone reaps.
const REAPS_PER_TURN: usize = 256;

/// A child that is dead and not yet reaped.
struct Dead {
    pid: i32,
    session: i32,
    status: Status,
}

enum Next {
    Dead(Dead),
    /// There are children, and all of them live.
    None,
    /// There is no child at all.
    Childless,
}

/// Looks for a dead child without reaping it: its session can still be asked for.
fn next_dead() -> Next {
    // SAFETY: `info` is a live, zeroed structure; its fields are read only after the call filled them in.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) != 0 {
            return Next::Childless;
        }
        match info.si_pid() {
            0 => Next::None,
            pid => {
                let value = info.si_status();
                let status =
                    if info.si_code == libc::CLD_EXITED { Status::Exited(value) } else { Status::Killed(value) };
                Next::Dead(Dead { pid, session: libc::getsid(pid), status })
            }
        }
    }
}

fn reap_one(pid: i32) {
    // SAFETY: a dead child of ours; the structure is live, and what is put there is not read.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_PID, pid.unsigned_abs(), &raw mut info, libc::WEXITED | libc::WNOHANG);
    }
}

/// Whether there is no child left, dead or alive: for PID 1, whether it is alone.
pub fn childless() -> bool {
    matches!(next_dead(), Next::Childless)
}

impl Agent {
    /// Reaps what is dead.
    pub fn reap(&mut self) {
        let now = Instant::now();
        self.reap_again = true;
        for _ in 0..REAPS_PER_TURN {
            let Next::Dead(dead) = next_dead() else {
                self.reap_again = false;
                return;
            };
            self.note_dead(&dead, now);
            reap_one(dead.pid);
        }
    }

    fn note_dead(&mut self, dead: &Dead, now: Instant) {
        for (key, exec) in &mut self.execs {
            if exec.alive() && exec.pid == dead.pid {
                self.ready_execs.insert(*key);
                exec.died(dead.status, now);
                if exec.kills.timed_out {
                    // Its group had its SIGTERM, and is its own only as long as the program is not reaped.
                    signal_group(dead.pid, libc::SIGKILL);
                }
            } else if exec.pid == dead.session && exec.ended().is_none() {
                exec.kills.descendant |= dead.status == Status::Killed(libc::SIGKILL);
            }
        }
    }

    /// How often the kernel killed for memory so far, where it can be told.
    pub fn oom_kills(&self) -> Option<u64> {
        oom_kills(&self.oom)
    }
}

/// As [`Agent::oom_kills`], from the counter's file.
pub fn oom_kills(file: &Option<OwnedFd>) -> Option<u64> {
    let mut text = [0; 1024];
    let read = rustix::io::pread(file.as_ref()?, &mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..read]).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}
