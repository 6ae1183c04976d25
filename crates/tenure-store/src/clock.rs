//! The anchor of the line of time: which instant of the host's own clock stands for which instant in UTC (GV-6, GV-7).

use tenure_session::Timestamp;

/// Ties the host's clock that counts from boot to UTC, and says when the service last lived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockAnchor {
    /// The boot it holds for, as the kernel names it.
    pub boot_id: String,
    /// Milliseconds since that boot, suspend included, at the anchor.
    pub boot_ms: u64,
    /// The same instant in UTC.
    pub at: Timestamp,
    /// The last sign of life of a service on this store.
    pub seen_at: Timestamp,
}
