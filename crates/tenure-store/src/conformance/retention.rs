//! What every store promises of what becomes of ended sessions (TR-6).

use super::{
    Subject, actions, at, count_done, create, crowd, done, entries, entry, page, read, ready, refused, session,
};
use crate::{
    ArchiveContent, ArchiveRecord, AuditFilter, ContentDigest, EndGuard, ExecIntended, ExecIntent, ExecLedgerState,
    ExecOutcome, ExecRecord, IdempotencyClaim, PreviewRecord, RetentionArchive, RetentionDue, RetentionPurge,
    RetentionQueue, SessionDelete, SessionEnd, SessionFilter, StoredAnswer, StreamTotal,
};
use serde_json::json;
use std::collections::BTreeMap;
use tenure_digest::Sha256Digest;
use tenure_session::{End, EnvironmentState, ExecId, Session, SessionId, State, TerminationReason};

/// A session without an environment that ended so many seconds after the suite's time begins.
async fn ended(store: &Subject, seconds: u64) -> Session {
    let words = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let variables = BTreeMap::from([("TOKEN".to_owned(), "secret".to_owned())]);
    let made = Session { state: State::Ready, environment: None, metadata: words, variables, ..session("alice") };
    let made = create(store, made).await;
    end(store, &made.id, seconds).await
}

async fn end(store: &Subject, id: &SessionId, seconds: u64) -> Session {
    let end = End {
        at: at(seconds),
        reason: TerminationReason::Completed,
        detail: Some("handed in".to_owned()),
        failure: None,
    };
    let entry = entry(id, "session_end");
    done(store.session_end(SessionEnd { id: id.clone(), end, at: at(seconds), guard: EndGuard::Always, entry }).await)
}

async fn delete(store: &Subject, session: &Session, seconds: u64) -> Session {
    let end = End { at: at(seconds), reason: TerminationReason::Deleted, detail: None, failure: None };
    let end = (end, entry(&session.id, "session_end"));
    let change =
        SessionDelete { id: session.id.clone(), at: at(seconds), end, entry: entry(&session.id, "session_delete") };
    done(store.session_delete(change).await)
}

/// A session that has one of everything, and has ended.
async fn full(store: &Subject) -> (Session, ExecRecord) {
    let made = ready(store, "alice").await;
    let id = &made.id;
    let preview = PreviewRecord { session_id: id.clone(), port: 8080, created_at: at(11) };
    store.preview_put(preview, entry(id, "preview_register")).await.unwrap();
    let record = ExecRecord {
        id: ExecId::new(super::unique().to_be_bytes()),
        session_id: id.clone(),
        generation: 1,
        cmd: vec!["cat".to_owned(), "the \u{1F5DD} file".to_owned()],
        cwd: "/workspace".to_owned(),
        user: Some("tenant".to_owned()),
        tag: Some("tag".to_owned()),
        background: true,
        timeout_ms: Some(300_000),
        state: ExecLedgerState::Intended,
        created_at: at(12),
        started_at: None,
        outcome: None,
    };
    let claim = IdempotencyClaim {
        user: "alice".parse().unwrap(),
        key: format!("exec in {id}"),
        operation: "exec_run".to_owned(),
        digest: "d".to_owned(),
        session_id: id.clone(),
        exec_id: Some(record.id.clone()),
        at: at(12),
    };
    let intent = ExecIntent {
        record: record.clone(),
        claim: Some(claim),
        activity: Some("exec".to_owned()),
        running_entry: entry(id, "session_move"),
        entry: entry(id, "exec"),
    };
    assert!(matches!(store.exec_intend(intent).await.unwrap(), ExecIntended::Done(_)));
    let outcome = ExecOutcome {
        state: ExecLedgerState::Exited,
        ended_at: at(13),
        exit_code: Some(3),
        signal: None,
        timed_out: false,
        oom_killed: false,
        error: None,
        stdout: StreamTotal { bytes: 7, dropped: 1 },
        stderr: StreamTotal::default(),
        duration_ms: Some(1000),
    };
    assert!(store.exec_settle(&record.id, outcome, None).await.unwrap());
    let record = store.exec_get(id, &record.id).await.unwrap().unwrap();
    let ended = end(store, id, 20).await;
    let gone = store.session_environment(id, 1, EnvironmentState::Gone, at(21), None).await;
    assert_eq!(ended.end, done(gone).end);
    (read(store, id).await, record)
}

