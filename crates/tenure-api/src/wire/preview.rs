//! Previews: the ports of a session that can be reached from outside.

use serde::{Deserialize, Serialize};
use tenure_session::{SessionId, Timestamp};
use utoipa::ToSchema;

/// A port that is to be reachable.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// The port inside.
    #[schema(minimum = 1024, maximum = 65535)]
    pub port: u64,
}

/// A port that can be reached.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Preview)]
pub struct PreviewBody<'a> {
    /// Of which session.
    #[schema(value_type = String)]
    pub session_id: &'a SessionId,
    /// The port inside.
    pub port: u16,
    /// Always true.
    pub registered: bool,
    /// Where it is reached: from the root of this service, or at a host name of its own.
    pub url: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Whether something answers at a port.
#[derive(Debug, Serialize, ToSchema)]
pub struct PreviewHealthBody {
    /// Whether it does.
    pub healthy: bool,
    /// The port inside.
    pub port: u16,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// Why it is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
