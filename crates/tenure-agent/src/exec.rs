//! One exec: a program from its start to the end that is told about it.
//!
//! ```text
//! starting ──report pipe closes──► running ──reaped──► reaped ──output drained, or settled──► ended ──told──► delivered
//!     └─report──► (failed, forgotten at once)
//! ```
//!
//! A program has ended when it is reaped and its output was read to the end. Processes that it left behind may hold its pipes open
//! for ever; then what the pipes hold [`SETTLE`] after its end is the last that belongs to it, and what comes later still goes into the
//! files of a file sink, or nowhere.

use crate::connection::OutBuffer;
use crate::input::Input;
use crate::output::Output;
use crate::poll::Source;
use crate::spawn::{REPORT_LEN, Stage, parse_report};
use crate::tty;
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::time::{Duration, Instant};
use tenure_protocol::{Ended, ExecState, Reply};

/// How long after a program's end its pipes may still be filled by others as if it were its own output.
pub const SETTLE: Duration = Duration::from_millis(100);

/// How the kernel says a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Exited(i32),
    Killed(i32),
}

/// How far an exec has come.
#[derive(Debug)]
pub enum Phase {
    /// Forked; not yet the program. Holds where it reports.
    Starting(Source),
    Running,
    Reaped {
        status: Status,
        at: Instant,
    },
    Ended(Ended),
}

/// A time limit, counted on the awake clock.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub at: Duration,
    /// SIGTERM was sent, SIGKILL is next.
    pub passed: bool,
}

/// Who killed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Kills {
    /// Its own time limit.
    pub timed_out: bool,
    /// The agent sent SIGKILL, for whatever reason.
    pub by_agent: bool,
    /// Something it started was ended by SIGKILL.
    pub descendant: bool,
}

/// One exec.
#[derive(Debug)]
pub struct Exec {
    pub exec_id: String,
    pub tag: Option<String>,
    pub program: String,
    pub cwd: String,
    pub pid: i32,
    pub phase: Phase,
    pub input: Input,
    pub output: Output,
    pub master: Option<OwnedFd>,
    /// The connection that gets its events and feeds its input.
    pub attached: Option<u64>,
    pub limit: Option<Limit>,
    pub kills: Kills,
    pub oom_kills_before: Option<u64>,
    pub started: Instant,
    /// Whether it runs as the agent's own user.
    pub own_user: bool,
    /// Whether its end was told to somebody.
    pub delivered: bool,
    /// Nobody asks for it any more; only its pipes are kept open for what it left behind.
    pub forgotten: bool,
    /// How it died, as long as it is not known how far it came.
    pub dead: Option<(Status, Instant)>,
    /// Most bytes that it takes up in the list of all execs.
    pub listed_len: usize,
}

/// What a child's report pipe says.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    NotYet,
    /// Just now.
    Began,
    Runs,
    Failed(Stage, Errno),
}

impl Exec {
    /// Whether the program has been started and not yet reaped: only then its process ID is its own.
    pub fn alive(&self) -> bool {
        matches!(self.phase, Phase::Starting(_) | Phase::Running) && self.dead.is_none()
    }

    pub fn ended(&self) -> Option<&Ended> {
        match &self.phase {
            Phase::Ended(ended) => Some(ended),
            Phase::Starting(_) | Phase::Running | Phase::Reaped { .. } => None,
        }
    }

    pub fn state(&self) -> ExecState {
        ExecState {
            exec_id: self.exec_id.clone(),
            pid: self.pid.unsigned_abs(),
            tag: self.tag.clone(),
            ended: self.ended().cloned(),
            room_bytes: if self.ended().is_none() { self.output.room() } else { None },
        }
    }

    pub fn started_reply(&self) -> Reply {
        Reply::Started { pid: self.pid.unsigned_abs() }
    }

