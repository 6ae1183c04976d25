//! A lease: who holds a session, and until when (LS-1, LS-7).

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Fences the holders of one session from each other: it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseToken(pub u64);

/// A lease as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The holder's token.
    pub token: LeaseToken,
    /// For how long a renewal holds.
    pub ttl_ms: u64,
    /// How often the holder is asked to renew.
    pub heartbeat_interval_ms: u64,
    /// When it runs out, if it is not renewed.
    pub expires_at: Timestamp,
    /// When it was last renewed; never where it was only taken.
    pub last_heartbeat_at: Option<Timestamp>,
}
