//! What can be asked of an agent and what it answers. Field names are part of the protocol; a new field needs a default.
//!
//! Instants are milliseconds of the host's `CLOCK_BOOTTIME`, durations are milliseconds, sizes are bytes. Paths are absolute, inside the
//! environment, and need not be UTF-8 in what the agent reports: there they are lossy, for people to read.

use crate::handshake::{Nonce, Proof};
#[cfg(doc)]
use crate::limits::{ENTRIES_MAX, EXECS_PAGE, PROCESSES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// First message on a connection, from the manager.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version the manager speaks.
    pub version_min: u32,
    /// Newest version the manager speaks.
    pub version_max: u32,
    /// The manager's nonce.
    pub nonce: Nonce,
}

/// The agent's answer to [`Hello`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Challenge {
    /// The version this connection uses.
    pub version: u32,
    /// The environment that answers.
    pub environment: String,
    /// Its generation; 0 before it is bound.
    pub generation: u64,
    /// The agent's nonce.
    pub nonce: Nonce,
    /// The agent's proof.
    pub proof: Proof,
}

/// The manager's answer to [`Challenge`]; the agent answers [`Reply::Welcome`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Prove {
    /// The manager's proof.
    pub proof: Proof,
}

/// What the manager asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// Gives a pooled environment to its session, once → [`Reply::Done`].
    Bind {
        /// What it is called from now on; the name it was made with where none is given.
        #[serde(default)]
        environment: Option<String>,
        /// The environment's generation, from 1.
        generation: u64,
        /// When everything inside ends, whoever is alive by then.
        #[serde(default)]
        deadline_boot_ms: Option<u64>,
        /// Variables that every exec starts with.
        #[serde(default)]
        env: BTreeMap<String, String>,
    },
    /// Moves the hard deadline → [`Reply::Done`].
    Deadline {
        /// The new deadline, or none.
        deadline_boot_ms: Option<u64>,
    },
    /// Starts a program → [`Reply::Started`], then events until [`Reply::Exited`]. The connection is attached to it.
    Exec(Exec),
    /// Attaches this connection to an exec → [`Reply::Started`], then as [`Request::Exec`]. Only one connection at a time may feed its input.
    Attach {
        /// The exec.
        exec_id: String,
    },
    /// While attached: the window has another size. No reply.
    Resize {
        /// The new size.
        size: WindowSize,
    },
    /// While attached: signals the program's process group. No reply.
    SignalAttached {
        /// Signal number, 1 to 64.
        signal: i32,
    },
    /// While attached to an exec of which this connection wants no more → [`Reply::Done`]; the program goes on.
    Detach,
    /// Signals the process group of an exec → [`Reply::Done`].
    Signal {
        /// The exec.
        exec_id: String,
        /// Signal number, 1 to 64.
        signal: i32,
    },
    /// Lists execs, running and ended, in order of their start → [`Reply::Execs`].
    Execs {
        /// The last exec of the page before; the first page where none is given.
        #[serde(default)]
        after: Option<String>,
    },
    /// Forgets an ended exec → [`Reply::Done`].
    Forget {
        /// The exec.
        exec_id: String,
    },
    /// Lists processes → [`Reply::Processes`].
    Processes,
    /// Reads a regular file → [`Reply::File`], then its bytes as [`crate::Stream::Output`], then [`Reply::Done`].
    FileRead {
        /// The file.
        path: String,
        /// First byte wanted.
        #[serde(default)]
        offset: u64,
        /// Most bytes wanted; to the end where none is given.
        #[serde(default)]
        length: Option<u64>,
    },
    /// Writes a regular file: the manager sends its bytes as [`crate::Stream::Input`], closed by an empty chunk → [`Reply::Written`]. The file
    /// appears whole or not at all; missing directories are made.
    FileWrite {
        /// The file.
        path: String,
        /// Permission bits of a new file; a file that exists keeps its own.
        #[serde(default)]
        mode: Option<u32>,
    },
    /// Removes a file, a link or a directory → [`Reply::Done`].
    FileDelete {
        /// What to remove. A link itself, never what it points to.
        path: String,
        /// Whether a directory goes with all it holds.
        #[serde(default)]
        recursive: bool,
    },
    /// What is at a path, links followed → [`Reply::Stat`].
    Stat {
        /// The path.
        path: String,
    },
    /// Lists a directory in no particular order → [`Reply::Entries`] as often as needed, then [`Reply::Done`].
    List {
        /// The directory.
        path: String,
    },
    /// Makes a directory and those above it; one that exists is no error → [`Reply::Done`].
    MakeDir {
        /// The directory.
        path: String,
    },
    /// Moves a file or directory; replaces a file → [`Reply::Done`].
    Rename {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// Watches a file or directory → [`Reply::Done`], then [`Reply::Change`] until the connection closes.
    Watch {
        /// The path.
        path: String,
        /// Whether the directories below it too.
        #[serde(default)]
        recursive: bool,
    },
    /// Connects to a TCP port on the environment's own loopback → [`Reply::Done`], then bytes both ways; an empty chunk ends a direction.
    Dial {
        /// The port.
        port: u16,
    },
    /// SIGTERM to everything, after the grace SIGKILL, then the agent itself ends → [`Reply::Done`] at once.
    Shutdown {
        /// The grace.
        grace_ms: u64,
    },
    /// Are you there → [`Reply::Done`].
    Ping,
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Names this exec for as long as the agent remembers it; the caller's choice, unique.
    pub exec_id: String,
    /// The program and its arguments; a program without `/` is looked for in `PATH`.
    pub cmd: Vec<String>,
    /// Working directory.
    #[serde(default = "default_cwd")]
    pub cwd: String,
    /// Variables, over those of the environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A user name from `/etc/passwd` or a number; the environment's default where none is given.
    #[serde(default)]
    pub user: Option<String>,
    /// A word of the caller's own, for lists.
    #[serde(default)]
    pub tag: Option<String>,
    /// How long it may run, counted while the environment is not frozen; SIGTERM then, SIGKILL after the grace.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Whether its standard input is fed by this connection; otherwise it is at its end from the start.
    #[serde(default)]
    pub stdin: bool,
    /// A terminal of this size instead of pipes; everything it prints is output.
    #[serde(default)]
    pub tty: Option<WindowSize>,
    /// Where output goes.
    pub sink: Sink,
}

