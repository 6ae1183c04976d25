//! What an engine is told once, when it is made.

use std::path::PathBuf;
use tenure_session::{LimitPolicy, Range};

/// Everything that can be set. Resolved before, from wherever it comes; checked here no more.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Defaults and bounds of what a session may do and use.
    pub limits: LimitPolicy,
    /// Bounds of a lease's TTL, in milliseconds.
    pub lease_ttl_ms: Range,
    /// The TTL of a lease that asks for none.
    pub lease_default_ttl_ms: u64,
    /// The heartbeat interval of a lease that asks for none.
    pub lease_default_heartbeat_interval_ms: u64,
    /// How long making an environment may take.
    pub init_timeout_ms: u64,
    /// How long an environment may be silent after a start before it is ended.
    pub recover_timeout_ms: u64,
    /// How long programs have between SIGTERM and SIGKILL at the end of a session.
    pub grace_ms: u64,
    /// How long a program may run where its request does not say.
    pub exec_default_timeout_ms: u64,
    /// Most bytes kept of one program's output, of both streams together.
    pub exec_output_cap_bytes: u64,
    /// Most bytes of each stream in an answer.
    pub exec_inline_bytes: u64,
    /// For how long a deleted session can be brought back.
    pub undelete_window_ms: u64,
    /// How long after its end a session is archived.
    pub archive_after_ms: u64,
    /// How long after its end a session is purged. Longer than the one before.
    pub purge_after_ms: u64,
    /// With less disk free than this no new session is made; 0 looks at nothing.
    pub min_free_disk_bytes: u64,
    /// With less memory free than this no new session is made; 0 looks at nothing.
    pub min_free_memory_bytes: u64,
    /// Where programs' output is kept, one directory per session, and one file once it is archived.
    pub output_dir: PathBuf,
    /// Whether sessions may go without limits that the host does not enforce.
    pub allow_unenforced: bool,
    /// The template of a session that names none.
    pub default_template: String,
}

impl Settings {
    /// What holds where nothing is said, keeping output below this directory.
    pub fn new(output_dir: PathBuf) -> Settings {
        Settings {
            limits: LimitPolicy::default(),
            lease_ttl_ms: Range::new(100..=24 * 3_600_000),
            lease_default_ttl_ms: 60_000,
            lease_default_heartbeat_interval_ms: 5_000,
            init_timeout_ms: 60_000,
            recover_timeout_ms: 60_000,
            grace_ms: 5_000,
            exec_default_timeout_ms: 300_000,
            exec_output_cap_bytes: 64 << 20,
            exec_inline_bytes: 1 << 20,
            undelete_window_ms: 7 * 24 * 3_600_000,
            archive_after_ms: 30 * 24 * 3_600_000,
            purge_after_ms: 90 * 24 * 3_600_000,
            min_free_disk_bytes: 256 << 20,
            min_free_memory_bytes: 64 << 20,
            output_dir,
            allow_unenforced: false,
            default_template: "default".to_owned(),
        }
    }
}
