//! Named points: the calls that manager and keeper make, before or after the nth of which the manager is killed, or the keeper first.

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
    /// Whether the keeper is killed there first, too.
    pub with_keeper: bool,
}

/// What a manager does that it could be killed at: writes of the database, and messages to keeper and agents. With how many of them are counted at most.
const MANAGER: &[(&str, u64)] = &[
    ("pwrite64", 150),
    ("fdatasync", 20),
    ("sendmsg", 12),
    ("recvmsg", 12),
    ("sendto", 20),
    ("connect", 8),
    ("openat", 12),
    ("write", 20),
];
/// What a keeper and its children do while they, or the manager, could be killed: environments being made (stems) and taken down (cleaners). Control groups
/// are made, entered and removed by `mkdir`, `write` and `rmdir`, volumes and their limits by `ioctl`.
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
    ("fsopen", 3),
    ("fsconfig", 8),
    ("open_tree", 12),
    ("mount_setattr", 12),
    ("mkdirat", 12),
    ("unlinkat", 20),
    ("fchownat", 20),
    ("execve", 1),
    ("pidfd_send_signal", 2),
    ("waitid", 3),
    ("accept4", 2),
];

impl Point {
    /// One of them all.
    pub fn pick(random: &mut Random) -> Point {
        let (held, (call, most)) = match random.below(3) {
            0 => (Held::Keeper, random.pick(KEEPER)),
            _ => (Held::Manager, random.pick(MANAGER)),
        };
        let (side, nth) = (random.pick(&[Side::Before, Side::After]), 1 + random.below(most));
        let with_keeper = held == Held::Keeper && random.percent(30);
        Point { held, call, side, nth, with_keeper }
    }

    /// The names of all there are.
    pub fn all() -> Vec<String> {
        let calls = MANAGER.iter().map(|(call, _)| (Held::Manager, *call));
        let calls = calls.chain(KEEPER.iter().map(|(call, _)| (Held::Keeper, *call)));
        let of = |(held, call)| {
            [Side::Before, Side::After].map(|side| Point { held, call, side, nth: 1, with_keeper: false }.name())
        };
        calls.flat_map(of).collect()
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
        let killed = if self.with_keeper { ", which is killed first" } else { "" };
        format!("{held} {side} {}{killed}", self.call)
    }

    /// How long each call is held: long enough to be seen, short where there are many.
    pub fn delay(&self) -> &'static str {
        match self.call {
            "pwrite64" | "write" | "mount" | "openat" | "ioctl" | "open_tree" | "mount_setattr" | "fchownat"
            | "unlinkat" | "mkdirat" | "fsconfig" => "3ms",
            _ => "10ms",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.nth)
    }
}
