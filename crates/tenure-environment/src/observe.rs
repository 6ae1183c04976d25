//! What can be seen of an environment and of its host from outside.

use crate::limits::Enforced;
use serde::{Deserialize, Serialize};

/// What the host's kernel says of one environment now. `None` where this host cannot say; never a guess.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Observation {
    /// Memory in use.
    pub memory_bytes: Option<u64>,
    /// Most memory ever in use.
    pub memory_peak_bytes: Option<u64>,
    /// How often the memory limit was run into.
    pub memory_limit_hits: Option<u64>,
    /// How many processes the kernel killed for memory.
    pub oom_kills: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
    /// How often a new process was refused at the limit.
    pub pids_refused: Option<u64>,
    /// Processor time used.
    pub cpu_ms: Option<u64>,
    /// Time spent waiting at the processor limit.
    pub cpu_throttled_ms: Option<u64>,
    /// Bytes of its writable files.
    pub disk_bytes: Option<u64>,
    /// Most bytes of its writable files, as the kernel holds it to.
    pub disk_limit_bytes: Option<u64>,
    /// Whether it is frozen.
    pub frozen: bool,
}

/// A limit that the kernel holds an environment to, and that it can run into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelLimit {
    /// On memory.
    Memory,
    /// On processes.
    Processes,
    /// On the bytes of its writable files.
    Disk,
}

impl KernelLimit {
    /// All of them.
    pub const ALL: [KernelLimit; 3] = [KernelLimit::Memory, KernelLimit::Processes, KernelLimit::Disk];

    /// Its name, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            KernelLimit::Memory => "memory",
            KernelLimit::Processes => "processes",
            KernelLimit::Disk => "disk",
        }
    }
}

/// Its files have run into their limit where no more than a hundredth of it is left: the kernel counts no refusals there, and refuses a little early.
const DISK_LEFT: u64 = 100;

impl Observation {
    /// How often this limit was run into, as far as the kernel says: processes killed, processes refused, and once while there is no room for files.
    pub fn times_reached(&self, limit: KernelLimit) -> u64 {
        match limit {
            KernelLimit::Memory => self.oom_kills.unwrap_or(0),
            KernelLimit::Processes => self.pids_refused.unwrap_or(0),
            KernelLimit::Disk => match (self.disk_bytes, self.disk_limit_bytes) {
                (Some(used), Some(most)) => u64::from(used >= most - most / DISK_LEFT),
                _ => 0,
            },
        }
    }
}

/// How an environment ended: what the kernel said of its first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum EnvironmentEnd {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
    /// It is gone, and nobody who could know how is left.
    Unknown,
}

/// Which walls this host can give an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HostReport {
    /// Each wall, in the order in which they are put up.
    pub walls: Vec<Wall>,
    /// Which limits would be enforced.
    pub enforced: Enforced,
    /// What else an operator should know.
    pub notes: Vec<String>,
}

/// One wall between an environment and the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wall {
    /// Its name, such as `pid namespace` or `seccomp`.
    pub name: String,
    /// Whether it stands.
    pub state: WallState,
    /// What was found.
    pub detail: String,
    /// What to do where it does not stand.
    pub remedy: Option<String>,
}

/// Whether a wall stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WallState {
    /// It stands.
    Up,
    /// Some of it stands.
    Partial,
    /// It does not stand.
    Down,
}
