//! The host's clocks, for the engine.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tenure_engine::HostClock;

/// Reads the kernel's clocks.
pub struct KernelClock {
    boot_id: String,
}

impl KernelClock {
    /// Names this boot once; it cannot change while we live.
    pub fn new() -> std::io::Result<KernelClock> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(KernelClock { boot_id })
    }
}

impl HostClock for KernelClock {
    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }

    fn boot_ms(&self) -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or(0)
    }

    fn wall_ms(&self) -> i64 {
        let ms = |apart: Duration| i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
        SystemTime::now().duration_since(UNIX_EPOCH).map_or_else(|before| -ms(before.duration()), ms)
    }
}
