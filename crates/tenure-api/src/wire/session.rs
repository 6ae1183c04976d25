//! A session as its users see it.

use crate::wire::words;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Number;
use std::collections::BTreeMap;
use tenure_engine::{ArchiveRecord, KernelLimit, Observation, SessionView, StatusView};
use tenure_session::{
    EnforcedLimits, EnvironmentId, EnvironmentState, Failure, LeaseToken, Phase, SessionId, SessionLimits, State,
    TerminationReason, Timestamp, UserId,
};
use utoipa::ToSchema;

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionBody<'a> {
    /// Its name.
    #[schema(value_type = String, pattern = "^exec_[0-9]{8}_[0-9]{6}_[0-9a-f]{8}$")]
    id: &'a SessionId,
    /// Whose it is.
    #[schema(value_type = String)]
    owner: &'a UserId,
    /// The template that it was made from: its name.
    template: &'a str,
    /// Which version of the template.
    template_version: Option<u32>,
    /// Where it is in its life.
    #[schema(value_type = words::SessionState)]
    state: State,
    /// The same, coarse.
    #[schema(value_type = words::SessionPhase)]
    phase: Phase,
    /// `ok`: it was found. What else looking it up can say is in the problems.
    reason: &'static str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When it was last worked in.
    #[schema(value_type = String, format = DateTime)]
    last_activity_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    terminated_at: Option<Timestamp>,
    /// Why it ended.
    #[schema(value_type = Option<words::Reason>)]
    termination_reason: Option<TerminationReason>,
    /// What whoever ended it said.
    termination_detail: Option<&'a str>,
    /// What failed, where it ended in `failed`.
    failure: Option<FailureBody<'a>>,
    /// When it was deleted.
    #[schema(value_type = Option<String>, format = DateTime)]
    deleted_at: Option<Timestamp>,
    /// When it was archived: from then on nothing of it changes, and it is read with `include_deleted` alone.
    #[schema(value_type = Option<String>, format = DateTime)]
    archived_at: Option<Timestamp>,
    /// When its content was purged.
    #[schema(value_type = Option<String>, format = DateTime)]
    purged_at: Option<Timestamp>,
    /// What its archive holds, or held: where it was archived and is read alone, not in a list.
    archive: Option<ArchiveBody>,
    /// What it may do and use.
    limits: LimitsBody,
    /// Its earliest end as things stand; `null` once it has ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When its lease runs out.
    #[schema(value_type = Option<String>, format = DateTime)]
    lease_expires_at: Option<Timestamp>,
    /// How often the lease's holder is asked to renew, in seconds.
    #[schema(value_type = Option<f64>, minimum = 0)]
    heartbeat_interval: Option<Number>,
    /// When the lease was last renewed.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_heartbeat: Option<Timestamp>,
    /// The lease, for its holder.
    lease: Option<LeaseBody>,
    /// Where it works.
    environment: EnvironmentBody<'a>,
    /// The caller's own words about it; in lists empty, once it was archived.
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: &'a BTreeMap<String, String>,
    /// Its last turn.
    turn_id: u64,
    /// Its branch.
    branch: u64,
    /// Where more of it is found.
    #[schema(value_type = BTreeMap<String, String>)]
    links: Links<'a>,
}

/// The archive of a session, or the tombstone that is left of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Archive)]
pub struct ArchiveBody {
    /// How many execs it holds, or held.
    execs: u64,
    /// SHA-256 of its content before it was compressed: ledger, document, ports and words.
    content_sha256: String,
    /// How long that is, or was.
    content_bytes: u64,
    /// SHA-256 of what its programs printed, as a tar file; `null` where nothing was kept of that.
    output_sha256: Option<String>,
    /// How long that is, or was.
    output_bytes: Option<u64>,
}

/// What a session may do and use.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub struct LimitsBody {
    /// How long it may live, from its creation.
    max_lifetime_ms: u64,
    /// How long it may live without work; for ever where there is none.
    idle_timeout_ms: Option<u64>,
    /// How many execs may run at once.
    max_concurrent_execs: u32,
    /// What happens to the one that is too many.
    #[schema(value_type = words::OnExecLimit)]
    on_exec_limit: tenure_session::OnExecLimit,
    /// Processor time in thousandths of a core.
    cpu_millis: u32,
    /// Memory.
    memory_bytes: u64,
    /// Processes and threads.
    pids: u32,
    /// Writable files.
    disk_bytes: u64,
    /// What it reaches beyond itself.
    #[schema(value_type = words::Network)]
    network: tenure_session::Network,
    /// For each limit of the environment, whether this host's kernel holds the session to it.
    #[schema(value_type = EnforcedBody)]
    enforced: EnforcedLimits,
}

/// Which limits the host's kernel holds a session to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnforcedLimits)]
pub struct EnforcedBody {
    cpu: bool,
    memory: bool,
    pids: bool,
    disk: bool,
}

