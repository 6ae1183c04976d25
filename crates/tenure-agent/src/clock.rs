//! The awake clock: time as the programs inside live it. While the environment is frozen it stands still.
//!
//! Nothing tells a process that it was frozen; it only sees that it was away for long. So the clock is read at least every [`TICK`] while
//! somebody waits on it, and no single step counts for more than [`STEP_MAX`].

use std::time::{Duration, Instant};

/// How often the clock is read while a time limit is pending.
pub const TICK: Duration = Duration::from_millis(500);
/// Most that one step counts: a busy host may be this late, a frozen environment loses no more.
const STEP_MAX: Duration = Duration::from_secs(2);

/// The awake clock.
#[derive(Debug)]
pub struct AwakeClock {
    awake: Duration,
    read_at: Instant,
}

impl AwakeClock {
    pub fn new(now: Instant) -> Self {
        AwakeClock { awake: Duration::ZERO, read_at: now }
    }

    /// Steps to `now` and says how long it has been awake.
    pub fn advance(&mut self, now: Instant) -> Duration {
        self.awake += now.saturating_duration_since(self.read_at).min(STEP_MAX);
        self.read_at = self.read_at.max(now);
        self.awake
    }

    /// Starts again from `now` without counting what went by: nobody was waiting.
    pub fn skip_to(&mut self, now: Instant) -> Duration {
        self.read_at = self.read_at.max(now);
        self.awake
    }

    /// How long it has been awake, as of the last step.
    pub fn awake(&self) -> Duration {
        self.awake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-3
    #[test]
    fn a_freeze_costs_at_most_one_step_of_a_time_limit() {
        let start = Instant::now();
        let mut clock = AwakeClock::new(start);
        let mut now = start;
        for _ in 0..20 {
            now += TICK;
            clock.advance(now);
        }
        assert_eq!(clock.awake(), Duration::from_secs(10));
        now += Duration::from_secs(3600);
        assert_eq!(clock.advance(now), Duration::from_secs(12));
        now += TICK;
        assert_eq!(clock.advance(now), Duration::from_millis(12_500));
    }

    /// EN-3
    #[test]
    fn the_clock_never_goes_back() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut clock = AwakeClock::new(start);
        assert_eq!(clock.advance(start - Duration::from_secs(5)), Duration::ZERO);
        assert_eq!(clock.advance(start + Duration::from_secs(1)), Duration::from_secs(1));
    }

    /// EN-3
    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        let start = Instant::now();
        let mut clock = AwakeClock::new(start);
        clock.skip_to(start + Duration::from_secs(1));
        assert_eq!(clock.advance(start + Duration::from_secs(2)), Duration::from_secs(1));
    }
}
