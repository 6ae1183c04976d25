//! A berth: what one environment occupies on the host, and all that has to be taken down after it.

use crate::cgroup::Group;
use crate::storage::Volume;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tenure_environment::Enforced;

/// One environment's place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Berth {
    /// Its name, unique within the instance: `b` and a number.
    pub name: String,
    /// Its control group.
    pub group: Group,
    /// Its volume.
    pub volume: Volume,
    /// The directory of the agent's socket.
    pub socket_dir: PathBuf,
    /// The agent's process ID on the host.
    pub pid: i32,
    /// When that process started, in clock ticks since the host's start: with the ID and the boot ID it names one process for ever.
    pub started_ticks: u64,
    /// First ID of its range on the host; none where only one ID is mapped.
    pub id_base: Option<u32>,
    /// Which of its limits the kernel enforces.
    pub enforced: Enforced,
}

/// The name of the agent's socket in its directory.
pub const SOCKET_NAME: &str = "agent";
