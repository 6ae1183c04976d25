//! The ledger of programs that were run (EN-4).

use crate::audit::AuditDraft;
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use serde::{Deserialize, Serialize};
use tenure_session::{ExecId, Session, SessionId, Timestamp};

/// How far an exec is. `intended → started → exited | killed | unknown`, or `intended → failed` where it never started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecLedgerState {
    /// It is about to be started.
    Intended,
    /// It runs.
    Started,
    /// It exited by itself.
    Exited,
    /// A signal ended it.
    Killed,
    /// It could not be started.
    Failed,
    /// It was started, or was about to be, and nobody saw how it ended.
    Unknown,
}

/// Bytes of one output stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamTotal {
    /// Bytes that were kept.
    pub bytes: u64,
    /// Bytes that were dropped at the cap.
    pub dropped: u64,
}

/// How an exec ended, as far as anybody saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutcome {
    /// One of the last four states.
    pub state: ExecLedgerState,
    /// When.
    pub ended_at: Timestamp,
    /// Its exit code, where it exited. Never invented.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether its own time limit ended it.
    pub timed_out: bool,
    /// Whether the kernel killed it, or something it started, for memory.
    pub oom_killed: bool,
    /// Why it did not start, or why nothing is known.
    pub error: Option<String>,
    /// Its output.
    pub stdout: StreamTotal,
    /// Its error output.
    pub stderr: StreamTotal,
    /// From start to end.
    pub duration_ms: Option<u64>,
}

/// One exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRecord {
    /// Which.
    pub id: ExecId,
    /// In which session.
    pub session_id: SessionId,
    /// In which life of its environment.
    pub generation: u64,
    /// The program and its arguments.
    pub cmd: Vec<String>,
    /// Where.
    pub cwd: String,
    /// As whom; as the environment's default user where none is given.
    pub user: Option<String>,
    /// The caller's own word for it.
    pub tag: Option<String>,
    /// Whether nobody waits for it.
    pub background: bool,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
    /// How far it is.
    pub state: ExecLedgerState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<ExecOutcome>,
}

/// An exec that is about to be started. Counts as the session's activity, and makes a `ready` one `running` (LC-8), all in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecIntent {
    /// Its row, in the state `intended`.
    pub record: ExecRecord,
    /// The key under which the same request will be answered the same.
    pub claim: Option<IdempotencyClaim>,
    /// The operation it counts as; the start command of a template counts as none, and moves no state.
    pub activity: Option<String>,
    /// The entry of the session's transition to `running`, used where there is one.
    pub running_entry: AuditDraft,
    /// Its own entry.
    pub entry: AuditDraft,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecIntended {
    /// It is in the ledger; the session as it is now.
    Done(Session),
    /// The session is neither ready nor running, and nothing was changed.
    Refused(Session),
    /// The idempotency key is in use, by this record, and nothing was changed.
    Claimed(IdempotencyRecord),
    /// There is no such session.
    Missing,
}