fn default_cwd() -> String {
    "/workspace".into()
}

/// Where a program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Sink {
    /// As data frames to the attached connection. The program waits while nobody reads.
    Frames,
    /// Appended to two files (one, with a terminal) whose descriptors come with the message: output, then error. The program never waits; past
    /// the cap bytes are counted and dropped. The attached connection gets [`Reply::Progress`].
    File {
        /// Most bytes written, of both together.
        cap_bytes: u64,
    },
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// The handshake is over.
    Welcome,
    /// Done, or the end of a sequence.
    Done,
    /// It could not be done.
    Failed {
        /// Which kind of failure.
        code: FailureCode,
        /// For people; holds no more than the caller sent and the kernel answered.
        message: String,
    },
    /// The program runs, or ran.
    Started {
        /// Its process ID inside.
        pid: u32,
    },
    /// The attached program's files have grown, or bytes were dropped at the cap. Totals since the start, coalesced.
    Progress {
        /// Output.
        output: Written,
        /// Error output.
        error: Written,
    },
    /// The attached program has ended and all it wrote was delivered.
    Exited(Ended),
    /// Execs, at most [`EXECS_PAGE`].
    Execs {
        /// In order of their start.
        execs: Vec<ExecState>,
        /// Whether there are more after these.
        #[serde(default)]
        more: bool,
    },
    /// Processes, at most [`PROCESSES_MAX`].
    Processes {
        /// In order of their IDs.
        processes: Vec<Process>,
        /// Whether some were left out.
        truncated: bool,
    },
    /// The file that follows.
    File {
        /// What it is, at the moment it was opened.
        stat: Stat,
    },
    /// A file was written.
    Written {
        /// Its size.
        size: u64,
    },
    /// What is at a path.
    Stat {
        /// `None` where nothing is.
        stat: Option<Stat>,
    },
    /// Some of a directory's entries, at most [`ENTRIES_MAX`].
    Entries {
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Something changed below a watched path.
    Change {
        /// What happened.
        kind: ChangeKind,
        /// Where.
        path: String,
    },
}