fn due(queue: RetentionQueue, seconds: u64) -> RetentionDue {
    RetentionDue { queue, by: at(seconds), after: None, limit: 100 }
}

async fn found(store: &Subject, due: RetentionDue) -> Vec<SessionId> {
    store.retention_due(due).await.unwrap().into_iter().map(|session| session.id).collect()
}

async fn content(store: &Subject, id: &SessionId) -> ArchiveContent {
    store.retention_content(id).await.unwrap().expect("there is a content")
}

fn output() -> ContentDigest {
    ContentDigest { sha256: Sha256Digest([7; 32]), bytes: 42 }
}

/// The archiving of a session as it is now.
async fn archiving(store: &Subject, session: &Session) -> RetentionArchive {
    RetentionArchive {
        id: session.id.clone(),
        at: at(100),
        deleted_at: session.deleted_at,
        content: content(store, &session.id).await.pack().unwrap(),
        output: Some(output()),
        entry: entry(&session.id, "archive"),
    }
}

async fn archived(store: &Subject, session: &Session) -> Session {
    done(store.retention_archive(archiving(store, session).await).await)
}

fn purging(id: &SessionId) -> RetentionPurge {
    RetentionPurge { id: id.clone(), at: at(200), entry: entry(id, "purge") }
}

/// TR-6: at the instant itself, each in its own queue, earliest first.
pub async fn what_is_due_is_what_ended_or_was_deleted_by_then(store: &Subject) {
    let late = ended(store, 30).await;
    let early = ended(store, 20).await;
    let deleted = ended(store, 10).await;
    let deleted = delete(store, &deleted, 40).await;
    ready(store, "alice").await;
    use RetentionQueue::{Archived, Deleted, Ended};
    assert_eq!(found(store, due(Ended, 19)).await, []);
    assert_eq!(found(store, due(Ended, 20)).await, std::slice::from_ref(&early.id));
    assert_eq!(found(store, due(Ended, 99)).await, [early.id.clone(), late.id.clone()]);
    assert_eq!(found(store, due(Deleted, 39)).await, [], "it is the deletion that counts");
    assert_eq!(found(store, due(Deleted, 40)).await, std::slice::from_ref(&deleted.id));
    assert_eq!(found(store, due(Archived, 99)).await, []);
    archived(store, &early).await;
    archived(store, &deleted).await;
    assert_eq!(found(store, due(Ended, 99)).await, [late.id]);
    assert_eq!(found(store, due(Deleted, 99)).await, []);
    assert_eq!(found(store, due(Archived, 19)).await, std::slice::from_ref(&deleted.id));
    assert_eq!(found(store, due(Archived, 20)).await, [deleted.id.clone(), early.id.clone()]);
    done(store.retention_purge(purging(&deleted.id)).await);
    assert_eq!(found(store, due(Archived, 99)).await, [early.id]);
}

/// TR-6: none twice, none left out, also where many ended at one instant.
pub async fn what_is_due_is_looked_at_in_pieces(store: &Subject) {
    for seconds in [20, 21, 21, 21, 21, 22] {
        ended(store, seconds).await;
    }
    let whole = store.retention_due(due(RetentionQueue::Ended, 99)).await.unwrap();
    assert_eq!(whole.len(), 6);
    for limit in 1..7 {
        let mut pieces = Vec::new();
        let mut after = None;
        loop {
            let due = RetentionDue { after, limit, ..due(RetentionQueue::Ended, 99) };
            let piece = store.retention_due(due).await.unwrap();
            assert!(piece.len() <= limit as usize);
            let Some(last) = piece.last() else { break };
            after = Some((last.end.as_ref().unwrap().at, last.id.clone()));
            pieces.extend(piece);
        }
        assert_eq!(pieces, whole, "in pieces of {limit}");
    }
}

