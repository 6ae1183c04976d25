//! The line of time that everything is decided on: it moves with the host's clock that counts from boot, and no wall clock can move it (GV-6).
//!
//! ```text
//!  UTC on the line = anchor.at + (boot_ms now − anchor.boot_ms)
//! ```
//!
//! Within one boot the anchor is the same for every start, so that a wall clock that jumps, before or between starts, moves no deadline. After a reboot
//! the wall clock is asked once, and is not believed where it lies before the last sign of life.

use std::sync::atomic::{AtomicBool, Ordering};
use tenure_session::Timestamp;
use tenure_store::ClockAnchor;

/// How far the wall clock may be from the line before that is said aloud.
const JUMP_MS: u64 = 2000;

/// The host's clocks, as whoever owns the process reads them.
pub trait HostClock: Send + Sync {
    /// Names this boot.
    fn boot_id(&self) -> String;
    /// Milliseconds since this boot, suspend included. Never goes back.
    fn boot_ms(&self) -> u64;
    /// The wall clock, in milliseconds since 1970. May do anything.
    fn wall_ms(&self) -> i64;
}

/// The line of time of one service.
pub struct Timeline {
    clock: Box<dyn HostClock>,
    anchor: ClockAnchor,
    jumped: AtomicBool,
}

impl Timeline {
    /// Goes on with the stored anchor where it is of this boot, otherwise makes a new one. The anchor to store comes from [`Timeline::anchor`].
    pub fn new(clock: Box<dyn HostClock>, stored: Option<ClockAnchor>) -> Timeline {
        let (boot_id, boot_ms) = (clock.boot_id(), clock.boot_ms());
        let wall = Timestamp::from_ms(clock.wall_ms());
        let anchor = match stored {
            Some(stored) if stored.boot_id == boot_id && stored.boot_ms <= boot_ms => stored,
            other => {
                let at = other.map_or(wall, |stored| wall.max(stored.seen_at));
                ClockAnchor { boot_id, boot_ms, at, seen_at: at }
            }
        };
        Timeline { clock, anchor, jumped: AtomicBool::new(false) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let now = self.anchor.at.plus_ms(self.clock.boot_ms().saturating_sub(self.anchor.boot_ms));
        self.watch_wall(now);
        now
    }

    /// The anchor, as it is to be stored now.
    pub fn anchor(&self) -> ClockAnchor {
        ClockAnchor { seen_at: self.now(), ..self.anchor.clone() }
    }

    /// The host's own clock at an instant, for those who count on it: milliseconds since boot.
    pub fn boot_ms_at(&self, at: Timestamp) -> u64 {
        if at >= self.anchor.at {
            self.anchor.boot_ms.saturating_add(at.ms_since(self.anchor.at))
        } else {
            self.anchor.boot_ms.saturating_sub(self.anchor.at.ms_since(at))
        }
    }

    fn watch_wall(&self, now: Timestamp) {
        let wall = Timestamp::from_ms(self.clock.wall_ms());
        let apart = wall.ms_since(now).max(now.ms_since(wall));
        let jumped = apart > JUMP_MS;
        if self.jumped.swap(jumped, Ordering::Relaxed) != jumped {
            if jumped {
                tracing::warn!(%wall, line = %now, "the wall clock jumped; deadlines stay where they are");
            } else {
                tracing::info!("the wall clock is back");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU64};

    #[derive(Clone, Default)]
    struct Clocks {
        boot: &'static str,
        boot_ms: Arc<AtomicU64>,
        wall_ms: Arc<AtomicI64>,
    }

    impl HostClock for Clocks {
        fn boot_id(&self) -> String {
            self.boot.into()
        }
        fn boot_ms(&self) -> u64 {
            self.boot_ms.load(Ordering::Relaxed)
        }
        fn wall_ms(&self) -> i64 {
            self.wall_ms.load(Ordering::Relaxed)
        }
    }

    fn clocks(boot: &'static str, boot_ms: u64, wall_ms: i64) -> Clocks {
        Clocks { boot, boot_ms: Arc::new(boot_ms.into()), wall_ms: Arc::new(wall_ms.into()) }
    }

    /// GV-6
    #[test]
    fn a_wall_clock_that_jumps_moves_nothing_within_a_boot() {
        let clocks = clocks("a", 1000, 5_000_000);
        let line = Timeline::new(Box::new(clocks.clone()), None);
        assert_eq!(line.now(), Timestamp::from_ms(5_000_000));
        clocks.wall_ms.store(99_000_000, Ordering::Relaxed);
        clocks.boot_ms.store(1500, Ordering::Relaxed);
        assert_eq!(line.now(), Timestamp::from_ms(5_000_500));
        let next_start = Timeline::new(Box::new(clocks), Some(line.anchor()));
        assert_eq!(next_start.now(), Timestamp::from_ms(5_000_500));
        assert_eq!(next_start.boot_ms_at(Timestamp::from_ms(5_001_000)), 2000);
    }

    /// GV-6, GV-7
    #[test]
    fn after_a_reboot_time_does_not_begin_before_the_last_sign_of_life() {
        let stored = Timeline::new(Box::new(clocks("a", 1000, 5_000_000)), None).anchor();
        let line = Timeline::new(Box::new(clocks("b", 10, 1_000)), Some(stored));
        assert_eq!(line.now(), Timestamp::from_ms(5_000_000));
    }
}
