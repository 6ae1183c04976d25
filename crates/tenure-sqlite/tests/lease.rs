//! What renewals cost: they move the row and no index, and each live lease is visited once per TTL at most (LS-5).
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use rusqlite::Connection;
use sample::*;
use tenure_session::LeaseToken;
use tenure_sqlite::{SqliteOptions, SqliteStore};
use tenure_store::{LeaseBeat, LeaseRenewed, Store};

/// LS-5
#[tokio::test]
async fn a_renewal_moves_no_index_and_the_deadline_follows_when_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    let store = SqliteStore::open(SqliteOptions::new(&path)).unwrap();
    store.session_create(create(1)).await.unwrap();
    let sql = Connection::open(&path).unwrap();
    let deadline = || -> i64 { sql.query_row("SELECT deadline_at FROM sessions", [], |row| row.get(0)).unwrap() };
    let first = deadline();
    assert_eq!(first, at(60_000).as_ms());
    for beat in 1..=10 {
        let beat = LeaseBeat { id: id(1), token: LeaseToken(1), at: at(5_000 * beat) };
        assert!(matches!(store.lease_renew(beat).await.unwrap(), LeaseRenewed::Renewed(_)));
        assert_eq!(deadline(), first, "too early, and never too late");
    }
    // One visit, and nothing until the lease runs out again.
    assert_eq!(store.session_due(at(60_000), 10).await.unwrap(), []);
    assert_eq!(deadline(), at(110_000).as_ms());
    assert_eq!(store.session_due(at(109_999), 10).await.unwrap(), []);
    assert_eq!(store.session_due(at(110_000), 10).await.unwrap().len(), 1);
}

/// LS-2, LS-5: found by its name.
#[test]
fn a_renewal_looks_at_one_row() {
    let sql = Connection::open_in_memory().unwrap();
    sql.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
    let plan: Vec<String> = sql
        .prepare("EXPLAIN QUERY PLAN UPDATE sessions SET lease_expires_at = ?3 WHERE id = ?1 AND lease_token = ?2")
        .unwrap()
        .query_map([None::<i64>; 3], |row| row.get(3))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert!(plan.len() == 1 && plan[0].starts_with("SEARCH sessions USING"), "{plan:?}");
    let indexed: u32 = sql
        .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql LIKE '%lease_%'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(indexed, 0, "no index has to follow a renewal");
}