/// TR-6, TM-8: whose environment is not known to be gone, and who lives, is neither due nor archived.
pub async fn what_still_has_something_to_take_down_is_not_due(store: &Subject) {
    let lives = ready(store, "alice").await;
    let lost = ready(store, "alice").await;
    let lost = end(store, &lost.id, 20).await;
    let deleted = ready(store, "alice").await;
    let deleted = delete(store, &deleted, 20).await;
    for queue in [RetentionQueue::Ended, RetentionQueue::Deleted] {
        assert_eq!(found(store, due(queue, 99)).await, []);
    }
    for session in [lives, lost, deleted] {
        assert_eq!(refused(store.retention_archive(archiving(store, &session).await).await), session);
        assert_eq!(read(store, &session.id).await, session);
        assert_eq!(store.retention_record(&session.id).await.unwrap(), None);
    }
}

/// TR-6, TM-1, EN-4: what left the tables is read as it was read before.
pub async fn an_archived_session_keeps_its_end_and_its_record(store: &Subject) {
    let (session, exec) = full(store).await;
    let id = &session.id;
    let before = content(store, id).await;
    assert_eq!((before.execs.as_slice(), before.previews.len()), (std::slice::from_ref(&exec), 1));
    assert_eq!(before.document, Some(json!({"turn": 0})));
    let said = archived(store, &session).await;
    let expected = Session {
        archived_at: Some(at(100)),
        updated_at: at(100),
        metadata: BTreeMap::new(),
        variables: BTreeMap::new(),
        ..session.clone()
    };
    assert_eq!(said, expected);
    assert_eq!(read(store, id).await, expected);
    assert_eq!(content(store, id).await, before, "nothing of it is lost");
    assert_eq!(store.exec_get(id, &exec.id).await.unwrap(), Some(exec.clone()));
    assert_eq!(store.exec_list(id, page(10, None)).await.unwrap().items, [exec]);
    assert_eq!(store.exec_unsettled(id).await.unwrap(), []);
    assert_eq!(store.session_document(id).await.unwrap(), before.document);
    assert_eq!(store.preview_list(id).await.unwrap(), [], "nothing is reachable");
    let digest = before.pack().unwrap().digest;
    let record = ArchiveRecord {
        session_id: id.clone(),
        archived_at: at(100),
        purged_at: None,
        execs: 1,
        content: digest,
        output: Some(output()),
    };
    assert_eq!(store.retention_record(id).await.unwrap(), Some(record));
    assert_eq!(actions(store, id).await.last().map(String::as_str), Some("archive"));
}

/// TR-6: one way, once.
pub async fn a_session_is_archived_once(store: &Subject) {
    let session = ended(store, 20).await;
    let again = archiving(store, &session).await;
    let first = archived(store, &session).await;
    let record = store.retention_record(&session.id).await.unwrap();
    assert_eq!(refused(store.retention_archive(RetentionArchive { at: at(150), output: None, ..again }).await), first);
    assert_eq!(store.retention_record(&session.id).await.unwrap(), record);
    assert_eq!(actions(store, &session.id).await.iter().filter(|action| *action == "archive").count(), 1);
    let nobody = super::session("alice").id;
    let nothing = ArchiveContent { metadata: BTreeMap::new(), document: None, previews: vec![], execs: vec![] };
    assert_eq!(store.retention_content(&nobody).await.unwrap(), None);
    assert_eq!(store.retention_record(&nobody).await.unwrap(), None);
    let missing = RetentionArchive {
        id: nobody.clone(),
        at: at(1),
        deleted_at: None,
        content: nothing.pack().unwrap(),
        output: None,
        entry: entry(&nobody, "archive"),
    };
    assert_eq!(store.retention_archive(missing).await.unwrap(), crate::Changed::Missing);
    assert_eq!(store.retention_purge(purging(&nobody)).await.unwrap(), crate::Changed::Missing);
}

