//! What every store promises of a new session.

use super::{Subject, actions, at, create, creation, crowd, entry, page, read, session, user};
use crate::{Changed, SessionCreated, SessionFilter};
use serde_json::json;
use tenure_session::{
    EnforcedLimits, Lease, LeaseToken, OnExecLimit, Session, SessionId, SessionLimits, State, Timestamp,
};

/// A session in which nothing is as it is by default.
fn unusual() -> Session {
    let limits = SessionLimits {
        max_lifetime_ms: 123_456_789,
        idle_timeout_ms: None,
        max_concurrent_execs: 3,
        on_exec_limit: OnExecLimit::Reject,
        cpu_millis: 250,
        memory_bytes: 64 << 30,
        pids: 7,
        disk_bytes: 256 << 30,
        ..SessionLimits::default()
    };
    let lease = Lease {
        token: LeaseToken(41),
        ttl_ms: 60_000,
        heartbeat_interval_ms: 5000,
        expires_at: at(60),
        last_heartbeat_at: Some(at(1)),
    };
    let words = |value: &str| [("k e\u{301}y".to_owned(), value.to_owned()), (String::new(), String::new())].into();
    Session {
        limits,
        template: "lab@12".to_owned(),
        enforced: EnforcedLimits { cpu: true, memory: false, pids: true, disk: false },
        lifetime_ends_at: Timestamp::LATEST,
        lease: Some(lease),
        lease_token_last: LeaseToken(43),
        metadata: words("'; \"\n\u{1F600}"),
        variables: words("secret"),
        ..session("a.user@host:x+y/z=|-_")
    }
}

/// LC-5: row, limits, lease, document and first entry are there, as they were given.
pub async fn a_session_is_read_as_it_was_made(store: &Subject) {
    let made = unusual();
    let document = json!({"deep": {"list": [1, 2.5, null, "\u{1F600}"]}, "share": 1.0 / 3.0});
    let creation = crate::SessionCreate { state_document: document.clone(), ..creation(made.clone()) };
    assert_eq!(store.session_create(creation).await.unwrap(), SessionCreated::Made);
    assert_eq!(read(store, &made.id).await, made);
    assert_eq!(store.session_document(&made.id).await.unwrap(), Some(document));
    assert_eq!(actions(store, &made.id).await, ["session_create"]);
}

/// EN-1: it is ready, and there is no environment.
pub async fn a_session_without_an_environment_is_ready_at_once(store: &Subject) {
    let made = create(store, Session { state: State::Ready, environment: None, ..session("alice") }).await;
    assert_eq!(read(store, &made.id).await, made);
}

/// LC-5, ID-1: a collision is said, and the session that was there stays as it was.
pub async fn a_taken_id_changes_nothing(store: &Subject) {
    let first = create(store, unusual()).await;
    let second = Session { id: first.id.clone(), ..session("mallory") };
    let creation = crate::SessionCreate { state_document: json!({"other": 1}), ..creation(second) };
    assert_eq!(store.session_create(creation).await.unwrap(), SessionCreated::IdTaken);
    assert_eq!(read(store, &first.id).await, first);
    assert_eq!(store.session_document(&first.id).await.unwrap(), Some(json!({"turn": 0})));
    assert_eq!(actions(store, &first.id).await, ["session_create"]);
    let page = store.session_list(SessionFilter::default(), page(10, None)).await.unwrap();
    assert_eq!(page.items, [first]);
}

/// LC-5: the same under concurrency.
pub async fn of_many_that_want_one_id_one_gets_it(store: &Subject) {
    let wanted = session("alice");
    let said = crowd(store, |n, store| {
        let owner = user(&format!("user{n}"));
        let creation = creation(Session { owner: owner.clone(), ..wanted.clone() });
        async move { (owner, store.session_create(creation).await.unwrap()) }
    })
    .await;
    let winners: Vec<_> = said.iter().filter(|(_, made)| *made == SessionCreated::Made).collect();
    assert_eq!(winners.len(), 1);
    assert!(said.iter().all(|(_, made)| matches!(made, SessionCreated::Made | SessionCreated::IdTaken)));
    assert_eq!(read(store, &wanted.id).await.owner, winners[0].0);
    assert_eq!(actions(store, &wanted.id).await, ["session_create"]);
}

/// TR-2: what never was is told apart from everything else.
pub async fn what_is_not_there_is_missing(store: &Subject) {
    let id = SessionId::new(at(0), [0xff; 4]);
    assert_eq!(store.session_get(&id).await.unwrap(), None);
    assert_eq!(store.session_document(&id).await.unwrap(), None);
    let change = super::change(&id, State::Ready, State::Running);
    assert_eq!(store.session_move(change).await.unwrap(), Changed::Missing);
    assert_eq!(store.session_end(super::end(&id, 1)).await.unwrap(), Changed::Missing);
    assert_eq!(store.session_delete(super::deletion(&id)).await.unwrap(), Changed::Missing);
    assert_eq!(store.session_undelete(&id, at(1), entry(&id, "session_undelete")).await.unwrap(), Changed::Missing);
    assert_eq!(store.session_extend(super::extension(&id)).await.unwrap(), Changed::Missing);
    let state = tenure_session::EnvironmentState::Gone;
    let changed = store.session_environment(&id, 1, state, at(1), Some(entry(&id, "environment"))).await.unwrap();
    assert_eq!(changed, Changed::Missing);
    assert_eq!(store.session_attach(super::attachment(&id, 1)).await.unwrap(), Changed::Missing);
    let again = super::remade(&session("alice"), 1, 2, state);
    assert_eq!(store.session_remake(crate::SessionRemake { id: id.clone(), ..again }).await.unwrap(), Changed::Missing);
    assert_eq!(store.exec_intend(super::intent(&id)).await.unwrap(), crate::ExecIntended::Missing);
    store.session_activity(&id, at(1), "exec").await.unwrap();
    assert_eq!(store.preview_list(&id).await.unwrap(), []);
    assert_eq!(store.exec_unsettled(&id).await.unwrap(), []);
    assert_eq!(actions(store, &id).await, [""; 0]);
}
