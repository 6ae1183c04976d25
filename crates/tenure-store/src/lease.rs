//! The changes of a session's lease, each with what must hold when it is made (LS-4, LS-7), and what a start moves (GV-7).

use crate::audit::AuditDraft;
use serde_json::json;
use tenure_session::{DowntimeShift, Lease, LeaseTerms, LeaseToken, Session, SessionId, Timestamp};

/// Taking the lease of a session: done only while the session lives and its lease has not run out by then, and over a holder only by takeover. The token
/// is the next after the highest that the session ever gave.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseTaking {
    /// Which session.
    pub id: SessionId,
    /// For how long it holds, and how often it is to be renewed.
    pub terms: LeaseTerms,
    /// Whether it is taken from whoever holds it.
    pub takeover: bool,
    /// When.
    pub at: Timestamp,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// Renewing a lease: done only while the session lives, its lease has this token, has not run out by then, and was not renewed within its interval. The
/// expiry never moves back, and never past the end of the session's lifetime. No entry is written about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseBeat {
    /// Which session.
    pub id: SessionId,
    /// The holder's token.
    pub token: LeaseToken,
    /// When.
    pub at: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseRenewed {
    /// The lease is this from now on.
    Renewed(Lease),
    /// What had to hold did not, and nothing was changed. The session is as it is; the law says what was not so.
    Refused(Box<Session>),
    /// There is no such session.
    Missing,
}

/// Giving a lease up: done only while the session lives, and its lease has this token and has not run out by then.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseGivingUp {
    /// Which session.
    pub id: SessionId,
    /// The holder's token.
    pub token: LeaseToken,
    /// When.
    pub at: Timestamp,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// Moving what ran out while the service was down: all in one change.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionsShift {
    /// The last sign of life before.
    pub from: Timestamp,
    /// The start.
    pub until: Timestamp,
    /// The entry about all of it, and the pattern of the entry about each session. Not written where nothing was moved.
    pub entry: AuditDraft,
}

impl SessionsShift {
    /// The entry about one session that was moved.
    pub fn entry_of(&self, session: &Session, shift: &DowntimeShift) -> AuditDraft {
        let was = session.lease.map(|lease| lease.expires_at);
        let mut metadata = json!({ "down_from": self.from, "down_until": self.until });
        if let Some(expires_at) = shift.lease_expires_at {
            metadata["lease_expires_at"] = json!({ "was": was, "is": expires_at });
        }
        if let Some(last_activity_at) = shift.last_activity_at {
            metadata["last_activity_at"] = json!({ "was": session.last_activity_at, "is": last_activity_at });
        }
        let state = Some(session.state);
        let session_id = Some(session.id.clone());
        AuditDraft { session_id, old_state: state, new_state: state, metadata, ..self.entry.clone() }
    }

    /// The entry about all of them.
    pub fn entry_of_all(&self, moved: u64) -> AuditDraft {
        let metadata = json!({ "down_from": self.from, "down_until": self.until, "sessions": moved });
        AuditDraft { metadata, ..self.entry.clone() }
    }
}
