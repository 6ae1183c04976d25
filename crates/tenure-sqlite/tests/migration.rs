//! Databases of other versions: what each released version made is opened and brought up, and what a newer one made is left alone (TR-7).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use rusqlite::Connection;
use sample::*;
use tenure_session::{State, TerminationReason};
use tenure_sqlite::{OpenError, SqliteOptions, SqliteStore};
use tenure_store::Store;

/// Databases as each version left them, with `user_version` and `application_id` in them, and the migration that leads there.
const RELEASED: &[(&str, &str)] = &[
    (include_str!("released/v1.sql"), include_str!("../migrations/0001.sql")),
    (include_str!("released/v2.sql"), include_str!("../migrations/0002.sql")),
    (include_str!("released/v3.sql"), include_str!("../migrations/0003.sql")),
];

/// TR-7
#[tokio::test]
async fn a_database_of_each_released_version_is_opened_and_holds_what_it_held() {
    for (sample, _) in RELEASED {
        holds_what_it_held(sample).await;
    }
}

async fn holds_what_it_held(sample: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    Connection::open(&path).unwrap().execute_batch(sample).unwrap();
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
    // Versions that knew archives have one, and a tombstone.
    if let Some(archived) = store.session_get(&id(5)).await.unwrap() {
        assert!(archived.archived_at.is_some() && archived.purged_at.is_none());
        assert!(store.exec_get(&id(5), &exec_id(5)).await.unwrap().unwrap().outcome.is_some());
        assert!(store.session_get(&id(6)).await.unwrap().unwrap().purged_at.is_some());
        assert!(store.retention_content(&id(6)).await.unwrap().is_none());
    }
    assert_eq!(store.key_list().await.unwrap().len(), 2);
    assert_eq!(store.template_get("default", None).await.unwrap().unwrap().version, 1);
    let found = verify_with(&store, &[]).await;
    assert!(found.problem.is_none() && found.entries > 10 && found.heads_checked > 0, "{found:?}");
    // The guards came along.
    store.session_end(end(1, TerminationReason::Completed)).await.unwrap();
    let sql = Connection::open(&path).unwrap();
    assert!(sql.execute("UPDATE sessions SET terminated_at = NULL", []).is_err());
}

/// TR-7: a migration that was released never changes: it still makes what it made.
#[test]
fn the_migrations_make_the_schemas_that_were_released() {
    let schema = |sql: &Connection| -> Vec<String> {
        let query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY name";
        let mut query = sql.prepare(query).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let made = Connection::open_in_memory().unwrap();
    for (sample, migration) in RELEASED {
        let released = Connection::open_in_memory().unwrap();
        released.execute_batch(sample).unwrap();
        made.execute_batch(migration).unwrap();
        assert_eq!(schema(&made), schema(&released));
    }
}

/// TR-7
#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    drop(SqliteStore::open(SqliteOptions::new(&path)).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1007).unwrap();
    let refused = SqliteStore::open(SqliteOptions::new(&path)).err().unwrap();
    assert!(
        matches!(refused, OpenError::NewerSchema { found: 1007, known } if known as usize == RELEASED.len()),
        "{refused}"
    );
    let version: u32 =
        Connection::open(&path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1007);
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
