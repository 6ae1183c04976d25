//! A heartbeat that was heard.

use serde::Serialize;
use tenure_engine::LeaseHeartbeat;
use tenure_session::{SessionId, Timestamp};
use utoipa::ToSchema;

/// A heartbeat that was heard.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Heartbeat)]
pub struct HeartbeatBody<'a> {
    /// Of which session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// When its lease runs out now: within one interval of the last heartbeat the same as before.
    #[schema(value_type = String, format = DateTime)]
    lease_expires_at: Timestamp,
    /// Always.
    acknowledged: bool,
}

impl HeartbeatBody<'_> {
    /// As it is told.
    pub fn new(heard: &LeaseHeartbeat) -> HeartbeatBody<'_> {
        HeartbeatBody { session_id: &heard.session_id, lease_expires_at: heard.lease.expires_at, acknowledged: true }
    }
}
