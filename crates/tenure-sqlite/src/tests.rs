//! The writer under errors, from inside: a full database, a change that panics, a file that cannot be written.

use crate::failure::Failure;
use crate::retention::{due_query as retention_due_query, unsettled_query};
use crate::session::{due_query, unfinished_query};
use crate::{SqliteOptions, SqliteStore};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tempfile::TempDir;
use tenure_store::{RetentionQueue, Store, StoreError};

fn store() -> (Arc<SqliteStore>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(SqliteOptions::new(directory.path().join("tenure.db"))).unwrap();
    (Arc::new(store), directory)
}

/// Keeps the writer busy until the other end lets go, so that whatever is asked meanwhile goes into one batch.
fn hold(store: &Arc<SqliteStore>) -> std::sync::mpsc::Sender<()> {
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let store = store.clone();
    let (holds, held) = std::sync::mpsc::channel();
    tokio::spawn(async move {
        let wait = Arc::new(wait);
        store
            .change(move |_| {
                let _ = holds.send(());
                let _ = wait.lock().unwrap().recv();
                Ok(())
            })
            .await
    });
    held.recv().unwrap();
    let_go
}

fn write_bytes(sql: &Connection, n: u32, bytes: usize) -> Result<(), Failure> {
    sql.execute("INSERT INTO ballast (n, bytes) VALUES (?1, zeroblob(?2))", (n, bytes as i64))?;
    Ok(())
}

async fn stored(store: &SqliteStore) -> Vec<u32> {
    let read = |sql: &Connection| {
        let mut query = sql.prepare("SELECT n FROM ballast ORDER BY n")?;
        let found = query.query_map([], |row| row.get(0))?.collect::<Result<Vec<u32>, _>>()?;
        Ok(found)
    };
    store.list(read).await.unwrap()
}

async fn make_ballast(store: &SqliteStore) {
    let make = |sql: &Connection| Ok(sql.execute_batch("CREATE TABLE ballast (n INTEGER PRIMARY KEY, bytes BLOB)")?);
    store.change(move |writing| make(writing.sql)).await.unwrap();
}

async fn limit_pages(store: &SqliteStore, more: Option<u32>) {
    store
        .change(move |writing| {
            let pages: u32 = writing.sql.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let most = more.map_or(1 << 30, |more| pages + more);
            writing.sql.pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))?;
            Ok(())
        })
        .await
        .unwrap();
}

