//! Named points: a tracer holds a process at each call of one kind, and tells when the wanted one is reached.
//!
//! ```text
//! strace ── holds every such call for a moment ── manager or keeper
//!    └─ tells each ─► counted here; at the nth the manager is killed, while the call is held: before it is made, or after
//! ```
//!
//! Nothing in the product takes part in it.

use anyhow::Context as _;
use rustix::process::Signal;
use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::process;
use crate::random::Random;

/// How long the tracer may take to take hold.
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to let go.
const DETACH_PATIENCE: Duration = Duration::from_secs(3);

/// Who is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// The server.
    Manager,
    /// Its keeper, and what the keeper forks.
    Keeper,
}

/// On which side of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It is not made any more.
    Before,
    /// It was made, and nobody knows it yet.
    After,
}

/// A point at which the manager is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Who is held.
    pub held: Held,
    /// At which call.
    pub call: &'static str,
    /// Before or after it.
    pub side: Side,
    /// At the how manieth.
    pub nth: u64,
}

/// What a manager does that it could be killed at: writes of the database, and messages to keeper and agents. With how many of them are counted at most.
const MANAGER: &[(&str, u64)] = &[
    ("pwrite64", 150),
    ("fdatasync", 12),
    ("sendmsg", 12),
    ("recvmsg", 12),
    ("connect", 8),
    ("openat", 12),
    ("write", 30),
];
/// What a keeper does while the manager could be killed: environments being made and taken down.
const KEEPER: &[(&str, u64)] = &[
    ("clone", 4),
    ("clone3", 3),
    ("mount", 12),
    ("move_mount", 4),
    ("fsmount", 3),
    ("mkdir", 6),
    ("mkdirat", 6),
    ("write", 30),
    ("ioctl", 6),
    ("rmdir", 3),
    ("sendmsg", 8),
    ("rename", 3),
];

impl Point {
    /// One of them all.
    pub fn pick(random: &mut Random) -> Point {
        let (held, (call, most)) = match random.below(3) {
            0 => (Held::Keeper, random.pick(KEEPER)),
            _ => (Held::Manager, random.pick(MANAGER)),
        };
        Point { held, call, side: random.pick(&[Side::Before, Side::After]), nth: 1 + random.below(most) }
    }

    /// Its name, without the number.
    pub fn name(&self) -> String {
        let held = match self.held {
            Held::Manager => "manager",
            Held::Keeper => "keeper",
        };
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        format!("{held} {side} {}", self.call)
    }

    /// How long each call is held: long enough to be seen, short where there are many.
    fn delay(&self) -> &'static str {
        match self.call {
            "pwrite64" | "write" | "mount" | "openat" | "ioctl" => "3ms",
            _ => "10ms",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.nth)
    }
}

/// A tracer that has hold of a process.
pub struct Tracer {
    child: Child,
    reached: Receiver<()>,
}

impl Tracer {
    /// Takes hold.
    pub fn attach(point: &Point, pid: i32) -> anyhow::Result<Tracer> {
        let side = match point.side {
            Side::Before => "enter",
            Side::After => "exit",
        };
        let mut child = Command::new("strace")
            .args([
                "-f",
                "-s",
                "0",
                "-p",
                &pid.to_string(),
                "-e",
                &format!("trace={}", point.call),
                "-e",
                "signal=none",
            ])
            .args(["-e", &format!("inject={}:delay_{side}={}", point.call, point.delay())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start strace")?;
        let output = child.stderr.take().context("no output")?;
        let ((tell_attached, attached), (tell, reached)) = (channel(), channel());
        let reader = Reader { output, call: point.call, side: point.side, nth: point.nth };
        std::thread::spawn(move || reader.run(&tell_attached, &tell));
        let mut tracer = Tracer { child, reached };
        if attached.recv_timeout(ATTACH_PATIENCE).is_err() {
            tracer.end();
            anyhow::bail!("strace did not get hold of {pid}");
        }
        Ok(tracer)
    }

    /// Waits until the point is reached; whether it was in time.
    pub fn wait(&self, patience: Duration) -> bool {
        self.reached.recv_timeout(patience).is_ok()
    }

    /// Lets go.
    pub fn end(&mut self) {
        // Its own child, not reaped: the number is nobody else's.
        process::signal(self.child.id() as i32, Signal::TERM);
        let until = Instant::now() + DETACH_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads what a tracer tells, as it comes: a call is told when it begins, and its line goes on when it is over.
struct Reader {
    output: std::process::ChildStderr,
    call: &'static str,
    side: Side,
    nth: u64,
}

impl Reader {
    fn run(mut self, attached: &Sender<()>, reached: &Sender<()>) {
        let (mut seen, mut count, mut is_attached) = (Vec::new(), 0, false);
        let mut buffer = [0; 4096];
        while let Ok(size @ 1..) = self.output.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..size]);
            if !is_attached && contains(&seen, b"attached") {
                is_attached = attached.send(()).is_ok();
            }
            while let Some(end) = self.next(&seen) {
                seen.drain(..end);
                count += 1;
                if count == self.nth {
                    // Nobody waits any more where the time was over.
                    let _ = reached.send(());
                }
            }
        }
    }

    /// Where the next call of that kind begins, or is over, in what was told.
    fn next(&self, seen: &[u8]) -> Option<usize> {
        let mark = match self.side {
            Side::Before => format!("{}(", self.call).into_bytes(),
            Side::After => b") = ".to_vec(),
        };
        let at = seen.windows(mark.len()).position(|part| part == mark)?;
        Some(at + mark.len())
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}