/// TR-6: also where many want it.
pub async fn of_many_that_archive_a_session_one_does(store: &Subject) {
    let session = ended(store, 20).await;
    let archiving = archiving(store, &session).await;
    let said = crowd(store, |_, store| {
        let archiving = archiving.clone();
        async move { store.retention_archive(archiving).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
    let said = crowd(store, |_, store| {
        let purging = purging(&session.id);
        async move { store.retention_purge(purging).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
}

/// TR-6: a deletion opens its window, undeleting takes it back, and a ledger that is not the one that was packed is not thrown away.
pub async fn what_changed_meanwhile_is_not_archived(store: &Subject) {
    let session = ended(store, 20).await;
    let archiving_kept = archiving(store, &session).await;
    let deleted = delete(store, &session, 50).await;
    assert_eq!(refused(store.retention_archive(archiving_kept).await), deleted);
    let archiving_deleted = archiving(store, &deleted).await;
    let back = done(store.session_undelete(&session.id, at(60), entry(&session.id, "session_undelete")).await);
    assert_eq!(refused(store.retention_archive(archiving_deleted).await), back);

    let (session, exec) = full(store).await;
    let less = ArchiveContent { execs: vec![], ..content(store, &session.id).await };
    let archiving = RetentionArchive { content: less.pack().unwrap(), ..archiving(store, &session).await };
    assert_eq!(refused(store.retention_archive(archiving).await), session);
    assert_eq!(store.exec_get(&session.id, &exec.id).await.unwrap(), Some(exec));
    assert!(!actions(store, &session.id).await.contains(&"archive".to_owned()));
}

/// TR-6: nothing of an archived session changes.
pub async fn an_archived_session_is_neither_deleted_nor_brought_back(store: &Subject) {
    let kept = ended(store, 20).await;
    let kept = archived(store, &kept).await;
    let deleted = ended(store, 20).await;
    let deleted = delete(store, &deleted, 30).await;
    let deleted = archived(store, &deleted).await;
    assert_eq!(deleted.deleted_at, Some(at(30)));
    for session in [kept, deleted] {
        let id = &session.id;
        let end = End { at: at(300), reason: TerminationReason::Deleted, detail: None, failure: None };
        let delete = SessionDelete {
            id: id.clone(),
            at: at(300),
            end: (end.clone(), entry(id, "session_end")),
            entry: entry(id, "session_delete"),
        };
        assert_eq!(refused(store.session_delete(delete).await), session);
        assert_eq!(refused(store.session_undelete(id, at(300), entry(id, "session_undelete")).await), session);
        let again =
            SessionEnd { id: id.clone(), end, at: at(300), guard: EndGuard::Always, entry: entry(id, "session_end") };
        assert_eq!(refused(store.session_end(again).await), session);
        assert_eq!(read(store, id).await, session);
    }
}

/// TR-6
pub async fn the_archived_are_in_no_list_that_does_not_ask_for_them(store: &Subject) {
    let kept = ended(store, 20).await;
    let gone = ended(store, 20).await;
    let gone = archived(store, &gone).await;
    let list = async |filter| store.session_list(filter, page(10, None)).await.unwrap().items;
    assert_eq!(list(SessionFilter::default()).await, std::slice::from_ref(&kept));
    let terminated = SessionFilter { state: Some(State::Terminated), ..SessionFilter::default() };
    assert_eq!(list(terminated.clone()).await, std::slice::from_ref(&kept));
    let all = list(SessionFilter { include_deleted: true, ..terminated }).await;
    assert!(all.len() == 2 && all.contains(&gone) && all.contains(&kept), "{all:?}");
    let counts = store.session_count().await.unwrap();
    assert_eq!(counts.iter().find(|(state, _)| *state == State::Terminated).map(|(_, count)| *count), Some(1));
}

/// LC-6: the same key, the same answer, also of an exec whose row is in the archive; an answer that was not kept yet still is.
pub async fn answers_outlive_the_archive(store: &Subject) {
    let alice = "alice".parse().unwrap();
    let (answered, exec) = full(store).await;
    let (late, _) = full(store).await;
    let key = |session: &Session| format!("exec in {}", session.id);
    let answer = StoredAnswer { status: 200, body: b"what it printed".to_vec() };
    store.idempotency_answer(&alice, &key(&answered), answer.clone()).await.unwrap();
    for session in [&answered, &late] {
        archived(store, session).await;
    }
    store.idempotency_answer(&alice, &key(&late), answer.clone()).await.unwrap();
    for session in [&answered, &late] {
        let record = store.idempotency_get(&alice, &key(session)).await.unwrap().unwrap();
        assert_eq!(record.answer.as_ref(), Some(&answer));
        assert_eq!(record.claim.session_id, session.id);
    }
    let record = store.idempotency_get(&alice, &key(&answered)).await.unwrap().unwrap();
    assert_eq!(record.claim.exec_id, Some(exec.id));
}

/// TR-6, TM-1, LC-6: reason, times and digests stay; the claim of a key stays, with the status of its answer.
pub async fn a_purge_leaves_a_tombstone(store: &Subject) {
    let alice = "alice".parse().unwrap();
    let (session, exec) = full(store).await;
    let id = &session.id;
    let key = format!("exec in {id}");
    let answer = StoredAnswer { status: 200, body: b"what it printed".to_vec() };
    store.idempotency_answer(&alice, &key, answer).await.unwrap();
    assert_eq!(refused(store.retention_purge(purging(id)).await), session, "it is archived first");
    let before = archived(store, &session).await;
    let record = store.retention_record(id).await.unwrap().unwrap();
    let said = done(store.retention_purge(purging(id)).await);
    let end = End { detail: None, ..before.end.clone().unwrap() };
    let expected = Session { purged_at: Some(at(200)), updated_at: at(200), end: Some(end), ..before };
    assert_eq!(said, expected);
    assert_eq!(read(store, id).await, expected);
    assert_eq!(store.retention_record(id).await.unwrap(), Some(ArchiveRecord { purged_at: Some(at(200)), ..record }));
    assert_eq!(store.retention_content(id).await.unwrap(), None);
    assert_eq!(store.exec_get(id, &exec.id).await.unwrap(), None);
    assert_eq!(store.exec_list(id, page(10, None)).await.unwrap().items, []);
    assert_eq!(store.session_document(id).await.unwrap(), None);
    let claimed = store.idempotency_get(&alice, &key).await.unwrap().unwrap();
    assert_eq!(claimed.answer, Some(StoredAnswer { status: 200, body: Vec::new() }));
    assert_eq!((claimed.claim.session_id, claimed.claim.exec_id), (id.clone(), Some(exec.id)));
    assert_eq!(refused(store.retention_purge(purging(id)).await), expected, "once");
}

/// TR-5, TR-6: the metadata of its own audit goes, nobody else's, and of nothing does the digest.
pub async fn a_purge_erases_what_was_said_and_the_audit_holds(store: &Subject) {
    let session = ended(store, 20).await;
    let other = ended(store, 20).await;
    let session = archived(store, &session).await;
    done(store.retention_purge(purging(&session.id)).await);
    for entry in entries(store, AuditFilter::default()).await {
        let digests = matches!(entry.action.as_str(), "archive" | "purge");
        let erased = entry.session_id.as_ref() == Some(&session.id) && !digests;
        assert_eq!(entry.metadata.is_none(), erased, "{entry:?}");
        assert_eq!(entry.metadata_hash.len(), 64);
    }
    assert_eq!(actions(store, &session.id).await, ["session_create", "session_end", "archive", "purge"]);
    assert_eq!(content(store, &other.id).await.metadata.len(), 1);
}

/// TR-6: files are brought in line with what is stored, whenever the work was broken off.
pub async fn what_is_not_settled_is_found_until_it_is(store: &Subject) {
    let unsettled = async || {
        let found = store.retention_unsettled(10).await.unwrap();
        found.into_iter().map(|record| (record.session_id, record.purged_at.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(unsettled().await, []);
    let session = ended(store, 20).await;
    archived(store, &session).await;
    let id = &session.id;
    assert_eq!(unsettled().await, [(id.clone(), false)]);
    store.retention_settled(id, true).await.unwrap();
    assert_eq!(unsettled().await.len(), 1, "it is not purged");
    store.retention_settled(id, false).await.unwrap();
    assert_eq!(unsettled().await, []);
    done(store.retention_purge(purging(id)).await);
    assert_eq!(unsettled().await, [(id.clone(), true)]);
    store.retention_settled(id, false).await.unwrap();
    assert_eq!(unsettled().await.len(), 1, "the purge came after that");
    store.retention_settled(id, true).await.unwrap();
    assert_eq!(unsettled().await, []);
    assert_eq!(store.retention_unsettled(0).await.unwrap(), []);
}
