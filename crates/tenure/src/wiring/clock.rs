//! The host's clocks, for the engine.

use rustix::time::{ClockId, clock_gettime};
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
        u64::try_from(read_ms(ClockId::Boottime)).unwrap_or(0)
    }

    fn wall_ms(&self) -> i64 {
        read_ms(ClockId::Realtime)
    }
}

fn read_ms(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}