/// A lease, for its holder.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lease)]
pub struct LeaseBody {
    /// What the header `Tenure-Lease-Token` has to carry.
    #[schema(value_type = u64)]
    token: LeaseToken,
    /// For how long a renewal holds.
    ttl_ms: u64,
    /// How often the holder is asked to renew.
    heartbeat_interval_ms: u64,
}

/// The environment of a session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionEnvironment)]
pub struct EnvironmentBody<'a> {
    /// Which; `null` where the session was made without one.
    #[schema(value_type = Option<String>)]
    id: Option<&'a EnvironmentId>,
    /// Which life of it.
    generation: Option<u64>,
    /// What made it.
    driver: Option<&'a str>,
    /// What is known of it.
    #[schema(value_type = words::EnvironmentStatus)]
    state: EnvironmentState,
}

/// What failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
pub struct FailureBody<'a> {
    /// What kind of thing.
    #[serde(rename = "type")]
    #[schema(value_type = words::FailureType)]
    kind: tenure_session::FailureType,
    /// How bad it is.
    #[schema(value_type = words::Severity)]
    severity: tenure_session::Severity,
    /// What happened, for whoever reads logs.
    message: &'a str,
    /// What happened, for whoever used the session.
    user_message: &'a str,
    /// Whether anything helps.
    recoverable: bool,
    /// What.
    #[schema(value_type = words::RecoveryAction)]
    recovery_action: tenure_session::RecoveryAction,
}

/// Where more of a session is found.
#[derive(Debug)]
struct Links<'a>(&'a SessionId);

impl Serialize for Links<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("self", &format_args!("/v1/sessions/{}", self.0))?;
        for place in ["status", "explain", "events", "audit", "execs"] {
            map.serialize_entry(place, &format_args!("/v1/sessions/{}/{place}", self.0))?;
        }
        map.end()
    }
}

