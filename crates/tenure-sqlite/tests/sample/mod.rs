//! Samples of what is stored, for the tests.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(dead_code)] // Each test uses some of them.

use ed25519_dalek::SigningKey;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tenure_session::*;
use tenure_sqlite::HeadSigning;
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
        lease_token_last: LeaseToken(1),
        end: None,
        deleted_at: None,
        archived_at: None,
        purged_at: None,
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

/// An entry about no session.
pub fn service_entry(action: &str) -> AuditDraft {
    AuditDraft { session_id: None, ..entry(0, action) }
}

/// The claim of a key for the making of the n-th session.
pub fn claim(n: u32) -> IdempotencyClaim {
    IdempotencyClaim {
        user: "alice".parse().unwrap(),
        key: format!("key-{n}"),
        operation: "session_create".to_owned(),
        digest: "d".to_owned(),
        session_id: id(n),
        exec_id: None,
        at: at(0),
    }
}

/// The ID of the n-th exec.
pub fn exec_id(n: u32) -> ExecId {
    ExecId::new(u64::from(n).to_be_bytes())
}

/// The n-th exec, in this session.
pub fn exec(n: u32, session: u32) -> ExecIntent {
    let record = ExecRecord {
        id: exec_id(n),
        session_id: id(session),
        generation: 1,
        cmd: vec!["true".to_owned()],
        cwd: "/".to_owned(),
        user: None,
        tag: None,
        background: false,
        timeout_ms: None,
        state: ExecLedgerState::Intended,
        created_at: at(5),
        started_at: None,
        outcome: None,
    };
    let running_entry = entry(session, "session_move");
    ExecIntent { record, claim: None, activity: Some("exec".to_owned()), running_entry, entry: entry(session, "exec") }
}

/// The n-th key.
pub fn key(n: u32) -> KeyRecord {
    KeyRecord {
        id: KeyId::new(u64::from(n).to_be_bytes()),
        digest: format!("{n:064x}"),
        role: Role::User,
        user: "alice".parse().unwrap(),
        label: None,
        created_at: at(1),
        expires_at: None,
        revoked_at: None,
    }
}

/// A template.
pub fn template() -> TemplateRecord {
    TemplateRecord {
        name: "default".to_owned(),
        version: 0,
        base: "host".to_owned(),
        limits: LimitRequest::default(),
        lease: None,
        env: BTreeMap::new(),
        start_command: None,
        profile: Profile::Plain,
        allow_unenforced: false,
        created_at: at(1),
    }
}

/// The key that heads are signed with.
pub fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Signs into a file in this directory, at an instant that stands still.
pub fn signing(directory: &Path) -> HeadSigning {
    HeadSigning { key: signing_key(), file: directory.join("heads.jsonl"), now: Arc::new(|| at(1000)) }
}

/// All entries, in their order.
pub async fn entries(store: &dyn Store) -> Vec<AuditEntry> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.audit_list(AuditFilter::default(), PageRequest { limit: 1000, cursor }).await.unwrap();
        all.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

/// What is found where the audit is read from its beginning, with these heads beside those of the store.
pub async fn verify_with(store: &dyn Store, heads: &[SignedHead]) -> audit::Verification {
    let mut all = store.audit_heads(0, 100_000).await.unwrap();
    all.extend_from_slice(heads);
    audit::verify(Some(signing_key().verifying_key()), &all, &entries(store).await)
}

/// The audit is as it was written.
pub async fn audit_holds(store: &dyn Store) {
    let found = verify_with(store, &[]).await;
    assert!(found.problem.is_none(), "{found:?}");
}
