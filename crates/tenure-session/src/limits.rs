//! What a session may do and use, and how a request, a template and the configuration agree on it (GV-1).

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// The limits of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionLimits {
    /// How long it may live, from its creation.
    pub max_lifetime_ms: u64,
    /// How long it may live without work; for ever where there is none.
    pub idle_timeout_ms: Option<u64>,
    /// How many execs may run at once.
    pub max_concurrent_execs: u32,
    /// What happens to the one that is too many.
    pub on_exec_limit: OnExecLimit,
    /// Processor time in thousandths of a core.
    pub cpu_millis: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// Bytes of its writable files.
    pub disk_bytes: u64,
    /// What it reaches beyond itself.
    pub network: Network,
}

impl Default for SessionLimits {
    /// 24 hours, 30 minutes idle, 16 execs, one core, 512 MiB, 256 processes, 2 GiB, no network.
    fn default() -> Self {
        SessionLimits {
            max_lifetime_ms: 24 * 3_600_000,
            idle_timeout_ms: Some(30 * 60_000),
            max_concurrent_execs: 16,
            on_exec_limit: OnExecLimit::Terminate,
            cpu_millis: 1000,
            memory_bytes: 512 << 20,
            pids: 256,
            disk_bytes: 2048 << 20,
            network: Network::None,
        }
    }
}

/// What happens when more execs are started than may run at once (GV-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExecLimit {
    /// The session ends.
    Terminate,
    /// The call is refused.
    Reject,
}

/// What a session reaches beyond itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing.
    None,
}

/// For each limit of the environment, whether this host's kernel holds the session to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnforcedLimits {
    /// Processor time.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
    /// Processes.
    pub pids: bool,
    /// Writable files.
    pub disk: bool,
}

/// Limits as somebody asks for them: what is not given is taken from further down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitRequest {
    /// See [`SessionLimits::max_lifetime_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lifetime_ms: Option<u64>,
    /// See [`SessionLimits::idle_timeout_ms`]; `null` switches it off, which only a template may.
    #[serde(skip_serializing_if = "Option::is_none", with = "given")]
    pub idle_timeout_ms: Option<Option<u64>>,
    /// See [`SessionLimits::max_concurrent_execs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_execs: Option<u32>,
    /// See [`SessionLimits::on_exec_limit`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exec_limit: Option<OnExecLimit>,
    /// See [`SessionLimits::cpu_millis`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// See [`SessionLimits::memory_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// See [`SessionLimits::pids`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// See [`SessionLimits::disk_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// See [`SessionLimits::network`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

/// Tells "not given" from "given as null".
mod given {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Option<u64>>, serializer: S) -> Result<S::Ok, S::Error> {
        value.flatten().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

/// The least and the most that can be chosen of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

impl Range {
    /// From the least to the most.
    pub const fn new(range: RangeInclusive<u64>) -> Range {
        Range { min: *range.start(), max: *range.end() }
    }

    pub(crate) fn holds(self, value: u64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

/// Defaults and bounds: from the configuration, and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitPolicy {
    /// What a session has where neither request nor template say.
    pub default: SessionLimits,
    /// Bounds of [`SessionLimits::max_lifetime_ms`].
    pub max_lifetime_ms: Range,
    /// Bounds of [`SessionLimits::idle_timeout_ms`].
    pub idle_timeout_ms: Range,
    /// Bounds of [`SessionLimits::max_concurrent_execs`].
    pub max_concurrent_execs: Range,
    /// Bounds of [`SessionLimits::cpu_millis`].
    pub cpu_millis: Range,
    /// Bounds of [`SessionLimits::memory_bytes`].
    pub memory_bytes: Range,
    /// Bounds of [`SessionLimits::pids`].
    pub pids: Range,
    /// Bounds of [`SessionLimits::disk_bytes`].
    pub disk_bytes: Range,
}

impl Default for LimitPolicy {
    fn default() -> Self {
        LimitPolicy {
            default: SessionLimits::default(),
            max_lifetime_ms: Range::new(1..=30 * 24 * 3_600_000),
            idle_timeout_ms: Range::new(1..=7 * 24 * 3_600_000),
            max_concurrent_execs: Range::new(1..=1024),
            cpu_millis: Range::new(10..=64_000),
            memory_bytes: Range::new(8 << 20..=64 << 30),
            pids: Range::new(4..=32_768),
            disk_bytes: Range::new(1 << 20..=256 << 30),
        }
    }
}

/// A field has a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidField {
    /// The field's name, as it is written.
    pub field: String,
    /// What is wrong with it, and what would do.
    pub problem: String,
}

impl InvalidField {
    /// This field, for this reason.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> InvalidField {
        InvalidField { field: field.into(), problem: problem.into() }
    }
}

/// The limits of a new session: the request's over the template's over the default, all within the bounds. Names every field that is wrong.
pub fn resolve(
    request: &LimitRequest,
    template: &LimitRequest,
    policy: &LimitPolicy,
) -> Result<SessionLimits, Vec<InvalidField>> {
    let mut invalid = Vec::new();
    let default = &policy.default;
    if request.idle_timeout_ms == Some(None) && template.idle_timeout_ms != Some(None) {
        invalid.push(InvalidField::new("limits.idle_timeout_ms", "can be switched off by a template only"));
    }
    let limits = SessionLimits {
        max_lifetime_ms: request.max_lifetime_ms.or(template.max_lifetime_ms).unwrap_or(default.max_lifetime_ms),
        idle_timeout_ms: request.idle_timeout_ms.or(template.idle_timeout_ms).unwrap_or(default.idle_timeout_ms),
        max_concurrent_execs: request
            .max_concurrent_execs
            .or(template.max_concurrent_execs)
            .unwrap_or(default.max_concurrent_execs),
        on_exec_limit: request.on_exec_limit.or(template.on_exec_limit).unwrap_or(default.on_exec_limit),
        cpu_millis: request.cpu_millis.or(template.cpu_millis).unwrap_or(default.cpu_millis),
        memory_bytes: request.memory_bytes.or(template.memory_bytes).unwrap_or(default.memory_bytes),
        pids: request.pids.or(template.pids).unwrap_or(default.pids),
        disk_bytes: request.disk_bytes.or(template.disk_bytes).unwrap_or(default.disk_bytes),
        network: request.network.or(template.network).unwrap_or(default.network),
    };
    let mut check = |name: &str, value: u64, bounds: Range| {
        if !bounds.holds(value) {
            let problem = format!("is {value}, allowed is {} to {}", bounds.min, bounds.max);
            invalid.push(InvalidField::new(format!("limits.{name}"), problem));
        }
    };
    check("max_lifetime_ms", limits.max_lifetime_ms, policy.max_lifetime_ms);
    if let Some(idle_timeout_ms) = limits.idle_timeout_ms {
        check("idle_timeout_ms", idle_timeout_ms, policy.idle_timeout_ms);
    }
    check("max_concurrent_execs", u64::from(limits.max_concurrent_execs), policy.max_concurrent_execs);
    check("cpu_millis", u64::from(limits.cpu_millis), policy.cpu_millis);
    check("memory_bytes", limits.memory_bytes, policy.memory_bytes);
    check("pids", u64::from(limits.pids), policy.pids);
    check("disk_bytes", limits.disk_bytes, policy.disk_bytes);
    if invalid.is_empty() { Ok(limits) } else { Err(invalid) }
}
