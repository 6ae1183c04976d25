//! Named points: the calls that manager and keeper make, before or after the nth of which the manager is killed.

use crate::random::Random;
use std::fmt;

/// Who is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// The server.
    Manager,
    /// Its keeper, and what the keeper forks.
    Keeper,
}

/// On which side of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It is not made any more.
    Before,
    /// It was made, and nobody knows it yet.
    After,
}

/// A point at which the manager is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Who is held.
    pub held: Held,
    /// At which call.
    pub call: &'static str,
    /// Before or after it.
    pub side: Side,
    /// At the how manieth.
    pub nth: u64,
}

/// What a manager does that it could be killed at: writes of the database, and messages to keeper and agents. With how many of them are counted at most.
const MANAGER: &[(&str, u64)] = &[
    ("pwrite64", 150),
    ("fsync", 20),
    ("sendmsg", 12),
    ("recvmsg", 12),
    ("sendto", 20),
    ("connect", 8),
    ("openat", 12),
    ("write", 20),
];
/// What a keeper and its children do while the manager could be killed: environments being made and taken down.
const KEEPER: &[(&str, u64)] = &[
    ("clone3", 3),
    ("unshare", 2),
    ("mount", 12),
    ("move_mount", 4),
    ("fsmount", 3),
    ("pivot_root", 1),
    ("umount2", 4),
    ("mkdir", 8),
    ("write", 10),
    ("ioctl", 6),
    ("rmdir", 4),
    ("sendmsg", 8),
    ("recvmsg", 8),
    ("rename", 3),
];

impl Point {
    /// One of them all.
    pub fn pick(random: &mut Random) -> Point {
        let (held, (call, most)) = match random.below(3) {
            0 => (Held::Keeper, random.pick(KEEPER)),
            _ => (Held::Manager, random.pick(MANAGER)),
        };
        Point { held, call, side: random.pick(&[Side::Before, Side::After]), nth: 1 + random.below(most) }
    }

    /// Its name, without the number.
    pub fn name(&self) -> String {
        let held = match self.held {
            Held::Manager => "manager",
            Held::Keeper => "keeper",
        };
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        format!("{held} {side} {}", self.call)
    }

    /// How long each call is held: long enough to be seen, short where there are many.
    pub fn delay(&self) -> &'static str {
        match self.call {
            "pwrite64" | "write" | "mount" | "openat" | "ioctl" => "3ms",
            _ => "10ms",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.nth)
    }
}
