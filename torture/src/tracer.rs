//! Holds a process at its system calls, and tells when the wanted one is reached. Nothing in the product takes part in it.
//!
//! ```text
//! strace ── holds every such call for a moment ── manager or keeper
//!    └─ tells each ─► counted here; at the nth the manager is killed, while the call is held: before it is made, or after
//! ```

use crate::point::{Point, Side};
use crate::process;
use anyhow::Context as _;
use rustix::process::Signal;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long it may take to take hold.
const ATTACH_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to let go.
const DETACH_PATIENCE: Duration = Duration::from_secs(3);
/// How long a sync of the log is held, so that the kill comes before it on a busy host, too.
const SYNC_HELD: &str = "150ms";
/// The calls that make a file durable.
const SYNCS: &str = "fsync,fdatasync,sync_file_range";
/// What the name of the database's log ends in.
const LOG: &[u8] = b"db-wal";

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A named point.
    Point(Point),
    /// The nth time that the database's log was written and is about to be synced.
    Unsynced(u64),
    /// The first of the syncs of these files that fail.
    Failing {
        /// Whose.
        files: Vec<PathBuf>,
        /// From the how manieth on.
        first: u64,
        /// How many.
        count: u64,
        /// With which error.
        error: &'static str,
    },
}

impl Wanted {
    fn options(&self) -> Vec<String> {
        // Without the content of anything, and without columns: a line is looked at while it is written.
        let words = ["-f", "-y", "-s", "0", "-a", "1", "-e", "signal=none", "-e"].map(str::to_owned);
        if let Wanted::Failing { files, first, count, error } = self {
            let last = first + count - 1;
            let rest = [
                format!("trace={SYNCS}"),
                "-e".to_owned(),
                format!("inject={SYNCS}:error={error}:when={first}..{last}"),
            ];
            let files = files.iter().flat_map(|file| ["-P".to_owned(), file.display().to_string()]);
            return words.into_iter().chain(rest).chain(files).collect();
        }
        let (calls, held, delay) = match self {
            Wanted::Point(point) => (point.call, point.call, point.delay()),
            Wanted::Unsynced(_) | Wanted::Failing { .. } => ("pwrite64,fsync,fdatasync", "fsync,fdatasync", SYNC_HELD),
        };
        let side = match self {
            Wanted::Point(Point { side: Side::After, .. }) => "exit",
            Wanted::Point(Point { side: Side::Before, .. }) | Wanted::Unsynced(_) | Wanted::Failing { .. } => "enter",
        };
        let rest = [format!("trace={calls}"), "-e".to_owned(), format!("inject={held}:delay_{side}={delay}")];
        words.into_iter().chain(rest).collect()
    }
}

/// A tracer that has hold of a process.
pub struct Tracer {
    child: Child,
    reached: Receiver<()>,
    held_to_the_end: Receiver<bool>,
}

impl Tracer {
    /// Takes hold of these, and of whatever they fork.
    pub fn attach(wanted: &Wanted, pids: &[i32]) -> anyhow::Result<Tracer> {
        let mut child = Command::new("strace")
            .args(wanted.options())
            .args(pids.iter().map(|pid| format!("--attach={pid}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start strace")?;
        let output = child.stderr.take().context("no output")?;
        let ((tell_attached, attached), (tell, reached)) = (channel(), channel());
        let (tell_end, held_to_the_end) = channel();
        let reader = Reader { wanted: wanted.clone(), seen: Vec::new(), count: 0, written: false };
        std::thread::spawn(move || {
            let held = reader.run(output, &tell_attached, &tell);
            // Few want to know.
            let _ = tell_end.send(held);
        });
        let mut tracer = Tracer { child, reached, held_to_the_end };
        if attached.recv_timeout(ATTACH_PATIENCE).is_err() {
            tracer.end();
            anyhow::bail!("strace did not get hold of {pids:?}");
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

    /// After the end: whether the wanted call was reached, and never made.
    pub fn was_never_made(&self) -> bool {
        self.held_to_the_end.recv_timeout(DETACH_PATIENCE) == Ok(true)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads what a tracer tells, as it comes: a call is told when it begins, and its line goes on when it is over.
struct Reader {
    wanted: Wanted,
    /// What was not understood yet.
    seen: Vec<u8>,
    count: u64,
    /// Whether the log was written since it was synced.
    written: bool,
}

impl Reader {
    /// Until there is nothing more; whether the wanted call was reached, and nothing tells that it was made.
    fn run(mut self, mut output: ChildStderr, attached: &Sender<()>, reached: &Sender<()>) -> bool {
        let mut is_attached = false;
        let mut buffer = [0; 4096];
        while let Ok(size @ 1..) = output.read(&mut buffer) {
            self.seen.extend_from_slice(&buffer[..size]);
            if !is_attached && find(&self.seen, b"attached").is_some() {
                is_attached = attached.send(()).is_ok();
            }
            while self.count < self.nth() && self.next() {
                if self.count == self.nth() {
                    // Nobody waits any more where the time was over.
                    let _ = reached.send(());
                }
            }
        }
        self.count == self.nth() && find(&self.seen, b") = 0").is_none()
    }

    fn nth(&self) -> u64 {
        match &self.wanted {
            Wanted::Point(point) => point.nth,
            Wanted::Unsynced(nth) => *nth,
            Wanted::Failing { .. } => 1,
        }
    }

    /// Takes what is understood next; whether there was anything.
    fn next(&mut self) -> bool {
        match &self.wanted {
            Wanted::Point(point) => {
                let mark = match point.side {
                    Side::Before => format!("{}(", point.call).into_bytes(),
                    Side::After => b") = ".to_vec(),
                };
                self.next_of(&mark)
            }
            Wanted::Failing { .. } => self.next_of(b"(INJECTED)"),
            Wanted::Unsynced(_) => self.next_of_log(),
        }
    }

    fn next_of(&mut self, mark: &[u8]) -> bool {
        let Some(at) = find(&self.seen, mark) else { return false };
        self.seen.drain(..at + mark.len());
        self.count += 1;
        true
    }

    /// A write or a sync and, in angle brackets, what it is done to.
    fn next_of_log(&mut self) -> bool {
        let begins = |mark: &[u8]| find(&self.seen, mark).map(|at| at + mark.len());
        let (write, sync) = (begins(b"pwrite64("), begins(b"sync("));
        let is_write = match (write, sync) {
            (Some(write), Some(sync)) => write < sync,
            (write, _) => write.is_some(),
        };
        let Some(begin) = (if is_write { write } else { sync }) else { return false };
        let Some(length) = find(&self.seen[begin..], b">") else { return false };
        if self.seen[begin..begin + length].ends_with(LOG) {
            // Synced twice in a row is a checkpoint: all of it was acknowledged.
            self.count += u64::from(!is_write && self.written);
            self.written = is_write;
        }
        self.seen.drain(..begin + length);
        true
    }
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part == word)
}
