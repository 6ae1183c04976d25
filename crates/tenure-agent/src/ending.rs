//! The end of everything: signals, time limits, the hard deadline, and the agent's own exit.
//!
//! As PID 1 a signal to everything is one call, and its exit takes the whole PID namespace along. Anywhere else that call would hit
//! strangers: then only what this agent started is signalled.

use crate::event_loop::{Agent, Binding};
use crate::exec::{Exec, Limit};
use crate::failure::Failure;
use crate::reaper;
use rustix::time::{ClockId, Itimerspec, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_settime};
use std::time::{Duration, Instant};
use tenure_protocol::FailureCode;

/// How long what is dead may take to be reaped and its last output to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A deadline that is noticed this much too late was slept through: the environment was frozen.
const SLEPT_THROUGH: Duration = Duration::from_millis(300);
/// How long a manager then has to move it: what it said while the environment was frozen could not be heard.
const LAST_CALL: Duration = Duration::from_secs(1);
/// A time to come that no clock reaches.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How far the end has come.
#[derive(Debug)]
pub enum Ending {
    /// SIGTERM was sent.
    Terminating { kill_at: Instant },
    /// SIGKILL was sent, or nobody is left to send it to.
    Killing { exit_at: Instant },
}

impl Ending {
    pub fn wakes_at(&self) -> Instant {
        match self {
            Ending::Terminating { kill_at } => *kill_at,
            Ending::Killing { exit_at } => *exit_at,
        }
    }
}

/// Ends this process without running anything of it.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns, and runs no handler.
    unsafe { libc::_exit(code) }
}

/// Whether this process is the first of its PID namespace. Asked anew each time: all else depends on it.
fn is_init() -> bool {
    // SAFETY: takes nothing.
    unsafe { libc::getpid() == 1 }
}

/// Signals one process group that this agent made, or the one process where the group does not exist yet.
pub fn signal_group(group: i32, signal: i32) {
    // 0 and 1 would name our own group and everybody.
    if group > 1 {
        // SAFETY: plain numbers; the group is that of a child that is not yet reaped, so it cannot be another's.
        unsafe {
            if libc::kill(-group, signal) != 0 {
                libc::kill(group, signal);
            }
        }
    }
}

/// Signals everything inside. Not PID 1: what was started here, and what came back to this process as an orphan.
fn signal_everything<'a>(execs: impl Iterator<Item = &'a Exec>, signal: i32) {
    if is_init() {
        // SAFETY: as PID 1 this reaches every process of this namespace but ourselves.
        unsafe { libc::kill(-1, signal) };
        return;
    }
    execs.flat_map(Exec::groups).for_each(|group| signal_group(group, signal));
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for child in children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()).filter(|pid| *pid > 1) {
        // SAFETY: plain numbers; a child of ours that is not yet reaped keeps its number.
        unsafe { libc::kill(child, signal) };
    }
}

/// Now, on the clock that goes on while the host sleeps and the environment is frozen.
fn boot_now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

impl Agent {
    /// Binds the environment to its session, once.
    pub fn bind(
        &mut self,
        environment: Option<String>,
        deadline_boot_ms: Option<u64>,
        binding: Binding,
    ) -> Result<(), Failure> {
        if self.binding.is_some() {
            return Err(Failure::new(FailureCode::OutOfTurn, "the environment is bound already"));
        }
        self.deadline_set(deadline_boot_ms)?;
        self.boot.environment = environment.unwrap_or(std::mem::take(&mut self.boot.environment));
        self.binding = Some(binding);
        Ok(())
    }

    /// Moves the hard deadline. The kernel keeps it, on a clock that goes on while the host sleeps.
    pub fn deadline_set(&mut self, deadline_boot_ms: Option<u64>) -> Result<(), Failure> {
        let at = deadline_boot_ms.map(Duration::from_millis);
        self.deadline_due = at.map(|at| at.max(boot_now()));
        self.deadline_arm(at)
    }

