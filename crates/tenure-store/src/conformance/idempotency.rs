//! What every store promises of the keys under which requests are answered the same (LC-6).

use super::{
    Subject, actions, at, create, creation, crowd, done, end, intended, intent, page, read, ready, session, user,
};
use crate::{
    ExecIntended, ExecIntent, IdempotencyClaim, IdempotencyRecord, SessionCreate, SessionCreated, SessionFilter,
    StoredAnswer,
};
use tenure_session::{ExecId, Session, SessionId};

fn claim(owner: &str, key: &str, session_id: &SessionId, exec_id: Option<ExecId>) -> IdempotencyClaim {
    IdempotencyClaim {
        user: user(owner),
        key: key.to_owned(),
        operation: if exec_id.is_some() { "exec".to_owned() } else { "session_create".to_owned() },
        digest: "ab".repeat(32),
        session_id: session_id.clone(),
        exec_id,
        at: at(0),
    }
}

fn claimed_creation(session: Session, key: &str) -> SessionCreate {
    let claim = claim(session.owner.as_str(), key, &session.id, None);
    SessionCreate { claim: Some(claim), ..creation(session) }
}

async fn stored(store: &Subject, owner: &str, key: &str) -> Option<IdempotencyRecord> {
    store.idempotency_get(&user(owner), key).await.unwrap()
}

async fn count_sessions(store: &Subject) -> usize {
    store.session_list(SessionFilter::default(), page(1000, None)).await.unwrap().items.len()
}

/// LC-6: both are there.
pub async fn a_claim_is_made_with_its_session(store: &Subject) {
    let key = "\u{e9}".repeat(127) + "'";
    assert_eq!(stored(store, "alice", &key).await, None);
    let creation = claimed_creation(session("alice"), &key);
    let claim = creation.claim.clone().unwrap();
    assert_eq!(store.session_create(creation).await.unwrap(), SessionCreated::Made);
    assert_eq!(stored(store, "alice", &key).await, Some(IdempotencyRecord { claim, answer: None }));
}

/// LC-6: a second session is not made, and what the key was used for is said.
pub async fn a_claimed_key_makes_no_session(store: &Subject) {
    let first = claimed_creation(session("alice"), "key");
    let claim = first.claim.clone().unwrap();
    assert_eq!(store.session_create(first).await.unwrap(), SessionCreated::Made);
    let second = claimed_creation(session("alice"), "key");
    let id = second.session.id.clone();
    let record = IdempotencyRecord { claim, answer: None };
    assert_eq!(store.session_create(second).await.unwrap(), SessionCreated::Claimed(record));
    assert_eq!(store.session_get(&id).await.unwrap(), None);
    assert_eq!(store.session_document(&id).await.unwrap(), None);
    assert_eq!(actions(store, &id).await, [""; 0]);
}

/// LC-6: concurrent duplicates make one session, and all hear of it.
pub async fn of_many_creations_under_one_key_one_is_made(store: &Subject) {
    let said = crowd(store, |_, store| {
        let creation = claimed_creation(session("alice"), "key");
        async move { (creation.session.id.clone(), store.session_create(creation).await.unwrap()) }
    })
    .await;
    let made: Vec<_> = said.iter().filter(|(_, made)| *made == SessionCreated::Made).collect();
    assert_eq!(made.len(), 1);
    for (id, created) in &said {
        match created {
            SessionCreated::Made => assert!(store.session_get(id).await.unwrap().is_some()),
            SessionCreated::Claimed(record) => assert_eq!(record.claim.session_id, made[0].0),
            SessionCreated::IdTaken => panic!("no ID was taken"),
        }
    }
    assert_eq!(count_sessions(store).await, 1);
}

