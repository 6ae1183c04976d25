//! Signed heads: when they are made, and what they find (TR-5).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use rusqlite::Connection;
use sample::*;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tenure_sqlite::{HeadSigning, SqliteOptions, SqliteStore};
use tenure_store::audit::{ProblemKind, log};
use tenure_store::{SignedHead, Store};

fn options(directory: &Path) -> SqliteOptions {
    SqliteOptions { heads: Some(signing(directory)), ..SqliteOptions::new(directory.join("tenure.db")) }
}

fn heads_in(file: &Path) -> Vec<SignedHead> {
    log::read_heads(std::io::BufReader::new(std::fs::File::open(file).unwrap())).unwrap().heads
}

/// TR-5
#[tokio::test]
async fn a_tail_removed_together_with_its_head_is_found_through_the_file() {
    let directory = tempfile::tempdir().unwrap();
    for n in 1..=3 {
        let store = SqliteStore::open(options(directory.path())).unwrap();
        store.session_create(create(n)).await.unwrap();
        store.close().await;
    }
    // Somebody who holds the database drops the guards, and with them the last entry and its head.
    let sql = Connection::open(directory.path().join("tenure.db")).unwrap();
    let cut = "DROP TRIGGER audit_stays; DROP TRIGGER audit_heads_stay; \
               DELETE FROM audit_heads WHERE position = 3; DELETE FROM audit WHERE position = 3;";
    sql.execute_batch(cut).unwrap();
    let store = SqliteStore::open(SqliteOptions::new(directory.path().join("tenure.db"))).unwrap();
    let within = verify_with(&store, &[]).await;
    assert!(within.problem.is_none(), "nothing in the database shows it: {within:?}");
    let found = verify_with(&store, &heads_in(&directory.path().join("heads.jsonl"))).await.problem.unwrap();
    assert_eq!((found.kind, found.position), (ProblemKind::MissingTail, 3));
}

/// TR-5
#[tokio::test]
async fn a_head_is_signed_within_a_second_and_not_more_often() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(AtomicI64::new(0));
    let read = clock.clone();
    let now = Arc::new(move || at(read.load(Ordering::SeqCst)));
    let heads = Some(HeadSigning { now, ..signing(directory.path()) });
    let store = SqliteStore::open(SqliteOptions { heads, ..options(directory.path()) }).unwrap();
    let signed = async || store.audit_heads(0, 100).await.unwrap().len();
    // A writer that waits for changes looks up once a second as well: on a busy host that may be in between.
    let begun = std::time::Instant::now();
    let looks_up = || begun.elapsed().as_secs() as usize;
    for n in 1..=10 {
        store.session_create(create(n)).await.unwrap();
    }
    // The head follows the answer; the next change comes after it.
    store.probe().await.unwrap();
    let first = signed().await;
    assert!((1..=1 + looks_up()).contains(&first), "the clock stands still, and {first} heads were signed");
    clock.store(1000, Ordering::SeqCst);
    store.probe().await.unwrap();
    store.probe().await.unwrap();
    let second = signed().await;
    assert!((first + 1..=first + 1 + looks_up()).contains(&second), "{second} after {first}");
    assert_eq!(heads_in(&directory.path().join("heads.jsonl")), store.audit_heads(0, 100).await.unwrap());
    clock.store(9000, Ordering::SeqCst);
    store.probe().await.unwrap();
    store.probe().await.unwrap();
    assert_eq!(signed().await, second, "nothing was added");
    store.session_create(create(11)).await.unwrap();
    clock.store(9001, Ordering::SeqCst);
    store.session_create(create(12)).await.unwrap();
    store.close().await;
    assert_eq!(heads_in(&directory.path().join("heads.jsonl")).last().unwrap().position, 12, "closing signs the end");
}

/// TR-5: a head comes although nobody writes any more.
#[tokio::test]
async fn the_last_entry_is_signed_without_another_change() {
    let directory = tempfile::tempdir().unwrap();
    let begin = std::time::Instant::now();
    let now = Arc::new(move || at(begin.elapsed().as_millis() as i64));
    let heads = Some(HeadSigning { now, ..signing(directory.path()) });
    let store = SqliteStore::open(SqliteOptions { heads, ..options(directory.path()) }).unwrap();
    for n in 1..=2 {
        store.session_create(create(n)).await.unwrap();
    }
    let signed = async {
        while store.audit_heads(2, 1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), signed).await.unwrap();
}

/// TR-5
#[tokio::test]
async fn a_torn_line_in_the_file_is_cut_off_and_a_damaged_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("heads.jsonl");
    let store = SqliteStore::open(options(directory.path())).unwrap();
    store.session_create(create(1)).await.unwrap();
    store.close().await;
    drop(store);
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"position\":9").unwrap();
    let store = SqliteStore::open(options(directory.path())).unwrap();
    store.session_create(create(2)).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(heads_in(&file).iter().map(|head| head.position).collect::<Vec<_>>(), [1, 2]);
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"nonsense\n").unwrap();
    assert!(matches!(SqliteStore::open(options(directory.path())), Err(tenure_sqlite::OpenError::Heads(_))));
}
