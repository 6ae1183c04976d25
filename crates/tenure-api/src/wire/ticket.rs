//! Tickets, for what cannot carry a header.

use crate::wire::words::TicketUse;
use serde::{Deserialize, Serialize};
use tenure_session::Timestamp;
use utoipa::ToSchema;

/// What a ticket is wanted for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// For which session.
    #[schema(pattern = "^exec_[0-9]{8}_[0-9]{6}_[0-9a-f]{8}$")]
    pub session_id: String,
    /// For what.
    #[serde(rename = "use")]
    pub purpose: TicketUse,
    /// For which port, where it is for a preview.
    #[serde(default)]
    #[schema(minimum = 1024, maximum = 65535)]
    pub port: Option<u16>,
    /// The lease's token, where it is for a terminal of a session with a lease.
    #[serde(default)]
    pub lease_token: Option<u64>,
}

/// A ticket: good once, for 30 seconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ticket {
    /// The ticket, for the parameter `ticket`.
    pub ticket: String,
    /// Until when it can be used.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
