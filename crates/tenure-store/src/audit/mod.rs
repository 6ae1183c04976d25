//! The audit: what happened, in chains that show when an entry was changed, removed or inserted (TR-4, TR-5).
//!
//! ```text
//!  chain of session A:  1 ◄── 2 ◄── 3        each entry holds the hash of the one before it in its chain,
//!  chain of no session: 1 ◄── 2              and its own hash covers that and everything else in it
//!                       │     │
//!  line of everything:  1..2..3..4..5        each position's line hash covers the one before and the entry's hash
//!                                  ▲
//!  signed head:  {position, line_hash, at, signature}    also in a file outside the store
//! ```
//!
//! An entry's hash is SHA-256 over canonical JSON (RFC 8785) of `{at, action, actor, metadata_hash, new_state, old_state, prev_hash, reason, seq,
//! session_id, trigger}`. It covers the hash of the metadata, so that metadata can be erased and the chain still holds. The line hash of a position is
//! SHA-256 over the 32 bytes of the line hash before it and the 32 bytes of the entry's hash; before the first both are zeros.
//!
//! [`seal`] makes entries, for stores. [`sign_head`] makes heads, and [`Verifier`] reads it all again, beside the store or away from it ([`log`]).

mod head;
pub mod log;
mod problem;
mod seal;
mod seam;
#[cfg(test)]
mod tests;
mod verify;

pub use head::{head_message, head_signature_holds, sign_head};
pub use problem::{Problem, ProblemKind};
pub use seal::{METADATA_MAX, NotSealed, entry_hash, line_hash, metadata_hash, seal};
pub use verify::{Verification, Verifier, verify};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tenure_session::{SessionId, State, Timestamp, Trigger};

/// An entry before it is in its chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditDraft {
    /// About which session; about none where none is given.
    pub session_id: Option<SessionId>,
    /// When.
    pub at: Timestamp,
    /// The state before; the same as after, where it did not move.
    pub old_state: Option<State>,
    /// The state after.
    pub new_state: Option<State>,
    /// What set it off.
    pub trigger: Trigger,
    /// Who: `user:NAME`, `admin:NAME`, or `system`.
    pub actor: String,
    /// What: an operation's name, or `session_end`, `session_move`, `access_denied` and the like.
    pub action: String,
    /// Why, where there is a why.
    pub reason: Option<String>,
    /// Whatever else: an object of at most 16 KiB. Holds no secrets.
    pub metadata: Value,
}

/// An entry in its chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// Its place in the line of everything, from 1.
    pub position: u64,
    /// Its place in its chain, from 1.
    pub seq: u64,
    /// About which session.
    pub session_id: Option<SessionId>,
    /// When.
    pub at: Timestamp,
    /// The state before.
    pub old_state: Option<State>,
    /// The state after.
    pub new_state: Option<State>,
    /// What set it off.
    pub trigger: Trigger,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// Why.
    pub reason: Option<String>,
    /// Whatever else; `None` once it was erased.
    pub metadata: Option<Value>,
    /// SHA-256 of the canonical metadata, in hex.
    pub metadata_hash: String,
    /// SHA-256 of the entry, in hex.
    pub hash: String,
    /// The hash of the entry before it in its chain; 64 zeros for the first.
    pub prev_hash: String,
    /// The line hash at its position, in hex.
    pub line_hash: String,
}

/// The line's end at some instant, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// The position of the last entry it covers.
    pub position: u64,
    /// The line hash there.
    pub line_hash: String,
    /// When it was signed.
    pub at: Timestamp,
    /// Ed25519 over `tenure-audit-head\n{position}\n{line_hash}\n{at}\n`, in hex.
    pub signature: String,
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// About this session.
    pub session_id: Option<SessionId>,
    /// With this action.
    pub action: Option<String>,
    /// By this actor.
    pub actor: Option<String>,
}
