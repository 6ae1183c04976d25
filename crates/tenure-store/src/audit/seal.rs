//! How a draft becomes an entry of its chain and of the line of everything: what is hashed, and how.

use super::{AuditDraft, AuditEntry};
use serde::Serialize;
use serde_json::Value;
use tenure_digest::{NotCanonical, Sha256Digest, digest, digest_bytes};
use tenure_session::{SessionId, State, Timestamp, Trigger};

/// Most bytes of an entry's metadata in canonical form.
pub const METADATA_MAX: usize = 16 << 10;

/// Why a draft can be in no chain.
#[derive(Debug, thiserror::Error)]
pub enum NotSealed {
    /// Its metadata is no object.
    #[error("the metadata of an audit entry is an object")]
    NotAnObject,
    /// Its metadata is too long.
    #[error("the metadata of an audit entry has {0} bytes, allowed are {METADATA_MAX}")]
    TooLong(usize),
    /// It has no canonical form.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
}

/// What an entry's hash covers. The order of the fields does not matter: canonical JSON sorts them.
#[derive(Serialize)]
struct Covered<'a> {
    at: Timestamp,
    action: &'a str,
    actor: &'a str,
    metadata_hash: &'a str,
    new_state: Option<State>,
    old_state: Option<State>,
    prev_hash: &'a str,
    reason: Option<&'a str>,
    seq: u64,
    session_id: Option<&'a SessionId>,
    trigger: Trigger,
}

/// Puts a draft into its chain at `seq`, after the entry with `prev_hash`, and into the line at `position`, after `prev_line_hash`. Both hashes are
/// zeros (the default digest) before the first. The store calls it inside the transaction that read them.
pub fn seal(
    draft: AuditDraft,
    seq: u64,
    position: u64,
    prev_hash: Sha256Digest,
    prev_line_hash: Sha256Digest,
) -> Result<AuditEntry, NotSealed> {
    check_metadata(&draft.metadata)?;
    let mut entry = AuditEntry {
        position,
        seq,
        session_id: draft.session_id,
        at: draft.at,
        old_state: draft.old_state,
        new_state: draft.new_state,
        trigger: draft.trigger,
        actor: draft.actor,
        action: draft.action,
        reason: draft.reason,
        metadata_hash: metadata_hash(&draft.metadata)?.to_string(),
        metadata: Some(draft.metadata),
        hash: String::new(),
        prev_hash: prev_hash.to_string(),
        line_hash: String::new(),
    };
    let hash = entry_hash(&entry)?;
    entry.hash = hash.to_string();
    entry.line_hash = line_hash(prev_line_hash, hash).to_string();
    Ok(entry)
}

fn check_metadata(metadata: &Value) -> Result<(), NotSealed> {
    if !metadata.is_object() {
        return Err(NotSealed::NotAnObject);
    }
    let bytes = tenure_digest::canonical(metadata)?.len();
    if bytes > METADATA_MAX { Err(NotSealed::TooLong(bytes)) } else { Ok(()) }
}

/// The digest of an entry's metadata.
pub fn metadata_hash(metadata: &Value) -> Result<Sha256Digest, NotCanonical> {
    digest(metadata)
}

/// The hash that an entry with these contents bears.
pub fn entry_hash(entry: &AuditEntry) -> Result<Sha256Digest, NotCanonical> {
    digest(&Covered {
        at: entry.at,
        action: &entry.action,
        actor: &entry.actor,
        metadata_hash: &entry.metadata_hash,
        new_state: entry.new_state,
        old_state: entry.old_state,
        prev_hash: &entry.prev_hash,
        reason: entry.reason.as_deref(),
        seq: entry.seq,
        session_id: entry.session_id.as_ref(),
        trigger: entry.trigger,
    })
}

/// The line hash of a position: over the one before it and the hash of the entry at it.
pub fn line_hash(before: Sha256Digest, entry: Sha256Digest) -> Sha256Digest {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&before.0);
    bytes[32..].copy_from_slice(&entry.0);
    digest_bytes(&bytes)
}
