//! What is done to the server, and when: the same for the same seed.

use crate::point::Point;
use crate::random::Random;
use crate::tear::Torn;
use std::fmt;
use std::time::Duration;

/// What may be done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Menu {
    /// At named points.
    pub points: bool,
    /// At a sync of the database, with what was to be synced torn.
    pub tear: bool,
    /// The keeper as well.
    pub keeper: bool,
    /// Agents as well.
    pub agents: bool,
    /// With syncs of the database that fail.
    pub fsync: bool,
    /// With a full disk.
    pub fill: bool,
    /// With a wall clock that jumped.
    pub clock: bool,
}

impl Menu {
    /// Everything.
    pub const ALL: Menu =
        Menu { points: true, tear: true, keeper: true, agents: true, fsync: true, fill: true, clock: true };
}

/// How the manager is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// After so long under load.
    Random(Duration),
    /// After so long from its start, ready or not.
    Starting(Duration),
    /// At a named point under load.
    Point(Point),
    /// When the database's log was written for the so manieth time and not synced: what was written is torn from so many thousandths of it on.
    Tear(u64, Torn, u64),
    /// After so long under load, with its keeper, so long before or after.
    WithKeeper(Duration, Duration),
    /// After so long under load, with so many agents.
    WithAgents(Duration, usize),
    /// So long after syncs of the database failed, from the so manieth on, so many times, with this error.
    Unsyncable(Duration, u64, u64, &'static str),
    /// So long after the disk had no more than so many bytes left; where there is room again before that, half as long after that.
    Full(Duration, u64, bool),
    /// So long after the wall clock went so many milliseconds away from the host's. It stays there.
    Jump(Duration, i64),
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

impl Kill {
    /// Its kind, for the report.
    pub fn kind(&self) -> String {
        match self {
            Kill::Random(_) => "random".to_owned(),
            Kill::Starting(_) => "while starting".to_owned(),
            Kill::Point(point) => point.name(),
            Kill::Tear(..) => "with a torn write".to_owned(),
            Kill::WithKeeper(..) => "with keeper".to_owned(),
            Kill::WithAgents(..) => "with agents".to_owned(),
            Kill::Unsyncable(.., error) => format!("after syncs failed with {error}"),
            Kill::Full(.., false) => "with a full disk".to_owned(),
            Kill::Full(.., true) => "after a full disk".to_owned(),
            Kill::Jump(..) => "after the wall clock jumped".to_owned(),
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kill::Random(after) => write!(f, "after {after:?} of load"),
            Kill::Starting(after) => write!(f, "{after:?} after its start"),
            Kill::Point(point) => write!(f, "at {point}"),
            Kill::Tear(nth, torn, from) => write!(f, "before sync {nth}, the write torn to {torn:?} from {from} ‰ on"),
            Kill::WithKeeper(after, apart) => write!(f, "after {after:?} of load, {apart:?} after its keeper"),
            Kill::WithAgents(after, agents) => write!(f, "after {after:?} of load and {agents} agents"),
            Kill::Unsyncable(after, first, count, error) => {
                write!(f, "{after:?} after {count} syncs failed with {error}, from sync {first} on")
            }
            Kill::Full(after, left, released) => {
                write!(
                    f,
                    "{after:?} after the disk had {left} bytes left{}",
                    if *released { ", with room again" } else { "" }
                )
            }
            Kill::Jump(after, ms) => write!(f, "{after:?} after the wall clock went {ms} ms away"),
        }
    }
}

/// An endless line of kills.
pub struct Schedule {
    random: Random,
    menu: Menu,
}

impl Schedule {
    /// From a seed.
    pub fn new(seed: u64, menu: Menu) -> Schedule {
        Schedule { random: Random::new(seed), menu }
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.random.below(most * 1000))
    }
}

impl Iterator for Schedule {
    type Item = Kill;

    fn next(&mut self) -> Option<Kill> {
        let chance = self.random.below(100);
        Some(match chance {
            0..12 => Kill::Starting(self.millis(200)),
            12..17 if self.menu.tear => {
                let torn = self.random.pick(&[Torn::Missing, Torn::Zeros, Torn::Garbage]);
                Kill::Tear(1 + self.random.below(5), torn, self.random.below(1000))
            }
            12..55 if self.menu.points => Kill::Point(Point::pick(&mut self.random)),
            55..68 if self.menu.keeper => {
                let after = self.millis(300);
                Kill::WithKeeper(after, self.millis(20))
            }
            68..78 if self.menu.agents => {
                let after = self.millis(300);
                Kill::WithAgents(after, 1 + self.random.below(2) as usize)
            }
            78..84 if self.menu.fsync => {
                let error = self.random.pick(&["EIO", "ENOSPC"]);
                Kill::Unsyncable(self.millis(200), 1 + self.random.below(20), 1 + self.random.below(6), error)
            }
            84..89 if self.menu.fill => {
                let left = self.random.pick(&[0, 16 << 10, 256 << 10]);
                Kill::Full(self.millis(600), left, self.random.percent(50))
            }
            89..94 if self.menu.clock => {
                let jumps = [-5000, 5000, -HOUR_MS, HOUR_MS, -400 * DAY_MS, 4000 * DAY_MS, DAY_MS, 0];
                Kill::Jump(self.millis(600), self.random.pick(&jumps))
            }
            _ => Kill::Random(self.millis(300)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        let menu = Menu::ALL;
        let first: Vec<Kill> = Schedule::new(7, menu).take(500).collect();
        for kind in
            ["with a torn write", "with keeper", "with agents", "with a full disk", "after the wall clock jumped"]
        {
            assert!(first.iter().any(|kill| kill.kind() == kind), "{kind}");
        }
        assert!(first.iter().any(|kill| matches!(kill, Kill::Unsyncable(..))));
        assert_eq!(first, Schedule::new(7, menu).take(500).collect::<Vec<_>>());
        assert_ne!(first, Schedule::new(8, menu).take(500).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_on_the_menu_is_not_served() {
        let all = Schedule::new(7, Menu::default()).take(500);
        assert!(all.into_iter().all(|kill| matches!(kill, Kill::Random(_) | Kill::Starting(_))));
    }
}
