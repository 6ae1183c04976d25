//! What a session's user sees of it: derived from what is stored, never guessed (ST-1).

use crate::session::Session;
use crate::state::State;
use crate::time::Timestamp;
use crate::verdict::{Presence, deadline};
use serde::{Deserialize, Serialize};

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisplayState {
    /// It was asked for.
    Creating,
    /// Its environment is being made.
    Initializing,
    /// It waits for work.
    Ready,
    /// It was worked in.
    Running,
    /// It stands still.
    Paused,
    /// It ended.
    Terminated,
    /// It ended by a failure.
    Error,
}

/// How far its creation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The step it is at, from 1.
    pub current_step: u32,
    /// How many there are.
    pub total_steps: u32,
    /// What that step does.
    pub step_description: String,
}

/// What a session's user sees of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What to show.
    pub display_state: DisplayState,
    /// The same in a sentence.
    pub message: String,
    /// How far its creation is.
    pub progress: Progress,
    /// Whether it can be worked in now.
    pub environment_ready: bool,
    /// Whole seconds until it ends as things stand, rounded down; 0 once it has ended.
    pub remaining_seconds: u64,
    /// Why it ended, where it ended by a failure.
    pub error_reason: Option<String>,
    /// Whether anything helps then.
    pub recoverable: bool,
}

/// What the session's user sees of it at `now`.
pub fn status(session: &Session, presence: &Presence, now: Timestamp) -> Status {
    let failure = session.end.as_ref().and_then(|end| end.failure.as_ref());
    let step = |current_step, description: &str| Progress {
        current_step,
        total_steps: 3,
        step_description: description.to_owned(),
    };
    let (display_state, message, progress) = match session.state {
        State::Created => (DisplayState::Creating, "The session was accepted.".to_owned(), step(1, "accepted")),
        State::Initializing => {
            (DisplayState::Initializing, "The environment is being made.".to_owned(), step(2, "making the environment"))
        }
        State::Ready => (DisplayState::Ready, "The session is ready.".to_owned(), step(3, "ready")),
        State::Running => (DisplayState::Running, "The session is in use.".to_owned(), step(3, "ready")),
        State::Paused => (DisplayState::Paused, "The session is paused.".to_owned(), step(3, "ready")),
        State::Terminated => (DisplayState::Terminated, ended_message(session), step(3, "ended")),
        State::Failed => {
            let message = failure.map_or_else(|| ended_message(session), |failure| failure.user_message.clone());
            (DisplayState::Error, message, step(3, "ended"))
        }
    };
    Status {
        display_state,
        message,
        progress,
        environment_ready: environment_ready(session),
        remaining_seconds: deadline(session, presence).map_or(0, |at| at.ms_since(now) / 1000),
        error_reason: failure.map(|failure| failure.message.clone()),
        recoverable: failure.is_some_and(|failure| failure.recoverable),
    }
}

fn environment_ready(session: &Session) -> bool {
    use crate::session::EnvironmentState as E;
    let there = match session.environment_state() {
        E::Ready => true,
        E::None | E::Provisioning | E::Frozen | E::Recovering | E::Lost | E::Gone => false,
    };
    there && matches!(session.state, State::Ready | State::Running)
}

fn ended_message(session: &Session) -> String {
    match &session.end {
        Some(end) => format!("The session ended: {}.", end.reason),
        None => "The session ended.".to_owned(),
    }
}