    /// Looks at the report pipe of a starting child.
    pub fn check_start(&mut self) -> Start {
        let Phase::Starting(report) = &mut self.phase else { return Start::Runs };
        let mut bytes = [0; REPORT_LEN];
        match rustix::io::read(&*report, &mut bytes) {
            Ok(REPORT_LEN) => {
                let (stage, errno) = parse_report(bytes);
                Start::Failed(stage, errno)
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                report.want(EventFlags::IN);
                Start::NotYet
            }
            Ok(_) | Err(_) => {
                self.phase = match self.dead.take() {
                    Some((status, at)) => Phase::Reaped { status, at },
                    None => Phase::Running,
                };
                Start::Began
            }
        }
    }

    /// The program is dead, and is about to be reaped.
    pub fn died(&mut self, status: Status, at: Instant) {
        self.limit = None;
        match self.phase {
            // How far it came still has to be read from its report.
            Phase::Starting(_) => self.dead = Some((status, at)),
            Phase::Running | Phase::Reaped { .. } | Phase::Ended(_) => self.phase = Phase::Reaped { status, at },
        }
    }

    /// When it has to be looked at again although nothing happens: its pipes settle.
    pub fn wakes_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Reaped { at, .. } if !self.output.settled() => Some(at + SETTLE),
            Phase::Starting(_) | Phase::Running | Phase::Reaped { .. } | Phase::Ended(_) => None,
        }
    }

    /// Moves bytes, and the exec itself towards its end. Says whether the end was told to the peer just now.
    pub fn pump(
        &mut self,
        mut peer: Option<&mut OutBuffer>,
        scratch: &mut [u8],
        now: Instant,
        oom_kills: impl Fn() -> Option<u64>,
    ) -> bool {
        self.input.pump();
        self.output.pump(peer.as_deref_mut(), scratch);
        if let Phase::Reaped { status, at } = self.phase {
            if now >= at + SETTLE && !self.output.settled() {
                self.output.settle();
                self.output.pump(peer.as_deref_mut(), scratch);
            }
            // With frames the end is known before somebody comes to read the rest; with files the totals must be final.
            let known = if self.output.goes_to_peer() { self.output.settled() } else { self.output.drained() };
            if known {
                self.input.close();
                self.phase = Phase::Ended(self.end(status, at, oom_kills()));
            }
        }
        self.deliver(peer, scratch)
    }

    fn deliver(&mut self, peer: Option<&mut OutBuffer>, scratch: &mut [u8]) -> bool {
        let Phase::Ended(ended) = &self.phase else { return false };
        let told = match peer {
            Some(peer) if (self.delivered || self.output.drained()) && peer.has_room() => {
                peer.reply(&Reply::Exited(ended.clone()));
                true
            }
            Some(_) | None => false,
        };
        // Files are as final without a listener; frames wait for one, unless nobody can come any more.
        if told || self.forgotten || !self.output.goes_to_peer() {
            self.delivered |= told;
            self.output.finish();
            self.output.pump(None, scratch);
        }
        told
    }

    fn end(&mut self, status: Status, at: Instant, oom_kills: Option<u64>) -> Ended {
        let counted = matches!((self.oom_kills_before, oom_kills), (Some(before), Some(after)) if after > before);
        // A shell that saw its child die by SIGKILL exits with 137; the child itself was never ours to see.
        let killed = self.kills.descendant || matches!(status, Status::Killed(libc::SIGKILL) | Status::Exited(137));
        let [output, error] = self.output.totals();
        Ended {
            exit_code: if let Status::Exited(code) = status { Some(code) } else { None },
            signal: if let Status::Killed(signal) = status { Some(signal) } else { None },
            timed_out: self.kills.timed_out,
            oom_killed: counted && killed && !self.kills.by_agent,
            not_started: None,
            output,
            error,
            room_bytes: self.output.leave_behind(),
            duration_ms: u64::try_from(at.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Process groups that a signal for this exec goes to; none once it was reaped.
    pub fn groups(&self) -> Vec<i32> {
        if !self.alive() {
            return Vec::new();
        }
        let foreground = self.master.as_ref().and_then(tty::foreground).filter(|group| *group != self.pid);
        [self.pid].into_iter().chain(foreground).collect()
    }
}
