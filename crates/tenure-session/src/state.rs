//! The states of a session and the transitions between them (LC-1, LC-2, LC-3).
//!
//! ```text
//!                     ┌──────────────── every live state ────────────────┐
//!                     │                                                  ▼
//!  created ──► initializing ──► ready ──────► running            terminated, failed
//!     CREATING                    ▲ │  ACTIVE   ▲ │                    STOPPED
//!                                 │ └─► paused ◄┼─┘
//!                                 └───── │ ─────┘                resume returns to the state it was paused from
//!                                     PAUSED
//! ```
//!
//! `terminated` and `failed` are the end: nothing leads out of them. `running` never becomes `ready` again (LC-8). A session that was deleted is
//! in the phase DELETED, whatever its state.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its row exists, nothing else.
    Created,
    /// Its environment is being made.
    Initializing,
    /// It can be worked in, and nobody has yet.
    Ready,
    /// It has been worked in.
    Running,
    /// Every process in it stands still.
    Paused,
    /// It ended as it should.
    Terminated,
    /// It ended by a failure.
    Failed,
}

/// The coarse states that people filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Phase {
    /// Created or initializing.
    Creating,
    /// Ready or running.
    Active,
    /// Paused.
    Paused,
    /// Terminated or failed.
    Stopped,
    /// Deleted, whatever it was before.
    Deleted,
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [State; 7] = [
        State::Created,
        State::Initializing,
        State::Ready,
        State::Running,
        State::Paused,
        State::Terminated,
        State::Failed,
    ];

    /// Its name, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Initializing => "initializing",
            State::Ready => "ready",
            State::Running => "running",
            State::Paused => "paused",
            State::Terminated => "terminated",
            State::Failed => "failed",
        }
    }

    /// Whether it is before the end.
    pub fn is_live(self) -> bool {
        match self {
            State::Created | State::Initializing | State::Ready | State::Running | State::Paused => true,
            State::Terminated | State::Failed => false,
        }
    }

    /// Its phase, where the session is not deleted.
    pub fn phase(self) -> Phase {
        match self {
            State::Created | State::Initializing => Phase::Creating,
            State::Ready | State::Running => Phase::Active,
            State::Paused => Phase::Paused,
            State::Terminated | State::Failed => Phase::Stopped,
        }
    }

    /// Where it can go from here.
    pub fn allowed(self) -> &'static [State] {
        use State::*;
        match self {
            Created => &[Initializing, Terminated, Failed],
            Initializing => &[Ready, Terminated, Failed],
            Ready => &[Running, Paused, Terminated, Failed],
            Running => &[Paused, Terminated, Failed],
            Paused => &[Ready, Running, Terminated, Failed],
            Terminated | Failed => &[],
        }
    }
}

impl Phase {
    /// Its name, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Creating => "CREATING",
            Phase::Active => "ACTIVE",
            Phase::Paused => "PAUSED",
            Phase::Stopped => "STOPPED",
            Phase::Deleted => "DELETED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no state and no phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "states are created, initializing, ready, running, paused, terminated, failed; phases CREATING, ACTIVE, PAUSED, STOPPED, DELETED"
)]
pub struct NotAState;

impl FromStr for State {
    type Err = NotAState;

    fn from_str(text: &str) -> Result<State, NotAState> {
        State::ALL.into_iter().find(|state| state.as_str() == text).ok_or(NotAState)
    }
}

impl FromStr for Phase {
    type Err = NotAState;

    fn from_str(text: &str) -> Result<Phase, NotAState> {
        [Phase::Creating, Phase::Active, Phase::Paused, Phase::Stopped, Phase::Deleted]
            .into_iter()
            .find(|phase| phase.as_str() == text)
            .ok_or(NotAState)
    }
}

/// There is no way from one state to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session that is {from} cannot become {to}")]
pub struct IllegalTransition {
    /// Where it is.
    pub from: State,
    /// Where it was to go.
    pub to: State,
}

impl IllegalTransition {
    /// Where it could go instead.
    pub fn allowed(&self) -> &'static [State] {
        self.from.allowed()
    }
}

/// Whether a session may go from one state to the other. The store says the same in the update itself, by compare and set.
pub fn transition(from: State, to: State) -> Result<(), IllegalTransition> {
    from.allowed().contains(&to).then_some(()).ok_or(IllegalTransition { from, to })
}
