//! What the keeper is told to build: plain data, from the manager to the keeper to the stem to the first process.

use crate::storage::Owner;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use tenure_environment::ResourceLimits;
use tenure_protocol::{Key, User};

/// One environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The environment's ID.
    pub environment: String,
    /// Its host name.
    pub hostname: String,
    /// The template's root: the read-only layer.
    pub base: PathBuf,
    /// Whether the host's own `/usr` is bound into it.
    pub host_usr: bool,
    /// What it may use.
    pub limits: ResourceLimits,
    /// The key it shares with the manager.
    pub key: Key,
    /// The user that programs run as.
    pub user: User,
    /// SIGTERM to SIGKILL, at the hard deadline.
    pub grace_ms: u64,
    /// Whether it ends with the keeper.
    pub dies_with_keeper: bool,
    /// What its files are, where they are not to be blank.
    #[serde(default)]
    pub over: Option<Over>,
}

/// The files of an environment whose processes went with another boot of the host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Over {
    /// The last life that wrote them.
    pub owner: Owner,
    /// The berth they were in when they were seen last.
    pub berth: String,
}

/// Per-process limits inside, soft and hard alike. Most are counted per user, and each environment's users are its own.
pub fn process_limits(limits: &ResourceLimits, groups_count_processes: bool) -> Vec<(u32, u64)> {
    let mut all: Vec<(u32, u64)> = vec![
        // Not 0: where the host pipes core dumps to a program, the kernel runs that program, as root and outside, whatever the limit is, unless it is 1.
        (libc::RLIMIT_CORE, 1),
        (libc::RLIMIT_NOFILE, 16_384),
        (libc::RLIMIT_SIGPENDING, 4_096),
        (libc::RLIMIT_MSGQUEUE, 819_200),
        (libc::RLIMIT_MEMLOCK, 8 << 20),
    ];
    if !groups_count_processes {
        // Counted per user namespace and user: the same bound, without the kernel's count of refusals.
        all.push((libc::RLIMIT_NPROC, limits.pids.into()));
    }
    all
}

/// Limits of the user namespace, as names under `/proc/sys/user`.
pub const NAMESPACE_LIMITS: [(&str, u64); 12] = [
    ("max_inotify_instances", 512),
    ("max_inotify_watches", 65_536),
    ("max_fanotify_groups", 16),
    ("max_fanotify_marks", 1_024),
    ("max_cgroup_namespaces", 0),
    ("max_ipc_namespaces", 0),
    ("max_mnt_namespaces", 0),
    ("max_net_namespaces", 0),
    ("max_pid_namespaces", 0),
    ("max_time_namespaces", 0),
    ("max_user_namespaces", 0),
    ("max_uts_namespaces", 0),
];
