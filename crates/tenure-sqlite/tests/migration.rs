//! Databases of other versions: what each released version made is opened and brought up, and what a newer one made is left alone (TR-7).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use rusqlite::Connection;
use sample::*;
use tenure_session::{State, TerminationReason};
use tenure_sqlite::{OpenError, SqliteOptions, SqliteStore};
use tenure_store::Store;

/// A database as version 1 left it, with `user_version` and `application_id` in it.
const V1: &str = include_str!("released/v1.sql");

/// TR-7
#[tokio::test]
async fn a_database_of_version_1_is_opened_and_holds_what_it_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    Connection::open(&path).unwrap().execute_batch(V1).unwrap();
    let store = SqliteStore::open(SqliteOptions::new(&path)).unwrap();
    assert_eq!(store.session_get(&id(1)).await.unwrap().unwrap().state, State::Running);
    let ended = store.session_get(&id(2)).await.unwrap().unwrap();
    assert_eq!(ended.end.unwrap().reason, TerminationReason::UserRequest);
    let failed = store.session_get(&id(3)).await.unwrap().unwrap();
    assert!(failed.end.unwrap().failure.is_some());
    assert!(store.session_get(&id(4)).await.unwrap().unwrap().deleted_at.is_some());
    assert!(store.session_document(&id(1)).await.unwrap().is_some());
    assert!(store.exec_get(&id(2), &exec_id(2)).await.unwrap().unwrap().outcome.is_some());
    let alice = "alice".parse().unwrap();
    assert!(store.idempotency_get(&alice, "key-2").await.unwrap().unwrap().answer.is_some());
    assert_eq!(store.key_list().await.unwrap().len(), 2);
    assert_eq!(store.template_get("default", None).await.unwrap().unwrap().version, 1);
    let found = verify_with(&store, &[]).await;
    assert!(found.problem.is_none() && found.entries > 10 && found.heads_checked > 0, "{found:?}");
    // The guards came along.
    store.session_end(end(1, TerminationReason::Completed)).await.unwrap();
    let sql = Connection::open(&path).unwrap();
    assert!(sql.execute("UPDATE sessions SET terminated_at = NULL", []).is_err());
}

/// TR-7: the schema of a released version never changes.
#[test]
fn the_schema_that_version_1_left_is_the_schema_that_is_made() {
    let schema = |sql: &Connection| -> Vec<String> {
        let mut query = sql
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name")
            .unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let released = Connection::open_in_memory().unwrap();
    released.execute_batch(V1).unwrap();
    let made = Connection::open_in_memory().unwrap();
    made.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
    assert_eq!(schema(&made), schema(&released));
}

/// TR-7
#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    drop(SqliteStore::open(SqliteOptions::new(&path)).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let refused = SqliteStore::open(SqliteOptions::new(&path)).err().unwrap();
    assert!(matches!(refused, OpenError::NewerSchema { found: 7, known: 2 }), "{refused}");
    let version: u32 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 7);
}

/// TR-7
#[test]
fn a_database_of_another_program_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let refused = SqliteStore::open(SqliteOptions::new(&path)).err().unwrap();
    assert!(matches!(refused, OpenError::NotOurs), "{refused}");
    let tables: u32 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}