/// LC-6: the same for execs, among themselves and with sessions.
pub async fn a_claimed_key_starts_no_exec(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let claimed_intent = |key: &str| {
        let intent = intent(&id);
        let claim = claim("alice", key, &id, Some(intent.record.id.clone()));
        ExecIntent { claim: Some(claim), ..intent }
    };
    let first = claimed_intent("key");
    let claim = first.claim.clone().unwrap();
    intended(store, first).await;
    let session = read(store, &id).await;
    let audited = actions(store, &id).await;
    let second = claimed_intent("key");
    let record = IdempotencyRecord { claim, answer: None };
    assert_eq!(store.exec_intend(second).await.unwrap(), ExecIntended::Claimed(record.clone()));
    assert_eq!(store.exec_unsettled(&id).await.unwrap().len(), 1);
    assert_eq!(read(store, &id).await, session);
    let creation = claimed_creation(super::session("alice"), "key");
    assert_eq!(store.session_create(creation).await.unwrap(), SessionCreated::Claimed(record));

    let said = crowd(store, |_, store| {
        let intent = claimed_intent("crowd");
        async move { matches!(store.exec_intend(intent).await.unwrap(), ExecIntended::Done(_)) }
    })
    .await;
    assert_eq!(said.into_iter().filter(|done| *done).count(), 1);
    assert_eq!(store.exec_unsettled(&id).await.unwrap().len(), 2);
    assert_eq!(actions(store, &id).await.len(), audited.len() + 1);
}

/// LC-6: only what was admitted uses its key up.
pub async fn a_refused_exec_claims_no_key(store: &Subject) {
    let id = ready(store, "alice").await.id;
    done(store.session_end(end(&id, 20)).await);
    let intent = intent(&id);
    let claim = claim("alice", "key", &id, Some(intent.record.id.clone()));
    let refused = store.exec_intend(ExecIntent { claim: Some(claim), ..intent }).await.unwrap();
    assert!(matches!(refused, ExecIntended::Refused(_)), "{refused:?}");
    assert_eq!(stored(store, "alice", "key").await, None);
}

/// LC-5, LC-6: whoever tries again with other digits has their key still.
pub async fn a_taken_id_claims_no_key(store: &Subject) {
    let first = create(store, session("alice")).await;
    let second = Session { id: first.id, ..session("bob") };
    let made = store.session_create(claimed_creation(second, "key")).await.unwrap();
    assert_eq!(made, SessionCreated::IdTaken);
    assert_eq!(stored(store, "bob", "key").await, None);
}

/// LC-6: the answer that was given first is given for ever, also after the session's end.
pub async fn the_first_answer_is_kept(store: &Subject) {
    let creation = claimed_creation(session("alice"), "key");
    let (id, claim) = (creation.session.id.clone(), creation.claim.clone().unwrap());
    assert_eq!(store.session_create(creation).await.unwrap(), SessionCreated::Made);
    let first = StoredAnswer { status: 201, body: (0..=255).collect() };
    store.idempotency_answer(&user("alice"), "key", first.clone()).await.unwrap();
    let other = StoredAnswer { status: 503, body: Vec::new() };
    store.idempotency_answer(&user("alice"), "key", other.clone()).await.unwrap();
    store.idempotency_answer(&user("bob"), "key", other).await.unwrap();
    let record = Some(IdempotencyRecord { claim, answer: Some(first) });
    assert_eq!(stored(store, "alice", "key").await, record);
    done(store.session_delete(super::deletion(&id)).await);
    assert_eq!(stored(store, "alice", "key").await, record);
    assert_eq!(stored(store, "bob", "key").await, None);
}

/// LC-6: two users, one word, two keys; and a key is taken letter by letter.
pub async fn keys_of_requests_belong_to_their_user(store: &Subject) {
    for (owner, key) in [("alice", "key"), ("bob", "key"), ("alice", "KEY"), ("alice", "key ")] {
        let made = store.session_create(claimed_creation(session(owner), key)).await.unwrap();
        assert_eq!(made, SessionCreated::Made, "{owner}, {key:?}");
    }
    assert_eq!(count_sessions(store).await, 4);
}
