//! The store as a whole: opened, used, closed, opened again.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use sample::*;
use tenure_session::{Session, State};
use tenure_sqlite::{OpenError, SqliteOptions, SqliteStore};
use tenure_store::{Changed, SessionCreate, SessionCreated, Store};

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

/// AU-1: nobody else reads what is in it.
#[tokio::test]
async fn its_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenure.db");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let options = SqliteOptions { heads: Some(signing(directory.path())), ..SqliteOptions::new(path) };
    let store = SqliteStore::open(options).unwrap();
    store.session_create(create(1)).await.unwrap();
    let mut names = Vec::new();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    // The index of the log is in no file: where a disk refuses a write to one that is mapped, the process is killed.
    assert_eq!(names, ["heads.jsonl", "lock", "tenure.db", "tenure.db-wal"]);
}

/// TM-1, AU-1: a copy is made from under a store at work, has no name that stays, and is nobody else's.
#[tokio::test]
async fn a_copy_is_of_one_instant_and_leaves_nothing() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("3.copy"), "cut off").unwrap();
    let store = SqliteStore::open(SqliteOptions::new(directory.path().join("tenure.db"))).unwrap();
    store.session_create(create(1)).await.unwrap();
    let mut copy = store.backup().await.unwrap();
    let seen = copy.metadata().unwrap();
    assert_eq!((seen.permissions().mode() & 0o777, seen.nlink()), (0o600, 0));
    store.session_create(create(2)).await.unwrap();
    let names = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().ends_with(".copy")));

    let elsewhere = directory.path().join("copied.db");
    std::io::copy(&mut copy, &mut std::fs::File::create(&elsewhere).unwrap()).unwrap();
    store.close().await;
    let copied = SqliteStore::open(SqliteOptions::new(elsewhere)).unwrap();
    assert_eq!(copied.session_get(&create(1).session.id).await, Ok(Some(create(1).session)));
    assert_eq!(copied.session_get(&create(2).session.id).await, Ok(None));
    assert!(SqliteStore::in_memory().unwrap().backup().await.is_err());
}

/// TM-1: what is queued when the store is closed is done, and everything is in one file then.
#[tokio::test]
async fn closing_does_what_is_queued_and_leaves_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(directory.path().join("tenure.db"));
    let store = std::sync::Arc::new(SqliteStore::open(options.clone()).unwrap());
    let creates: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.session_create(create(n)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    let mut done = Vec::new();
    for (n, create) in (0..).zip(creates) {
        if create.await.unwrap().is_ok() {
            done.push(n);
        }
    }
    assert!(!directory.path().join("tenure.db-wal").exists());
    let again = SqliteStore::open(options).unwrap();
    for n in 0..100 {
        assert_eq!(again.session_get(&id(n)).await.unwrap().is_some(), done.contains(&n), "{n}");
    }
}

/// GV-3, LS-5: a deadline that was left too early is moved when it comes, and hides nothing that is due.
#[tokio::test]
async fn a_session_that_was_worked_in_is_due_later() {
    let store = SqliteStore::in_memory().unwrap();
    let idle_ms = session(0).limits.idle_timeout_ms.unwrap() as i64;
    for n in 0..5 {
        let session = Session { lease: None, ..session(n) };
        store.session_create(SessionCreate { session, ..create(n) }).await.unwrap();
    }
    for n in 0..4 {
        store.session_activity(&id(n), at(1000 + i64::from(n)), "exec").await.unwrap();
    }
    let due = async |ms, limit| {
        let due = store.session_due(at(ms), limit).await.unwrap();
        due.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    assert_eq!(due(idle_ms - 1, 10).await, []);
    assert_eq!(due(idle_ms, 1).await, [id(4)]);
    assert_eq!(due(idle_ms + 999, 10).await, [id(4)]);
    assert_eq!(due(idle_ms + 1001, 10).await, [id(4), id(0), id(1)]);
}
