//! Retention in a file: what is purged is in none of its bytes any more, and what is archived survives the end of the process (TR-6).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use sample::*;
use serde_json::json;
use std::path::Path;
use tenure_session::{EnvironmentState, TerminationReason, Timestamp};
use tenure_sqlite::{SqliteOptions, SqliteStore};
use tenure_store::*;

/// In every place that holds content.
const SECRET: &str = "a-word-that-stands-nowhere-else";

async fn ended_with_secrets(store: &SqliteStore, n: u32) {
    let mut made = SessionCreate { claim: Some(claim(n)), ..create(n) };
    made.session.metadata = [("word".to_owned(), SECRET.to_owned())].into();
    made.session.variables = [("WORD".to_owned(), SECRET.to_owned())].into();
    // Long enough for pages of its own.
    made.state_document = json!({ "word": SECRET.repeat(500) });
    made.entry.metadata = json!({ "word": SECRET });
    store.session_create(made).await.unwrap();
    let mut intent = exec(n, n);
    intent.record.cmd = vec![SECRET.repeat(300)];
    store.exec_intend(intent).await.unwrap();
    let outcome = ExecOutcome {
        state: ExecLedgerState::Exited,
        ended_at: at(6),
        exit_code: Some(0),
        signal: None,
        timed_out: false,
        oom_killed: false,
        error: Some(SECRET.to_owned()),
        stdout: StreamTotal::default(),
        stderr: StreamTotal::default(),
        duration_ms: Some(1),
    };
    store.exec_settle(&exec_id(n), outcome, None).await.unwrap();
    let answer = StoredAnswer { status: 201, body: SECRET.repeat(400).into_bytes() };
    store.idempotency_answer(&"alice".parse().unwrap(), &format!("key-{n}"), answer).await.unwrap();
    let mut end = sample::end(n, TerminationReason::Completed);
    end.end.detail = Some(SECRET.to_owned());
    store.session_end(end).await.unwrap();
    store.session_environment(&id(n), 1, EnvironmentState::Gone, at(22), None).await.unwrap();
}

async fn archive(store: &SqliteStore, n: u32) {
    let content = store.retention_content(&id(n)).await.unwrap().unwrap().pack().unwrap();
    let entry = entry(n, "archive");
    let change = RetentionArchive { id: id(n), at: at(100), deleted_at: None, content, output: None, entry };
    assert!(matches!(store.retention_archive(change).await.unwrap(), Changed::Done(_)));
}

fn bytes_in(directory: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect()
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// TR-6, TR-5
#[tokio::test]
async fn a_purge_leaves_no_byte_of_the_content_in_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        heads: Some(signing(directory.path())),
        ..SqliteOptions::new(directory.path().join("tenure.db"))
    };
    let store = SqliteStore::open(options.clone()).unwrap();
    for n in 1..=3 {
        ended_with_secrets(&store, n).await;
    }
    for n in 1..=3 {
        archive(&store, n).await;
    }
    store.close().await;
    drop(store);
    assert!(holds(&bytes_in(directory.path()), SECRET), "answers, ends and the audit have it");

    let store = SqliteStore::open(options).unwrap();
    assert_eq!(store.exec_get(&id(2), &exec_id(2)).await.unwrap().unwrap().cmd, [SECRET.repeat(300)]);
    for n in 1..=3 {
        let change = RetentionPurge { id: id(n), at: at(200), entry: entry(n, "purge") };
        assert!(matches!(store.retention_purge(change).await.unwrap(), Changed::Done(_)));
    }
    audit_holds(&store).await;
    let session = store.session_get(&id(1)).await.unwrap().unwrap();
    let end = session.end.unwrap();
    assert_eq!((end.at, end.reason), (at(20), TerminationReason::Completed));
    store.close().await;
    drop(store);
    let bytes = bytes_in(directory.path());
    assert!(holds(&bytes, id(1).as_str()), "the tombstone is there");
    assert!(!holds(&bytes, SECRET), "nothing of the content is");
}

/// TR-6: not in the log either, which a server at work does not write over soon; as soon as nobody reads it.
#[tokio::test]
async fn a_purge_leaves_no_byte_of_the_content_under_a_store_at_work() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteOptions::new(directory.path().join("tenure.db"))).unwrap();
    ended_with_secrets(&store, 1).await;
    archive(&store, 1).await;
    store.session_create(create(2)).await.unwrap();
    let reader = rusqlite::Connection::open(directory.path().join("tenure.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    let change = RetentionPurge { id: id(1), at: at(200), entry: entry(1, "purge") };
    assert!(matches!(store.retention_purge(change).await.unwrap(), Changed::Done(_)));
    store.retention_settled(&id(1), true).await.unwrap();
    assert!(holds(&bytes_in(directory.path()), SECRET), "somebody reads what was there before");
    reader.execute_batch("COMMIT").unwrap();
    for _ in 0..1000 {
        store.session_activity(&id(2), at(300), "exec").await.unwrap();
        if !holds(&bytes_in(directory.path()), SECRET) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("it is still there");
}

/// TR-6: the time of a queue is where the look before ended, whatever became of what was found there.
#[tokio::test]
async fn a_session_that_stays_does_not_stand_in_the_way_of_the_next() {
    let store = SqliteStore::in_memory().unwrap();
    for n in 1..=3 {
        ended_with_secrets(&store, n).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<(Timestamp, _)> = None;
    for _ in 1..=3 {
        let due = RetentionDue { queue: RetentionQueue::Ended, by: at(1000), after: after.clone(), limit: 1 };
        let found = store.retention_due(due).await.unwrap().pop().unwrap();
        after = Some((found.end.unwrap().at, found.id.clone()));
        seen.push(found.id);
    }
    assert_eq!(seen, [id(1), id(2), id(3)]);
}
