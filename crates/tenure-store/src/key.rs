//! API keys, by digest only (AU-1).

use serde::{Deserialize, Serialize};
use tenure_session::{KeyId, Role, Timestamp, UserId};

/// An API key as it is remembered. The secret is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its name.
    pub id: KeyId,
    /// SHA-256 of the secret, in hex. Secrets have 256 bits of their own, so nothing slower is needed.
    pub digest: String,
    /// What it lets its bearer do.
    pub role: Role,
    /// Who bears it.
    pub user: UserId,
    /// What its maker calls it.
    pub label: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is good for nothing.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}
