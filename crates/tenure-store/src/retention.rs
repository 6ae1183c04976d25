//! What becomes of ended sessions: archived, one way, and later purged down to a tombstone (TR-6).
//!
//! ```text
//!  ended ──── 30 days ────► archived ─────────► purged
//!  deleted ── its window ─►     │                  │
//!                               │                  └ content, answers and the audit's metadata go; reason, times and digests stay
//!                               └ ledger, document, ports and words leave their tables for one compressed archive
//! ```
//!
//! An archive's bytes:
//!
//! ```text
//!  ┌────────────┬─────────────────────────────────────────────────────────────────┐
//!  │ version: 1 │ Zstandard frame, with its checksum, of [`ArchiveContent`] as    │
//!  │ one byte   │ JSON; at most [`CONTENT_MAX`] bytes of it                       │
//!  └────────────┴─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Its digest is SHA-256 of that JSON, so that it does not depend on how it was compressed.

use crate::audit::AuditDraft;
use crate::exec::ExecRecord;
use crate::preview::PreviewRecord;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use tenure_digest::{Sha256Digest, digest_bytes};
use tenure_session::{SessionId, Timestamp};

/// Most bytes of an archive before they are compressed.
pub const CONTENT_MAX: usize = 256 << 20;

/// The version that is written.
const VERSION: u8 = 1;

/// How hard is compressed: little is won by more.
const LEVEL: i32 = 3;

/// What waits for its time to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetentionQueue {
    /// Sessions that ended, are neither deleted nor archived, and have nothing left to take down; by the instant of their end.
    Ended,
    /// The same of those that were deleted; by the instant of their deletion.
    Deleted,
    /// Archived ones that are not purged; by the instant of their end.
    Archived,
}

/// Which sessions of a queue are due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionDue {
    /// Of this queue.
    pub queue: RetentionQueue,
    /// Those whose instant is this or earlier.
    pub by: Timestamp,
    /// After this one, which is where the look before ended: its instant in the queue, and its ID.
    pub after: Option<(Timestamp, SessionId)>,
    /// At most so many.
    pub limit: u32,
}

/// What goes from the tables into an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchiveContent {
    /// The words of its caller about the session.
    pub metadata: BTreeMap<String, String>,
    /// Its state document.
    pub document: Option<Value>,
    /// Its ports, lowest first.
    pub previews: Vec<PreviewRecord>,
    /// Its ledger, oldest first.
    pub execs: Vec<ExecRecord>,
}

/// A content, compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedContent {
    /// The archive's bytes.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub digest: ContentDigest,
    /// How many execs it holds.
    pub execs: u64,
}

/// What was compressed, whatever became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest {
    /// SHA-256 of it.
    pub sha256: Sha256Digest,
    /// How long it was.
    pub bytes: u64,
}

/// A session's archive, or the tombstone that is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRecord {
    /// Of which session.
    pub session_id: SessionId,
    /// Since when.
    pub archived_at: Timestamp,
    /// When its content was purged.
    pub purged_at: Option<Timestamp>,
    /// How many execs it holds, or held.
    pub execs: u64,
    /// What it holds, or held.
    pub content: ContentDigest,
    /// What its programs printed; `None` where nothing was kept of that.
    pub output: Option<ContentDigest>,
}

/// A session goes into its archive: done only if it has ended, is not archived, was deleted when it is said to have been, has nothing left to take down, and
/// has exactly the execs that were packed, all of them settled.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionArchive {
    /// Which.
    pub id: SessionId,
    /// When.
    pub at: Timestamp,
    /// When it was deleted, as it was read; a deletion or its opposite meanwhile saves the session.
    pub deleted_at: Option<Timestamp>,
    /// What [`crate::Store::retention_content`] said, packed.
    pub content: PackedContent,
    /// What its programs printed, where that is kept elsewhere.
    pub output: Option<ContentDigest>,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// An archived session's content goes: done once.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionPurge {
    /// Which.
    pub id: SessionId,
    /// When.
    pub at: Timestamp,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// Why a content is not packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum NotPacked {
    /// There is too much of it.
    #[error("the content of an archive has {0} bytes, allowed are {CONTENT_MAX}")]
    TooLong(usize),
    /// It was written by a newer program.
    #[error("the archive has version {0}, and this program knows {VERSION}")]
    Version(u8),
    /// It is not what was packed.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// It could not be written down.
    #[error("the content of an archive cannot be written: {0}")]
    NotWritten(String),
}

impl ArchiveContent {
    /// As it is kept.
    pub fn pack(&self) -> Result<PackedContent, NotPacked> {
        let not_written = |error: &dyn std::fmt::Display| NotPacked::NotWritten(error.to_string());
        // Not canonical JSON, which knows no whole numbers beyond 2^53: a document may hold them.
        let json = serde_json::to_vec(self).map_err(|error| not_written(&error))?;
        if json.len() > CONTENT_MAX {
            return Err(NotPacked::TooLong(json.len()));
        }
        let digest = ContentDigest { sha256: digest_bytes(&json), bytes: json.len() as u64 };
        let mut bytes = vec![VERSION];
        bytes.extend(compressed(&json).map_err(|error| not_written(&error))?);
        Ok(PackedContent { bytes, digest, execs: self.execs.len() as u64 })
    }

    /// Back from [`ArchiveContent::pack`]; whatever is not what was packed is refused.
    pub fn unpack(bytes: &[u8], digest: ContentDigest) -> Result<ArchiveContent, NotPacked> {
        let damaged = |why: String| NotPacked::Damaged(why);
        let frame = match bytes.split_first() {
            Some((&VERSION, frame)) => frame,
            Some((&other, _)) => return Err(NotPacked::Version(other)),
            None => return Err(damaged("it is empty".to_owned())),
        };
        let decoder = zstd::Decoder::new(frame).map_err(|error| damaged(error.to_string()))?;
        let mut json = Vec::new();
        decoder.take(CONTENT_MAX as u64 + 1).read_to_end(&mut json).map_err(|error| damaged(error.to_string()))?;
        if json.len() > CONTENT_MAX {
            return Err(NotPacked::TooLong(json.len()));
        }
        if digest_bytes(&json) != digest.sha256 {
            return Err(damaged("its digest is another".to_owned()));
        }
        serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))
    }
}

fn compressed(json: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    std::io::Write::write_all(&mut encoder, json)?;
    encoder.finish()
}

#[cfg(test)]
mod tests;
