//! What goes on in a session beyond what is stored of it, and how far what is stored may lag behind (GV-3).

use crate::limits::SessionLimits;
use crate::session::Session;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How far stored activity may lag behind where no idle timeout says.
const LAG_WITHOUT_IDLE_MS: u64 = 60_000;

/// Whether an exec, a terminal or a preview request is in progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// None is.
    #[default]
    None,
    /// One or more are.
    InProgress,
    /// Its environment was not asked since the service started, or has not answered.
    Unknown,
}

/// What is going on in a session beyond what is stored of it. Can be lost: what is stored is never later than it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    /// Whether work is in progress.
    pub work: Work,
    /// When it was last worked in, where that is later than what is stored.
    pub last_activity_at: Option<Timestamp>,
}

impl Presence {
    /// The same after activity at this instant: a data operation that was admitted, or the end of the last work in progress. Never moves back.
    #[must_use]
    pub fn active_at(self, at: Timestamp) -> Presence {
        Presence { last_activity_at: self.last_activity_at.max(Some(at)), ..self }
    }

    /// What is taken for granted of a session whose presence was lost by `now`, in a crash: that it was active as late as may not have been stored.
    pub fn after_crash(session: &Session, now: Timestamp) -> Presence {
        let unstored = session.last_activity_at.plus_ms(activity_lag_ms(&session.limits));
        Presence { work: Work::None, last_activity_at: Some(unstored.min(now)) }
    }

    /// When the session was last worked in, as far as is known.
    pub fn last_activity_at(&self, session: &Session) -> Timestamp {
        self.last_activity_at.map_or(session.last_activity_at, |at| at.max(session.last_activity_at))
    }

    /// Whether activity now is far enough from what is stored to be stored.
    pub fn is_to_be_stored(&self, session: &Session) -> bool {
        self.last_activity_at(session).ms_since(session.last_activity_at) >= activity_lag_ms(&session.limits).max(1)
    }
}

/// How far stored activity may lag behind: a tenth of the idle timeout.
pub fn activity_lag_ms(limits: &SessionLimits) -> u64 {
    limits.idle_timeout_ms.map_or(LAG_WITHOUT_IDLE_MS, |timeout_ms| timeout_ms / 10)
}
