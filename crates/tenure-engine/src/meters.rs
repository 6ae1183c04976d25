//! What is counted, in Prometheus' format (MT-1).

use crate::host::HostFree;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tenure_environment::KernelLimit;
use tenure_session::{State, TerminationReason};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransitionLabel {
    from: &'static str,
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PreviousStateLabel {
    previous_state: &'static str,
}

/// What an audit that was read again is.
const INTACT: &str = "intact";
const DAMAGED: &str = "damaged";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The engine's metrics.
pub(crate) struct Meters {
    ends: Family<ReasonLabel, Counter>,
    transitions: Family<TransitionLabel, Counter>,
    sessions: Family<StateLabel, Gauge>,
    invalid_ids: Counter,
    audit_verifications: Family<VerdictLabel, Counter>,
    host_free: Family<KindLabel, Gauge>,
    limits_reached: Family<LimitLabel, Counter>,
    pub heartbeats: Counter,
    pub heartbeats_late: Counter,
    leases_expired: Family<PreviousStateLabel, Counter>,
    pub execs: Counter,
    pub exec_seconds: Histogram,
    pub environment_seconds: Histogram,
    pub environments: Gauge,
    pub environments_lost: Counter,
    pub sessions_archived: Counter,
    pub sessions_purged: Counter,
}

impl Meters {
    pub fn register(registry: &mut Registry) -> Meters {
        let meters = Meters {
            ends: Family::default(),
            transitions: Family::default(),
            sessions: Family::default(),
            invalid_ids: Counter::default(),
            audit_verifications: Family::default(),
            host_free: Family::default(),
            limits_reached: Family::default(),
            heartbeats: Counter::default(),
            heartbeats_late: Counter::default(),
            leases_expired: Family::default(),
            execs: Counter::default(),
            exec_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 20)),
            environment_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 18)),
            environments: Gauge::default(),
            environments_lost: Counter::default(),
            sessions_archived: Counter::default(),
            sessions_purged: Counter::default(),
        };
        registry.register("tenure_sessions_ended", "Sessions that ended, by reason", meters.ends.clone());
        registry.register("tenure_session_transitions", "Transitions of sessions", meters.transitions.clone());
        registry.register("tenure_sessions", "Sessions by state", meters.sessions.clone());
        let verified = "Times that the whole audit was read again, by whether it was as it was written";
        registry.register("tenure_audit_verifications", verified, meters.audit_verifications.clone());
        registry.register("tenure_invalid_session_ids", "Texts that are no session ID", meters.invalid_ids.clone());
        registry.register(
            "tenure_sessions_heartbeat",
            "Heartbeats of leases that were heard",
            meters.heartbeats.clone(),
        );
        let late = "Heartbeats that came after more than two intervals";
        registry.register("tenure_sessions_heartbeat_late", late, meters.heartbeats_late.clone());
        let expired = "Leases that expired, by the state of their session before";
        registry.register("tenure_sessions_lease_expired", expired, meters.leases_expired.clone());
        let free = "Bytes of the host that are free, and those held back for the database";
        registry.register("tenure_host_free_bytes", free, meters.host_free.clone());
        let reached =
            "Times that the kernel held a session to a limit, counted when it is asked and at the session's end";
        registry.register("tenure_limits_reached", reached, meters.limits_reached.clone());
        registry.register("tenure_execs", "Programs that were started", meters.execs.clone());
        registry.register("tenure_exec_seconds", "From the request to the program's end", meters.exec_seconds.clone());
        let made = meters.environment_seconds.clone();
        registry.register("tenure_environment_create_seconds", "Time to make an environment", made);
        registry.register("tenure_environments", "Environments that are up", meters.environments.clone());
        registry.register("tenure_environments_lost", "Environments found dead", meters.environments_lost.clone());
        registry.register("tenure_sessions_archived", "Sessions that were archived", meters.sessions_archived.clone());
        registry.register("tenure_sessions_purged", "Sessions that were purged", meters.sessions_purged.clone());
        meters.begin_at_zero();
        meters
    }

    /// What never happened is 0 and not absent: an alert sees the first time only where there was a time before.
    fn begin_at_zero(&self) {
        for reason in TerminationReason::ALL {
            drop(self.ends.get_or_create(&ReasonLabel { reason: reason.as_str() }));
        }
        for state in State::ALL {
            self.sessions_in(state, 0);
            if state.is_live() {
                drop(self.leases_expired.get_or_create(&PreviousStateLabel { previous_state: state.as_str() }));
            }
        }
        for limit in KernelLimit::ALL {
            self.limit_reached(limit, 0);
        }
        for verdict in [INTACT, DAMAGED] {
            drop(self.audit_verifications.get_or_create(&VerdictLabel { verdict }));
        }
    }

    /// A text that is no session ID: counted, and logged without the text beyond its beginning, which is the caller's own.
    pub fn invalid_format(&self, text: &str) {
        self.invalid_ids.inc();
        let begins: String = text.chars().take(40).collect();
        tracing::debug!(begins = ?begins, "no session ID");
    }

    /// The whole audit was read again.
    pub fn audit_verified(&self, intact: bool) {
        let verdict = if intact { INTACT } else { DAMAGED };
        self.audit_verifications.get_or_create(&VerdictLabel { verdict }).inc();
    }

    /// So many sessions are in this state.
    pub fn sessions_in(&self, state: State, count: u64) {
        let label = StateLabel { state: state.as_str() };
        self.sessions.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// So much of the host is free.
    pub fn host_free(&self, free: HostFree) {
        let kinds = [("disk", free.disk_bytes), ("memory", free.memory_bytes), ("reserve", Some(free.reserve_bytes))];
        for (kind, bytes) in kinds.into_iter().filter_map(|(kind, bytes)| Some((kind, bytes?))) {
            self.host_free.get_or_create(&KindLabel { kind }).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// The lease of a session in this state expired.
    pub fn lease_expired(&self, state: State) {
        self.leases_expired.get_or_create(&PreviousStateLabel { previous_state: state.as_str() }).inc();
    }

    /// The kernel held a session to a limit, so many times.
    pub fn limit_reached(&self, limit: KernelLimit, times: u64) {
        self.limits_reached.get_or_create(&LimitLabel { limit: limit.as_str() }).inc_by(times);
    }

    pub fn ended(&self, reason: TerminationReason) {
        self.ends.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    pub fn moved(&self, from: State, to: State) {
        self.transitions.get_or_create(&TransitionLabel { from: from.as_str(), to: to.as_str() }).inc();
    }
}
