//! The store as a whole: opened, used, closed, opened again.

mod sample;

use sample::*;
use tenure_session::State;
use tenure_sqlite::{OpenError, SqliteOptions, SqliteStore};
use tenure_store::{Changed, SessionCreated, Store};

/// TR-9, LC-5
#[tokio::test]
async fn what_was_made_is_read_back_from_file_and_memory() {
    let directory = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(SqliteOptions::new(directory.path().join("tenure.db"))).unwrap();
    for store in [file, SqliteStore::in_memory().unwrap()] {
        let create = create(1);
        assert_eq!(store.session_create(create.clone()).await, Ok(SessionCreated::Made));
        assert_eq!(store.session_create(create.clone()).await, Ok(SessionCreated::IdTaken));
        assert_eq!(store.session_get(&create.session.id).await, Ok(Some(create.session.clone())));
        let moved = store.session_move(move_to(1, State::Ready, State::Running)).await.unwrap();
        let Changed::Done(moved) = moved else { panic!("{moved:?}") };
        assert_eq!(store.session_get(&create.session.id).await, Ok(Some(moved)));
        store.close().await;
        assert!(store.probe().await.is_err());
    }
}

/// TR-7
#[tokio::test]
async fn a_second_opener_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(directory.path().join("tenure.db"));
    let first = SqliteStore::open(options.clone()).unwrap();
    let second = SqliteStore::open(options.clone()).err().unwrap();
    assert!(matches!(second, OpenError::Locked { pid: Some(pid) } if pid == std::process::id()), "{second}");
    drop(first);
    SqliteStore::open(options).unwrap();
}
