//! API keys, without what is secret about them but once.

use crate::wire::words;
use serde::{Deserialize, Serialize};
use tenure_engine::KeyRecord;
use tenure_session::{KeyId, Role, Timestamp, UserId};
use utoipa::ToSchema;

/// What a new key is to be.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What it lets its bearer do.
    pub role: words::Role,
    /// Who bears it.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9._@:+/=|-]*$")]
    pub user: String,
    /// What its maker calls it.
    #[serde(default)]
    #[schema(max_length = 256)]
    pub label: Option<String>,
    /// For how long it is good; until it is revoked where nothing is given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 316224000000u64)]
    pub expires_in_ms: Option<u64>,
}

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyBody<'a> {
    /// Its name, which is no secret.
    #[schema(value_type = String, pattern = "^key_[0-9a-f]{16}$")]
    id: &'a KeyId,
    /// What it lets its bearer do.
    #[schema(value_type = words::Role)]
    role: Role,
    /// Who bears it.
    #[schema(value_type = String)]
    user: &'a UserId,
    /// What its maker calls it.
    label: Option<&'a str>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// From when on it is good for nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// Its secret: told once, when it was just made, and kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

impl<'a> KeyBody<'a> {
    /// A key; with its secret, where it was just made.
    pub fn new(key: &'a KeyRecord, secret: Option<&'a str>) -> KeyBody<'a> {
        KeyBody {
            id: &key.id,
            role: key.role,
            user: &key.user,
            label: key.label.as_deref(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            secret,
        }
    }
}
