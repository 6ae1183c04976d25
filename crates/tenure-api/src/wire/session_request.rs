//! What can be asked of a session, as it is described. The engine's own types read it.

use crate::wire::words;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a new session is asked to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CreateRequest {
    /// From which template: `name`, or `name@version`. `default` where nothing is given.
    #[schema(min_length = 1, max_length = 80)]
    pub template: Option<String>,
    /// Whose it is to be; an administrator may name somebody else.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9._@:+/=|-]*$")]
    pub owner: Option<String>,
    /// Limits other than the template's.
    pub limits: LimitRequest,
    /// The lease that it begins with.
    pub lease: Option<LeaseRequest>,
    /// The caller's own words about it: at most 64, keys of 128 bytes without a colon, values of 1024 bytes.
    pub metadata: BTreeMap<String, String>,
    /// Variables that its programs start with. Shown to nobody.
    pub env: BTreeMap<String, String>,
    /// Where it works; `linux` where nothing is given.
    pub environment: Option<words::EnvironmentKind>,
    /// Whether to go without limits that the host does not enforce.
    pub allow_unenforced: bool,
}

/// Limits as somebody asks for them: what is not given is taken from the template, then from the configuration.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitRequest {
    /// How long it may live, from its creation.
    #[schema(minimum = 1, maximum = 2592000000u64)]
    pub max_lifetime_ms: Option<u64>,
    /// How long it may live without work. `null` switches it off, which only a template may.
    #[schema(minimum = 1, maximum = 604800000u64)]
    pub idle_timeout_ms: Option<u64>,
    /// How many execs may run at once.
    #[schema(minimum = 1, maximum = 1024)]
    pub max_concurrent_execs: Option<u32>,
    /// What happens to the one that is too many.
    pub on_exec_limit: Option<words::OnExecLimit>,
    /// Processor time in thousandths of a core.
    #[schema(minimum = 10, maximum = 64000)]
    pub cpu_millis: Option<u32>,
    /// Memory.
    #[schema(minimum = 8388608, maximum = 68719476736u64)]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[schema(minimum = 4, maximum = 32768)]
    pub pids: Option<u32>,
    /// Writable files.
    #[schema(minimum = 1048576, maximum = 274877906944u64)]
    pub disk_bytes: Option<u64>,
    /// What it reaches beyond itself.
    pub network: Option<words::Network>,
}

/// The terms of a lease that is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseRequest {
    /// For how long a renewal holds.
    #[schema(minimum = 100, maximum = 86400000)]
    pub ttl_ms: Option<u64>,
    /// How often the holder is asked to renew.
    #[schema(minimum = 1, maximum = 86400000)]
    pub heartbeat_interval_ms: Option<u64>,
}

/// How a lease is to be taken.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseTakeRequest {
    /// For how long a renewal holds.
    #[schema(minimum = 100, maximum = 86400000)]
    pub ttl_ms: Option<u64>,
    /// How often the holder is asked to renew: less than the TTL.
    #[schema(minimum = 1, maximum = 86400000)]
    pub heartbeat_interval_ms: Option<u64>,
    /// Whether it is taken from whoever holds it.
    pub takeover: bool,
}

/// Why a session is to end.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TerminateRequest {
    /// `user_request` or `completed`; for administrators also `admin_request`.
    #[schema(pattern = "^(user_request|completed|admin_request)$")]
    pub reason: Option<String>,
    /// Whatever else is to be remembered.
    #[schema(max_length = 1024)]
    pub detail: Option<String>,
}

/// Where a session is to go.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitionRequest {
    /// The state: `paused`, `terminated`, or the one that resuming leads to. Others are refused, with those that are allowed.
    pub to: words::SessionState,
    /// Why, where it is the end.
    #[serde(default)]
    #[schema(pattern = "^(user_request|completed|admin_request)$")]
    pub reason: Option<String>,
}

/// How much more time.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendRequest {
    /// So much.
    #[schema(minimum = 1, maximum = 2592000000u64)]
    pub by_ms: u64,
}