/// Bytes of one output stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Bytes in the file.
    pub bytes: u64,
    /// Bytes dropped at the cap.
    pub dropped: u64,
}

/// How a program ended. Never invented: one of `exit_code` and `signal` is what the kernel said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Exit code, where it exited.
    pub exit_code: Option<i32>,
    /// Signal number, where one killed it.
    pub signal: Option<i32>,
    /// Whether its own time limit ended it.
    pub timed_out: bool,
    /// Whether the kernel killed it, or something it started, for memory while it ran.
    pub oom_killed: bool,
    /// Why it never started, if it did not: then neither code nor signal is set.
    #[serde(default)]
    pub not_started: Option<String>,
    /// Output totals ([`Sink::File`] only).
    #[serde(default)]
    pub output: Written,
    /// Error output totals ([`Sink::File`] only).
    #[serde(default)]
    pub error: Written,
    /// How much more is written into the files of what processes that it left behind print ([`Sink::File`] only).
    #[serde(default)]
    pub room_bytes: u64,
    /// From start to end.
    pub duration_ms: u64,
}

/// One exec in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecState {
    /// The exec.
    pub exec_id: String,
    /// Its process ID inside.
    pub pid: u32,
    /// The caller's word.
    pub tag: Option<String>,
    /// How it ended, or `None` while it runs.
    pub ended: Option<Ended>,
    /// How much more is written into its files while it runs ([`Sink::File`] only).
    #[serde(default)]
    pub room_bytes: Option<u64>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Process ID inside.
    pub pid: u32,
    /// Its parent.
    pub ppid: u32,
    /// Its user inside.
    pub uid: u32,
    /// One letter, as in `/proc/PID/stat`.
    pub state: String,
    /// Processor time used.
    pub cpu_ms: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Command line, cut to 256 bytes.
    pub cmd: String,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Size.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Last change of its content, milliseconds since 1970.
    pub modified_ms: i64,
}

/// One directory entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is, links not followed.
    #[serde(flatten)]
    pub stat: Stat,
}

/// What kind of thing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device; it can be listed and removed, not read or written.
    Other,
}

/// What happened to a watched thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new, or was moved here.
    Created,
    /// Its content or its attributes changed.
    Modified,
    /// It is gone, or was moved away.
    Deleted,
    /// Changes came faster than they were read, and some are missing: look for yourself.
    Overflow,
}

/// Why something could not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// A field breaks a limit or makes no sense.
    Invalid,
    /// The request makes no sense now: not bound, bound already, not attached.
    OutOfTurn,
    /// No such file or directory.
    NotFound,
    /// No such exec.
    NoSuchExec,
    /// No such user.
    NoSuchUser,
    /// The tenant may not do this.
    Denied,
    /// It is no regular file.
    NotAFile,
    /// It is no directory.
    NotADirectory,
    /// It exists, or is not empty.
    Exists,
    /// The disk limit is reached.
    DiskFull,
    /// The process limit is reached.
    ProcessLimit,
    /// Another limit is reached: descriptors, watches, execs, connections.
    Limit,
    /// Nobody listens on that port.
    Unreachable,
    /// Everything is being ended.
    Ending,
    /// Anything else the kernel said.
    Io,
}
