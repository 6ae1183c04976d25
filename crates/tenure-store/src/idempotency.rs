//! The same request twice is answered the same (LC-6).

use tenure_session::{ExecId, SessionId, Timestamp, UserId};

/// The claim of a key for one request. Made in the transaction of what the request does, so that both are there or neither.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyClaim {
    /// Whose key: of the user, whichever credential they used.
    pub user: UserId,
    /// The key, at most 255 bytes.
    pub key: String,
    /// The operation's name.
    pub operation: String,
    /// SHA-256 over the canonical body, and over what else the request names, in hex.
    pub digest: String,
    /// The session that it makes or works in.
    pub session_id: SessionId,
    /// The exec that it starts.
    pub exec_id: Option<ExecId>,
    /// When.
    pub at: Timestamp,
}

/// A claimed key and the answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The claim.
    pub claim: IdempotencyClaim,
    /// The answer; `None` until it was given, or where a crash came before it.
    pub answer: Option<StoredAnswer>,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}