/// TM-1: a full database in the middle of a batch takes the transaction away; whoever fits is done, whoever does not is told, nothing else is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_in_a_batch_fails_those_that_do_not_fit_and_no_others() {
    let (store, _directory) = store();
    make_ballast(&store).await;
    limit_pages(&store, Some(60)).await;
    let let_go = hold(&store);
    let runs = Arc::new(AtomicU32::new(0));
    let writes: Vec<_> = (0..20)
        .map(|n| {
            let (store, runs) = (store.clone(), runs.clone());
            // Number 7 asks for more than there is, the others for a little.
            let bytes = if n == 7 { 4096 * 1000 } else { 4096 };
            tokio::spawn(async move {
                let change = move |writing: &crate::writer::Writing<'_>| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    write_bytes(writing.sql, n, bytes)
                };
                (n, store.change(change).await)
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    drop(let_go);
    let mut done = Vec::new();
    for write in writes {
        match write.await.unwrap() {
            (n, Ok(())) => done.push(n),
            (n, Err(error)) => assert!(n == 7 && matches!(error, StoreError::Full(_)), "{n}: {error}"),
        }
    }
    assert!(runs.load(Ordering::Relaxed) > 20, "the batch was undone, and each change ran again");
    assert_eq!(stored(&store).await, done, "what was answered is there, and nothing else is");
    assert_eq!(done.len(), 19);

    limit_pages(&store, None).await;
    store.change(|writing| write_bytes(writing.sql, 7, 4096 * 1000)).await.unwrap();
    assert_eq!(stored(&store).await.len(), 20, "it works again once there is room");
}

/// TM-1, LS-5: a change of one statement has no savepoint; where it fails, or panics, nobody beside it loses anything, and nothing of it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_one_statement_that_fails_is_undone_alone() {
    let (store, _directory) = store();
    make_ballast(&store).await;
    let let_go = hold(&store);
    let writes: Vec<_> = (0..12)
        .map(|n| {
            let store = store.clone();
            let change = move |writing: &crate::writer::Writing<'_>| {
                write_bytes(writing.sql, n, 10)?;
                match n {
                    4 => Err(Failure::impossible("it fails after it wrote")),
                    8 => panic!("it panics after it wrote"),
                    _ => Ok(()),
                }
            };
            // Some of both kinds in one batch.
            tokio::spawn(async move {
                let changed =
                    if n % 4 == 0 { store.change_by_one_statement(change).await } else { store.change(change).await };
                (n, changed.is_ok())
            })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    drop(let_go);
    for write in writes {
        let (n, done) = write.await.unwrap();
        assert_eq!(done, n != 4 && n != 8, "{n}");
    }
    assert_eq!(stored(&store).await, [0, 1, 2, 3, 5, 6, 7, 9, 10, 11]);
}

/// OB-7: a panic is one change's own, and those beside it are done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_panics_is_undone_alone() {
    let (store, _directory) = store();
    make_ballast(&store).await;
    let let_go = hold(&store);
    let writes: Vec<_> = (0..10)
        .map(|n| {
            let store = store.clone();
            let change = move |writing: &crate::writer::Writing<'_>| {
                write_bytes(writing.sql, n, 10)?;
                assert_ne!(n, 4, "this one panics, on purpose");
                Ok(())
            };
            tokio::spawn(async move { store.change(change).await })
        })
        .collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    drop(let_go);
    for (n, write) in writes.into_iter().enumerate() {
        assert_eq!(write.await.unwrap().is_err(), n == 4);
    }
    assert_eq!(stored(&store).await, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
}

/// A reader sees what was committed, and does not wait for a change that takes long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_does_not_wait_for_a_long_write() {
    let (store, _directory) = store();
    make_ballast(&store).await;
    let finished = Arc::new(AtomicBool::new(false));
    let (wrote, written) = std::sync::mpsc::channel();
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (writer, flag) = (store.clone(), finished.clone());
    let long = tokio::spawn(async move {
        let change = move |writing: &crate::writer::Writing<'_>| {
            write_bytes(writing.sql, 1, 10)?;
            let _ = wrote.send(());
            let _ = wait.lock().unwrap().recv();
            flag.store(true, Ordering::SeqCst);
            Ok(())
        };
        writer.change(change).await
    });
    written.recv().unwrap();
    assert!(stored(&store).await.is_empty());
    assert_eq!(store.clock_get().await, Ok(None));
    assert!(!finished.load(Ordering::SeqCst), "both were read while the change went on");
    drop(let_go);
    long.await.unwrap().unwrap();
    assert_eq!(stored(&store).await, [1]);
}

/// LS-5: what is due costs what is due, and what a start looks after costs that.
#[tokio::test]
async fn what_is_due_and_what_is_unfinished_are_found_by_their_indexes() {
    let (store, _directory) = store();
    let plan = async |query: String| {
        let explain = move |sql: &Connection| {
            let mut query = sql.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
            let steps = query.query_map([1, 1], |row| row.get(3))?.collect::<Result<Vec<String>, _>>()?;
            Ok(steps)
        };
        store.list(explain).await.unwrap()
    };
    assert_eq!(plan(due_query()).await, ["SEARCH sessions USING INDEX sessions_due (deadline_at<?)"]);
    assert_eq!(plan(unfinished_query()).await, ["SEARCH sessions USING INDEX sessions_unfinished (id>?)"]);
}

/// TR-6: the same holds of what is to be archived and purged, and of what a kill left to be tidied. Nothing is sorted, so that a piece costs a piece.
#[tokio::test]
async fn what_is_to_be_archived_or_purged_is_found_by_its_index() {
    let (store, _directory) = store();
    let plan = async |query: String, parameters: usize| {
        let explain = move |sql: &Connection| {
            let mut query = sql.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
            let parameters = rusqlite::params_from_iter(vec![1; parameters]);
            let steps = query.query_map(parameters, |row| row.get(3))?.collect::<Result<Vec<String>, _>>()?;
            Ok(steps)
        };
        store.list(explain).await.unwrap()
    };
    for (queue, index) in [
        (RetentionQueue::Ended, "sessions_archivable ((terminated_at,id)>(?,?) AND terminated_at<?)"),
        (RetentionQueue::Deleted, "sessions_archivable_deleted ((deleted_at,id)>(?,?) AND deleted_at<?)"),
        (RetentionQueue::Archived, "sessions_purgeable ((terminated_at,id)>(?,?) AND terminated_at<?)"),
    ] {
        assert_eq!(plan(retention_due_query(queue), 4).await, [format!("SEARCH sessions USING INDEX {index}")]);
    }
    assert_eq!(plan(unsettled_query(), 1).await, ["SCAN archives USING INDEX archives_unsettled"]);
}
