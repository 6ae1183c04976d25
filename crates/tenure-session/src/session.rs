//! A session as it is remembered.

use crate::failure::Failure;
use crate::id::{EnvironmentId, SessionId, UserId};
use crate::lease::{Lease, LeaseToken};
use crate::limits::{EnforcedLimits, SessionLimits};
use crate::reason::TerminationReason;
use crate::state::{Phase, State};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that is remembered of a session. What it was at one instant: it does not change by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub owner: UserId,
    /// What it was made from, as `name@version`.
    pub template: String,
    /// Where it is in its life.
    pub state: State,
    /// Where resuming leads, while it is paused.
    pub resumes_to: Option<State>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// What it may do and use.
    pub limits: SessionLimits,
    /// Which of its limits the host holds it to; all unknown without an environment.
    pub enforced: EnforcedLimits,
    /// When it will have lived as long as it may.
    pub lifetime_ends_at: Timestamp,
    /// When it was last worked in, as far as that is stored: up to a tenth of its idle timeout may be missing.
    pub last_activity_at: Timestamp,
    /// What that was: an operation's name.
    pub last_activity: String,
    /// Who holds it and until when.
    pub lease: Option<Lease>,
    /// The highest token that was ever given for it, whatever became of that lease; 0 before the first.
    pub lease_token_last: LeaseToken,
    /// How it ended.
    pub end: Option<End>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// When it was archived: from then on nothing of it changes but that it is purged (TR-6).
    pub archived_at: Option<Timestamp>,
    /// When its content was purged, and the tombstone left.
    pub purged_at: Option<Timestamp>,
    /// Where it works. `None` where it was made without an environment.
    pub environment: Option<SessionEnvironment>,
    /// The caller's own words about it.
    pub metadata: BTreeMap<String, String>,
    /// Variables that its programs start with. May hold secrets: shown to nobody.
    pub variables: BTreeMap<String, String>,
}

/// How a session ended: written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When. For a limit that passed, the instant at which it passed, whoever noticed it when.
    pub at: Timestamp,
    /// For which reason.
    pub reason: TerminationReason,
    /// What the caller said about it.
    pub detail: Option<String>,
    /// What failed, where it ended in `failed`.
    pub failure: Option<Failure>,
}

/// The environment of a session, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnvironment {
    /// Which.
    pub id: EnvironmentId,
    /// Which life of it.
    pub generation: u64,
    /// What made it.
    pub driver: String,
    /// What is known of it.
    pub state: EnvironmentState,
}

/// What is known of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentState {
    /// The session has none.
    None,
    /// It is being made.
    Provisioning,
    /// It can be worked in.
    Ready,
    /// Its processes stand still.
    Frozen,
    /// It was there before a restart, and has not answered since.
    Recovering,
    /// It is proven dead, and the session did not end it.
    Lost,
    /// It was ended, and nothing is left of it.
    Gone,
}

impl EnvironmentState {
    /// Its name, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            EnvironmentState::None => "none",
            EnvironmentState::Provisioning => "provisioning",
            EnvironmentState::Ready => "ready",
            EnvironmentState::Frozen => "frozen",
            EnvironmentState::Recovering => "recovering",
            EnvironmentState::Lost => "lost",
            EnvironmentState::Gone => "gone",
        }
    }
}

impl Session {
    /// Its phase: DELETED whatever its state, once it was deleted (LC-2).
    pub fn phase(&self) -> Phase {
        if self.deleted_at.is_some() { Phase::Deleted } else { self.state.phase() }
    }

    /// The state that resuming leads to. Should it be unknown, `running`: a session that was worked in is never `ready` again (LC-8).
    pub fn resumed_state(&self) -> State {
        self.resumes_to.unwrap_or(State::Running)
    }

    /// What its environment is to its users.
    pub fn environment_state(&self) -> EnvironmentState {
        self.environment.as_ref().map_or(EnvironmentState::None, |environment| environment.state)
    }
}
