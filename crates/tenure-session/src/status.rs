//! What a session's user sees of it: derived from what is stored, never guessed (ST-1).

use crate::presence::Presence;
use crate::session::{End, Session};
use crate::state::State;
use crate::time::Timestamp;
use crate::verdict::{Limit, Verdict, deadline, verdict};
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

/// What the session's user sees of it at `now`. A limit that has passed is an end, also before that is recorded.
pub fn status(session: &Session, presence: &Presence, now: Timestamp) -> Status {
    match verdict(session, presence, now) {
        Verdict::Proceed => alive(session, presence, now),
        Verdict::End(limit, _) => ended_by(limit),
        Verdict::Gone(end) => ended(end),
    }
}

fn alive(session: &Session, presence: &Presence, now: Timestamp) -> Status {
    let (display_state, message, current_step, description) = match session.state {
        State::Created => (DisplayState::Creating, "The session was accepted.", 1, "accepted"),
        State::Initializing => {
            (DisplayState::Initializing, "The environment is being made.", 2, "making the environment")
        }
        State::Ready => (DisplayState::Ready, "The session is ready.", 3, "ready"),
        State::Running => (DisplayState::Running, "The session is in use.", 3, "ready"),
        State::Paused => (DisplayState::Paused, "The session is paused.", 3, "ready"),
        State::Terminated => (DisplayState::Terminated, "The session ended.", 3, "ended"),
        State::Failed => (DisplayState::Error, "The session ended by a failure.", 3, "ended"),
    };
    Status {
        display_state,
        message: message.to_owned(),
        progress: progress(current_step, description),
        environment_ready: environment_ready(session),
        remaining_seconds: deadline(session, presence).map_or(0, |at| at.ms_since(now) / 1000),
        error_reason: None,
        recoverable: false,
    }
}

fn ended_by(limit: Limit) -> Status {
    Status {
        display_state: DisplayState::Terminated,
        message: format!("The session ended: {}.", limit.reason()),
        progress: progress(3, "ended"),
        environment_ready: false,
        remaining_seconds: 0,
        error_reason: None,
        recoverable: false,
    }
}

fn ended(end: &End) -> Status {
    let failed = end.reason.ends_in() == State::Failed;
    let failure = end.failure.as_ref();
    let plain = || format!("The session ended: {}.", end.reason);
    Status {
        display_state: if failed { DisplayState::Error } else { DisplayState::Terminated },
        message: failure.map_or_else(plain, |failure| failure.user_message.clone()),
        progress: progress(3, "ended"),
        environment_ready: false,
        remaining_seconds: 0,
        error_reason: failed.then(|| failure.map_or_else(|| end.reason.to_string(), |failure| failure.message.clone())),
        recoverable: failure.is_some_and(|failure| failure.recoverable),
    }
}

fn progress(current_step: u32, description: &str) -> Progress {
    Progress { current_step, total_steps: 3, step_description: description.to_owned() }
}

fn environment_ready(session: &Session) -> bool {
    use crate::session::EnvironmentState as E;
    let there = match session.environment_state() {
        E::Ready => true,
        E::None | E::Provisioning | E::Frozen | E::Recovering | E::Lost | E::Gone => false,
    };
    there && matches!(session.state, State::Ready | State::Running)
}
