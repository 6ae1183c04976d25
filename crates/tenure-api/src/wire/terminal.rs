//! What a terminal's viewer and the service say to each other, one JSON object in each text message.

use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenure_engine::{ExecLedgerState, TerminalStatus};
use tenure_session::{End, ExecId, State, TerminationReason, Timestamp};

/// What a viewer says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TerminalSaid {
    /// This was typed.
    Input {
        /// What.
        data: String,
    },
    /// It is shown this large.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
}

/// What a viewer is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TerminalTold<'a> {
    /// It printed this; what is not UTF-8 is replaced. Where bytes were asked for, they come in binary messages instead.
    Output {
        /// What.
        data: &'a str,
    },
    /// How it stands: first of all, with every change, and when its program has ended.
    Status {
        /// The session's state.
        state: State,
        /// Which exec it is.
        exec_id: &'a ExecId,
        /// How far its program is.
        exec_state: ExecLedgerState,
        /// Its program's exit code, where it exited.
        exit_code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether the kernel killed it for memory.
        oom_killed: bool,
        /// Whole seconds until the session ends as things stand.
        remaining_seconds: u64,
        /// How much of its output was dropped at the cap of what is kept.
        dropped_bytes: u64,
    },
    /// The session ended. Nothing follows.
    Termination {
        /// Why.
        reason: TerminationReason,
        /// When.
        terminated_at: Timestamp,
        /// What whoever ended it said.
        detail: Option<&'a str>,
    },
    /// It cannot go on. Nothing follows.
    Error {
        /// The problem, as it would have been answered.
        problem: Value,
    },
}

impl<'a> TerminalTold<'a> {
    /// How a terminal stands.
    pub fn status(status: &'a TerminalStatus) -> TerminalTold<'a> {
        let outcome = status.exec.outcome.as_ref();
        TerminalTold::Status {
            state: status.state,
            exec_id: &status.exec.id,
            exec_state: status.exec.state,
            exit_code: outcome.and_then(|outcome| outcome.exit_code),
            signal: outcome.and_then(|outcome| outcome.signal),
            oom_killed: outcome.is_some_and(|outcome| outcome.oom_killed),
            remaining_seconds: status.remaining_seconds,
            dropped_bytes: status.dropped,
        }
    }

    /// The session's end.
    pub fn termination(end: &'a End) -> TerminalTold<'a> {
        TerminalTold::Termination { reason: end.reason, terminated_at: end.at, detail: end.detail.as_deref() }
    }

    /// Why it cannot go on.
    pub fn error(problem: &Problem) -> TerminalTold<'a> {
        TerminalTold::Error { problem: serde_json::from_slice(&problem.body()).unwrap_or_default() }
    }

    /// As it is written.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