    fn deadline_arm(&self, at: Option<Duration>) -> Result<(), Failure> {
        // Zero would disarm the timer: the earliest deadline there is has passed just the same.
        let at = at.map_or(Duration::ZERO, |at| at.clamp(Duration::from_nanos(1), NEVER));
        let it_value = Timespec { tv_sec: at.as_secs() as i64, tv_nsec: at.subsec_nanos().into() };
        let timer = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.deadline, TimerfdTimerFlags::ABSTIME, &timer)
            .map(drop)
            .map_err(|errno| Failure::of(errno, "deadline"))
    }

    /// The hard deadline is here, unless it was moved meanwhile.
    pub fn check_deadline(&mut self) {
        let mut expirations = [0; 8];
        if rustix::io::read(&self.deadline, &mut expirations).is_err() {
            return;
        }
        let now = boot_now();
        let slept_through = self.deadline_due.take().is_some_and(|due| now > due + SLEPT_THROUGH);
        // Once: what was due is taken, so that the next time is the end.
        if !(slept_through && self.deadline_arm(Some(now + LAST_CALL)).is_ok()) {
            self.end_begin(Duration::from_millis(self.boot.grace_ms), Instant::now());
        }
    }

    /// Begins the end. A second one can only make it sooner.
    pub fn end_begin(&mut self, grace: Duration, now: Instant) {
        let kill_at = now + grace.min(NEVER);
        self.ending = match self.ending.take() {
            None => {
                signal_everything(self.execs.values(), libc::SIGTERM);
                Some(Ending::Terminating { kill_at })
            }
            Some(Ending::Terminating { kill_at: before }) => Some(Ending::Terminating { kill_at: kill_at.min(before) }),
            Some(killing @ Ending::Killing { .. }) => Some(killing),
        };
    }

    /// Kills everything and exits: nobody is left who could want anything else.
    pub fn end_at_once(&mut self) {
        self.kill_everything();
        self.ending = Some(Ending::Killing { exit_at: Instant::now() + LAST_WORDS });
    }

    fn kill_everything(&mut self) {
        for exec in self.execs.values_mut().filter(|exec| exec.alive()) {
            exec.kills.by_agent = true;
        }
        signal_everything(self.execs.values(), libc::SIGKILL);
    }

    /// Drives the end; says how to exit once it is over.
    pub fn ending_step(&mut self, now: Instant) -> Option<i32> {
        let ending = self.ending.as_ref()?;
        let alone = reaper::childless();
        match ending {
            Ending::Terminating { kill_at } if alone || now >= *kill_at => {
                self.kill_everything();
                self.ending = Some(Ending::Killing { exit_at: now + LAST_WORDS });
            }
            Ending::Killing { exit_at } if now >= *exit_at => return Some(0),
            Ending::Killing { .. } if !is_init() && !alone => signal_everything(self.execs.values(), libc::SIGKILL),
            Ending::Terminating { .. } | Ending::Killing { .. } => {}
        }
        let told = self.execs.values().all(|exec| exec.ended().is_some() && exec.attached.is_none())
            && self.connections.values().all(|connection| connection.out.is_empty());
        (alone && told && matches!(self.ending, Some(Ending::Killing { .. }))).then_some(0)
    }

    /// Starts the time limit of an exec.
    pub fn limit_begin(&mut self, key: u64, timeout: Option<Duration>, now: Instant) {
        let Some(timeout) = timeout else { return };
        let waiting = self.execs.values().any(|exec| exec.limit.is_some());
        let awake = if waiting { self.clock.advance(now) } else { self.clock.skip_to(now) };
        if let Some(exec) = self.execs.get_mut(&key) {
            exec.limit = Some(Limit { at: awake.saturating_add(timeout), passed: false });
        }
    }

    /// SIGTERM to whoever's time is over, SIGKILL after the grace.
    pub fn check_limits(&mut self, now: Instant) {
        if !self.execs.values().any(|exec| exec.limit.is_some()) {
            return;
        }
        let awake = self.clock.advance(now);
        let grace = Duration::from_millis(self.boot.grace_ms);
        let due = |exec: &Exec| exec.limit.filter(|limit| limit.at <= awake);
        let over: Vec<(u64, Limit)> = self.execs.iter().filter_map(|(key, exec)| Some((*key, due(exec)?))).collect();
        for (key, limit) in over {
            let Some(exec) = self.execs.get_mut(&key) else { continue };
            exec.kills.timed_out = true;
            exec.limit = (!limit.passed).then_some(Limit { at: awake.saturating_add(grace), passed: true });
            self.exec_kill(key, if limit.passed { libc::SIGKILL } else { libc::SIGTERM });
        }
    }

    /// Signals the process group of an exec, and the foreground of its terminal.
    pub fn exec_kill(&mut self, key: u64, signal: i32) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        exec.kills.by_agent |= signal == libc::SIGKILL && exec.alive();
        exec.groups().into_iter().for_each(|group| signal_group(group, signal));
    }
}
