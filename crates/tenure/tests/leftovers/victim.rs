//! Who can be killed: found by parentage, so that only what this test started is hit.

use crate::random::Random;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::time::{Duration, Instant};

/// How long to look for somebody who is not there yet, or not any more.
const SEARCH: Duration = Duration::from_millis(500);

/// A kind of process of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// `tenure run` itself.
    Run,
    /// Its keeper.
    Keeper,
    /// What the keeper forked of itself: a stem or a cleaner.
    Side,
    /// The first process of the environment.
    Agent,
}

impl Victim {
    /// All of them.
    pub const ALL: [Victim; 4] = [Victim::Run, Victim::Keeper, Victim::Side, Victim::Agent];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Victim::Run => "run",
            Victim::Keeper => "keeper",
            Victim::Side => "stem or cleaner",
            Victim::Agent => "agent",
        }
    }

    /// Those of a run that are there now.
    fn find(self, run: i32) -> Vec<i32> {
        let keepers = || children(run).into_iter().filter(|pid| is_keeper(*pid));
        match self {
            Victim::Run => vec![run],
            Victim::Keeper => keepers().collect(),
            Victim::Side => keepers().flat_map(children).filter(|pid| is_keeper(*pid)).collect(),
            Victim::Agent => keepers().flat_map(children).filter(|pid| is_agent(*pid)).collect(),
        }
    }
}

/// Kills one of these with -9. Who was killed, if the run lasted long enough to meet anybody.
pub fn kill(wanted: Victim, run: i32, random: &mut Random) -> Option<Victim> {
    let until = Instant::now() + SEARCH;
    while Instant::now() < until {
        let found = wanted.find(run);
        if !found.is_empty() {
            let pid = random.pick(&found);
            // The run is not reaped yet, so its ID is still its own; whoever hangs below it is looked for again once the descriptor names it.
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty());
            if let Ok(pidfd) = pidfd
                && wanted.find(run).contains(&pid)
                && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
            {
                return Some(wanted);
            }
        } else if is_zombie(run) {
            return None;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    None
}

fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn is_keeper(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "tenure-keeper\n")
}

/// The agent, once it is the program of that name: before, the first process is a copy of its stem, and counts as one.
fn is_agent(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with(b"tenure-agent\0")
}

fn is_zombie(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}
