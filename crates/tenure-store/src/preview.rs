//! Ports of a session that can be reached from outside (EN-6).

use serde::{Deserialize, Serialize};
use tenure_session::{SessionId, Timestamp};

/// One registered port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewRecord {
    /// Of which session.
    pub session_id: SessionId,
    /// The port: 1024 to 65535.
    pub port: u16,
    /// Since when.
    pub created_at: Timestamp,
}
