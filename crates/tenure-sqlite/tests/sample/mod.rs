//! Samples of what is stored, for the tests.
#![allow(dead_code)] // Each test uses some of them.

use serde_json::json;
use std::collections::BTreeMap;
use tenure_session::*;
use tenure_store::*;

/// The instant at which the tests begin.
pub const BEGIN: i64 = 1_795_226_984_050;

/// So many milliseconds after the beginning.
pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(BEGIN + ms)
}

/// The ID of the n-th session.
pub fn id(n: u32) -> SessionId {
    SessionId::new(at(0), n.to_be_bytes())
}

/// A ready session with a lease and an environment.
pub fn session(n: u32) -> Session {
    let limits = SessionLimits::default();
    Session {
        id: id(n),
        owner: "alice".parse().unwrap(),
        template: "default@1".to_owned(),
        state: State::Ready,
        resumes_to: None,
        created_at: at(0),
        updated_at: at(0),
        limits,
        enforced: EnforcedLimits::default(),
        lifetime_ends_at: at(0).plus_ms(limits.max_lifetime_ms),
        last_activity_at: at(0),
        last_activity: "session_create".to_owned(),
        lease: Some(Lease {
            token: LeaseToken(1),
            ttl_ms: 60_000,
            heartbeat_interval_ms: 5000,
            expires_at: at(60_000),
            last_heartbeat_at: None,
        }),
        end: None,
        deleted_at: None,
        environment: Some(SessionEnvironment {
            id: EnvironmentId::new(u64::from(n).to_be_bytes()),
            generation: 1,
            driver: "linux".to_owned(),
            state: EnvironmentState::Ready,
        }),
        metadata: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        variables: BTreeMap::new(),
    }
}

/// An entry about the n-th session.
pub fn entry(n: u32, action: &str) -> AuditDraft {
    AuditDraft {
        session_id: Some(id(n)),
        at: at(0),
        old_state: None,
        new_state: None,
        trigger: Trigger::UserAction,
        actor: "user:alice".to_owned(),
        action: action.to_owned(),
        reason: None,
        metadata: json!({"n": n}),
    }
}

/// The n-th session's making.
pub fn create(n: u32) -> SessionCreate {
    let entry = entry(n, "session_create");
    SessionCreate { session: session(n), state_document: json!({"rooms": []}), claim: None, entry }
}

/// A move of the n-th session.
pub fn move_to(n: u32, from: State, to: State) -> SessionMove {
    SessionMove {
        id: id(n),
        from,
        to,
        at: at(10),
        resumes_to: (to == State::Paused).then_some(from),
        environment: None,
        enforced: None,
        activity: Some("session_pause".to_owned()),
        entry: entry(n, "session_move"),
    }
}

/// The n-th session's end, for this reason.
pub fn end(n: u32, reason: TerminationReason) -> SessionEnd {
    let failure = reason.failure_type().map(|kind| classify(kind, &FailureContext::default()));
    let end = End { at: at(20), reason, detail: Some("enough".to_owned()), failure };
    SessionEnd { id: id(n), end, at: at(21), guard: EndGuard::Always, entry: entry(n, "session_end") }
}