impl<'a> SessionBody<'a> {
    /// A session as it is now.
    pub fn new(view: &'a SessionView) -> SessionBody<'a> {
        let session = &view.session;
        let (end, lease) = (session.end.as_ref(), session.lease.as_ref());
        let (template, template_version) = match session.template.rsplit_once('@') {
            Some((name, version)) => (name, version.parse().ok()),
            None => (session.template.as_str(), None),
        };
        SessionBody {
            id: &session.id,
            owner: &session.owner,
            template,
            template_version,
            state: session.state,
            phase: session.phase(),
            reason: "ok",
            created_at: session.created_at,
            updated_at: session.updated_at,
            last_activity_at: view.last_activity_at,
            terminated_at: end.map(|end| end.at),
            termination_reason: end.map(|end| end.reason),
            termination_detail: end.and_then(|end| end.detail.as_deref()),
            failure: end.and_then(|end| end.failure.as_ref()).map(FailureBody::new),
            deleted_at: session.deleted_at,
            archived_at: session.archived_at,
            purged_at: session.purged_at,
            archive: view.archive.as_ref().map(ArchiveBody::new),
            limits: LimitsBody::new(&session.limits, session.enforced),
            expires_at: view.expires_at,
            lease_expires_at: lease.map(|lease| lease.expires_at),
            heartbeat_interval: lease.map(|lease| seconds(lease.heartbeat_interval_ms)),
            last_heartbeat: lease.and_then(|lease| lease.last_heartbeat_at),
            lease: lease.filter(|_| view.shows_lease).map(|lease| LeaseBody {
                token: lease.token,
                ttl_ms: lease.ttl_ms,
                heartbeat_interval_ms: lease.heartbeat_interval_ms,
            }),
            environment: EnvironmentBody::new(session),
            metadata: &session.metadata,
            turn_id: 0,
            branch: 0,
            links: Links(&session.id),
        }
    }
}

impl ArchiveBody {
    fn new(record: &ArchiveRecord) -> ArchiveBody {
        ArchiveBody {
            execs: record.execs,
            content_sha256: record.content.sha256.to_string(),
            content_bytes: record.content.bytes,
            output_sha256: record.output.map(|output| output.sha256.to_string()),
            output_bytes: record.output.map(|output| output.bytes),
        }
    }
}

impl LimitsBody {
    fn new(limits: &SessionLimits, enforced: EnforcedLimits) -> LimitsBody {
        LimitsBody {
            max_lifetime_ms: limits.max_lifetime_ms,
            idle_timeout_ms: limits.idle_timeout_ms,
            max_concurrent_execs: limits.max_concurrent_execs,
            on_exec_limit: limits.on_exec_limit,
            cpu_millis: limits.cpu_millis,
            memory_bytes: limits.memory_bytes,
            pids: limits.pids,
            disk_bytes: limits.disk_bytes,
            network: limits.network,
            enforced,
        }
    }
}

impl<'a> EnvironmentBody<'a> {
    /// The environment of this session, as far as it is remembered.
    pub fn new(session: &'a tenure_session::Session) -> EnvironmentBody<'a> {
        let environment = session.environment.as_ref();
        EnvironmentBody {
            id: environment.map(|environment| &environment.id),
            generation: environment.map(|environment| environment.generation),
            driver: environment.map(|environment| environment.driver.as_str()),
            state: session.environment_state(),
        }
    }
}

impl<'a> FailureBody<'a> {
    /// A failure, without what only the operator should read.
    pub fn new(failure: &'a Failure) -> FailureBody<'a> {
        FailureBody {
            kind: failure.kind,
            severity: failure.severity,
            message: &failure.message,
            user_message: &failure.user_message,
            recoverable: failure.recoverable,
            recovery_action: failure.recovery_action,
        }
    }
}

/// Milliseconds as seconds, whole where they are.
fn seconds(ms: u64) -> Number {
    if ms.is_multiple_of(1000) {
        return Number::from(ms / 1000);
    }
    Number::from_f64(ms as f64 / 1000.0).unwrap_or_else(|| Number::from(0))
}

/// What a session's user sees of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusBody<'a> {
    /// Of which session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// Where it is in its life.
    #[schema(value_type = words::SessionState)]
    state: State,
    /// The same, coarse.
    #[schema(value_type = words::SessionPhase)]
    phase: Phase,
    /// What to show.
    #[schema(value_type = words::Display)]
    display_state: tenure_session::DisplayState,
    /// The same in a sentence.
    message: &'a str,
    /// How far its creation is.
    progress: ProgressBody<'a>,
    /// Whether it can be worked in now.
    environment_ready: bool,
    /// Whole seconds until it ends as things stand, rounded down; 0 once it has ended.
    remaining_seconds: u64,
    /// Why it ended, where it ended by a failure.
    error_reason: Option<&'a str>,
    /// Whether anything helps then.
    recoverable: bool,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    terminated_at: Option<Timestamp>,
    /// Why it ended.
    #[schema(value_type = Option<words::Reason>)]
    termination_reason: Option<TerminationReason>,
    /// Where it works.
    environment: EnvironmentBody<'a>,
    /// What the kernel says of its environment now; `null` where there is none, or it could not be asked.
    observation: Option<ObservationBody>,
}

/// How far a creation is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Progress)]
pub struct ProgressBody<'a> {
    /// The step it is at, from 1.
    current_step: u32,
    /// How many there are.
    total_steps: u32,
    /// What that step does.
    step_description: &'a str,
}

/// What the kernel says of an environment. `null` where this host cannot say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Observation)]
pub struct ObservationBody {
    /// Memory in use.
    memory_bytes: Option<u64>,
    /// Most memory ever in use.
    memory_peak_bytes: Option<u64>,
    /// How often the memory limit was run into.
    memory_limit_hits: Option<u64>,
    /// How many processes the kernel killed for memory.
    oom_kills: Option<u64>,
    /// Processes and threads now.
    pids: Option<u64>,
    /// How often a new process was refused at the limit.
    pids_refused: Option<u64>,
    /// Processor time used.
    cpu_ms: Option<u64>,
    /// Time spent waiting at the processor limit.
    cpu_throttled_ms: Option<u64>,
    /// Bytes of its writable files.
    disk_bytes: Option<u64>,
    /// Most bytes of its writable files, as the kernel holds it to.
    disk_limit_bytes: Option<u64>,
    /// Limits that it has run into: processes were killed for memory, or refused, or there is no room for files now.
    #[schema(value_type = Vec<words::KernelLimit>)]
    limits_reached: Vec<KernelLimit>,
    /// Whether it is frozen.
    frozen: bool,
}

impl<'a> StatusBody<'a> {
    /// A status as it is now.
    pub fn new(view: &'a StatusView) -> StatusBody<'a> {
        let (session, status) = (&view.session, &view.status);
        StatusBody {
            session_id: &session.id,
            state: session.state,
            phase: session.phase(),
            display_state: status.display_state,
            message: &status.message,
            progress: ProgressBody {
                current_step: status.progress.current_step,
                total_steps: status.progress.total_steps,
                step_description: &status.progress.step_description,
            },
            environment_ready: status.environment_ready,
            remaining_seconds: status.remaining_seconds,
            error_reason: status.error_reason.as_deref(),
            recoverable: status.recoverable,
            terminated_at: session.end.as_ref().map(|end| end.at),
            termination_reason: session.end.as_ref().map(|end| end.reason),
            environment: EnvironmentBody::new(session),
            observation: view.observation.map(ObservationBody::new),
        }
    }
}

impl ObservationBody {
    /// What the kernel said.
    pub fn new(seen: Observation) -> ObservationBody {
        ObservationBody {
            memory_bytes: seen.memory_bytes,
            memory_peak_bytes: seen.memory_peak_bytes,
            memory_limit_hits: seen.memory_limit_hits,
            oom_kills: seen.oom_kills,
            pids: seen.pids,
            pids_refused: seen.pids_refused,
            cpu_ms: seen.cpu_ms,
            cpu_throttled_ms: seen.cpu_throttled_ms,
            disk_bytes: seen.disk_bytes,
            disk_limit_bytes: seen.disk_limit_bytes,
            limits_reached: KernelLimit::ALL.into_iter().filter(|limit| seen.times_reached(*limit) > 0).collect(),
            frozen: seen.frozen,
        }
    }
}
