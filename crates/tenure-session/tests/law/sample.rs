//! Sessions, callers and attempts to put before the law.

use std::collections::BTreeMap;
use tenure_session::*;

/// The instant at which sample sessions begin.
const BEGIN_MS: i64 = 1_795_226_984_000;

/// How long a sample session may live.
pub const LIFETIME: i64 = 100_000;
/// How long it may be idle.
pub const IDLE: i64 = 10_000;

/// So many milliseconds after sample sessions begin.
pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(BEGIN_MS + ms)
}

/// The user whose sample sessions are.
pub fn owner() -> Caller {
    caller("alice", Role::User)
}

/// Somebody who administers all.
pub fn admin() -> Caller {
    caller("root", Role::Admin)
}

pub fn caller(name: &str, role: Role) -> Caller {
    Caller { user: name.parse().unwrap(), role, credential: "key_0011223344556677".to_owned() }
}

/// A session in this state: begun and last worked in at 0, without a lease, with an environment that fits. An ended one ended at 5 s.
pub fn session(state: State) -> Session {
    let limits = SessionLimits {
        max_lifetime_ms: LIFETIME as u64,
        idle_timeout_ms: Some(IDLE as u64),
        max_concurrent_execs: 3,
        ..SessionLimits::default()
    };
    Session {
        id: SessionId::new(at(0), [0x4a, 0xd0, 0x60, 0xd9]),
        owner: "alice".parse().unwrap(),
        template: "default@1".to_owned(),
        state,
        resumes_to: (state == State::Paused).then_some(State::Ready),
        created_at: at(0),
        updated_at: at(0),
        limits,
        enforced: EnforcedLimits::default(),
        lifetime_ends_at: at(LIFETIME),
        last_activity_at: at(0),
        last_activity: "session_create".to_owned(),
        lease: None,
        lease_token_last: LeaseToken(0),
        end: ended(state),
        deleted_at: None,
        archived_at: None,
        purged_at: None,
        environment: environment(state),
        metadata: BTreeMap::new(),
        variables: BTreeMap::new(),
    }
}

/// A sample session that was deleted.
pub fn deleted() -> Session {
    Session { deleted_at: Some(at(6_000)), ..session(State::Terminated) }
}

/// A sample session that was archived, and perhaps deleted before.
pub fn archived(deleted: bool) -> Session {
    let session = session(State::Terminated);
    Session { archived_at: Some(at(6_500)), deleted_at: deleted.then(|| at(6_000)), ..session }
}

/// The same with what is known of its environment.
pub fn with_environment(session: Session, state: EnvironmentState) -> Session {
    let environment = (state != EnvironmentState::None).then(|| SessionEnvironment {
        id: EnvironmentId::new([7; 8]),
        generation: 1,
        driver: "linux".to_owned(),
        state,
    });
    Session { environment, ..session }
}

/// The same, held until then by the holder of token 5.
pub fn with_lease(session: Session, expires_at: Timestamp) -> Session {
    let lease =
        Lease { token: LeaseToken(5), ttl_ms: 1_000, heartbeat_interval_ms: 100, expires_at, last_heartbeat_at: None };
    Session { lease: Some(lease), lease_token_last: lease.token, ..session }
}

/// Somebody tries this at that instant, without a token, while nothing goes on.
pub fn attempt(operation: Operation, now: Timestamp) -> Attempt {
    Attempt { operation, now, presence: Presence::default(), token: None, to: None }
}

/// Work in progress.
pub const WORKING: Presence = Presence { work: Work::InProgress, last_activity_at: None };

/// Nobody knows whether work is in progress.
pub const UNKNOWN: Presence = Presence { work: Work::Unknown, last_activity_at: None };

/// A failure of this type, of no known cause.
pub fn failure(kind: FailureType) -> Failure {
    classify(kind, &FailureContext::default())
}

/// An end for this reason, with a failure if one belongs to it.
pub fn end_for(reason: TerminationReason, at: Timestamp) -> End {
    End { at, reason, detail: None, failure: reason.failure_type().map(failure) }
}

fn ended(state: State) -> Option<End> {
    match state {
        State::Created | State::Initializing | State::Ready | State::Running | State::Paused => None,
        State::Terminated => Some(end_for(TerminationReason::UserRequest, at(5_000))),
        State::Failed => Some(end_for(TerminationReason::FailedRuntime, at(5_000))),
    }
}

fn environment(state: State) -> Option<SessionEnvironment> {
    let known = match state {
        State::Created => return None,
        State::Initializing => EnvironmentState::Provisioning,
        State::Ready | State::Running => EnvironmentState::Ready,
        State::Paused => EnvironmentState::Frozen,
        State::Terminated => EnvironmentState::Gone,
        State::Failed => EnvironmentState::Lost,
    };
    Some(SessionEnvironment { id: EnvironmentId::new([7; 8]), generation: 1, driver: "linux".to_owned(), state: known })
}
