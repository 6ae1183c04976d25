//! Whether a session is to be cleaned up: what a sweep would do with it, without doing it (CL-1).

use crate::explain::explain;
use crate::presence::Presence;
use crate::reason::TerminationReason;
use crate::session::{EnvironmentState, Session};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a sweep would find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupCheck {
    /// Whether something is left to do: its end is not recorded yet, or its environment is not known to be gone.
    pub should_cleanup: bool,
    /// Why it ended, recorded or not; nothing while it lives.
    pub reason: Option<TerminationReason>,
    /// Whole seconds until it ends as things stand, rounded down; 0 once it has ended.
    pub ttl_remaining_seconds: u64,
}

/// What a sweep at `now` would find of the session. What has ended is the explanation's, and so the verdict's, to say.
pub fn cleanup_check(session: &Session, presence: &Presence, now: Timestamp) -> CleanupCheck {
    let explanation = explain(session, presence, now);
    let unrecorded = !explanation.alive && session.end.is_none();
    let left = !explanation.alive && environment_is_left(session.environment_state());
    CleanupCheck {
        should_cleanup: unrecorded || left,
        reason: explanation.ended.map(|ended| ended.reason),
        ttl_remaining_seconds: explanation.ends_first.map_or(0, |first| first.at.ms_since(now) / 1000),
    }
}

/// Whether there may be something left of an environment.
fn environment_is_left(state: EnvironmentState) -> bool {
    match state {
        EnvironmentState::None | EnvironmentState::Gone => false,
        EnvironmentState::Provisioning
        | EnvironmentState::Ready
        | EnvironmentState::Frozen
        | EnvironmentState::Recovering
        | EnvironmentState::Lost => true,
    }
}
