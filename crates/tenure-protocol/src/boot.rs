//! How an agent starts: the line it reads, and the descriptors it finds.

use crate::handshake::Key;
use serde::{Deserialize, Serialize};

/// What the keeper hands to an agent at its start, as one JSON line on descriptor [`BOOT_FD`]. It holds the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Boot {
    /// The environment's ID.
    pub environment: String,
    /// The key for the handshake.
    pub key: Key,
    /// Name of the socket to listen on, inside the directory behind [`SOCKET_DIR_FD`].
    pub socket: String,
    /// Whether the agent ends with its keeper even after it was bound (an environment of one command line).
    pub dies_with_keeper: bool,
    /// The user that programs run as where none is named.
    pub user: User,
    /// How long after SIGTERM comes SIGKILL, at the hard deadline.
    pub grace_ms: u64,
    /// Most descriptors that one program may have open, and the other limits every program starts with: `RLIMIT_*` number to value.
    #[serde(default)]
    pub rlimits: Vec<(u32, u64)>,
}

/// A user as the agent starts programs: numbers inside the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User ID inside.
    pub uid: u32,
    /// Group ID inside.
    pub gid: u32,
    /// Login name, for `USER` and `LOGNAME`.
    pub name: String,
    /// Home directory, for `HOME`.
    pub home: String,
}

/// Descriptor of the [`Boot`] line, read to its end and closed.
pub const BOOT_FD: i32 = 3;
/// Descriptor of the directory (outside) in which the agent makes its socket; closed once it listens.
pub const SOCKET_DIR_FD: i32 = 4;
/// Descriptor of the keeper's control socket: the agent writes one byte once it listens, and sees there that its keeper is gone.
pub const CONTROL_FD: i32 = 5;
/// Descriptor of the control group's file that counts OOM kills, a line `oom_kill N`; not open where the host has none.
pub const OOM_FD: i32 = 6;
