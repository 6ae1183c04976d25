//! What can be wrong with the audit, and where.

use serde::Serialize;
use std::fmt;
use tenure_session::SessionId;

/// What is wrong at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The entry is not the one that was written there.
    Changed,
    /// The entry's metadata is neither what was written nor erased.
    MetadataChanged,
    /// An entry is missing there.
    Removed,
    /// The entry was not written there.
    Inserted,
    /// The entry that belongs there stands elsewhere.
    OutOfOrder,
    /// The entry does not follow from the one before it: one was removed between them, or one of the two was put in or rewritten together with its
    /// hashes, and no later entry tells which.
    Unlinked,
    /// A signed head says that there was more: this is the first that is missing.
    MissingTail,
    /// A signed head says that the line was another up to there: something between the head before it and this position was changed, and all hashes
    /// after it were made anew.
    OtherLine,
    /// A head that names this position was not signed with the key.
    BadSignature,
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProblemKind::Changed => "the entry was changed",
            ProblemKind::MetadataChanged => "the entry's metadata was changed",
            ProblemKind::Removed => "an entry was removed",
            ProblemKind::Inserted => "an entry was inserted",
            ProblemKind::OutOfOrder => "the entry is out of order",
            ProblemKind::Unlinked => "the entry does not follow from the one before it",
            ProblemKind::MissingTail => "entries are missing from here on",
            ProblemKind::OtherLine => "the log is not the one that was signed up to here",
            ProblemKind::BadSignature => "a head that names it is not signed with the key",
        })
    }
}

/// The first place where the audit is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where, in the line of everything, counted as it was read.
    pub position: u64,
    /// What is wrong there.
    pub kind: ProblemKind,
    /// In the chain of which session, where the place is that of an entry of one.
    pub session_id: Option<SessionId>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}: {}", self.position, self.kind)
    }
}
