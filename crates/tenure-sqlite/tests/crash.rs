//! The process is killed, or the host has no room, in the middle of writing: nothing that was acknowledged is lost, and nothing is half there.
//!
//! Each test starts its own program again as the process that is killed. That one says on its standard output what was acknowledged.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sample;

use sample::*;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tenure_session::{State, TerminationReason, Timestamp};
use tenure_sqlite::{HeadSigning, SqliteOptions, SqliteStore};
use tenure_store::{Changed, SessionCreate, Store, StoreError};

/// Where the child works, and which session is its first.
const CHILD: &str = "TENURE_SQLITE_TEST_CHILD";

/// How often the child is killed.
const KILLS: u32 = 50;

fn options(directory: &Path) -> SqliteOptions {
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_ms(since.as_millis() as i64)
    };
    let heads = HeadSigning { now: Arc::new(now), ..signing(directory) };
    SqliteOptions { heads: Some(heads), ..SqliteOptions::new(directory.join("tenure.db")) }
}

/// This test again, in a process of its own.
fn again(test: &str, directory: &Path, first: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    child_of(&mut command, test, directory, first);
    command
}

fn child_of(command: &mut Command, test: &str, directory: &Path, first: u32) {
    command.args(["--exact", test, "--nocapture"]).env(CHILD, format!("{first} {}", directory.display()));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
}

/// Where to work, where this is the child.
fn child() -> Option<(u32, PathBuf)> {
    let given = std::env::var(CHILD).ok()?;
    let (first, directory) = given.split_once(' ').unwrap();
    Some((first.parse().unwrap(), directory.into()))
}

/// What was acknowledged: `what session`, a line each. A last line without its end does not count.
fn acknowledged(child: &mut Child, already: String) -> Vec<(String, u32)> {
    let mut said = already;
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let words = |line: &str| line.split_once(' ').and_then(|(what, n)| Some((what.to_owned(), n.parse().ok()?)));
    whole.lines().filter(|line| line.starts_with('+')).filter_map(words).collect()
}

async fn check(store: &SqliteStore, acknowledged: &[(String, u32)]) {
    for (what, n) in acknowledged {
        let session = store.session_get(&id(*n)).await.unwrap().unwrap_or_else(|| panic!("{what} {n} is lost"));
        assert!(store.session_document(&id(*n)).await.unwrap().is_some());
        match what.as_str() {
            "+create" => {}
            "+move" => assert!(matches!(session.state, State::Running | State::Terminated), "{n}: {session:?}"),
            "+exec" => assert!(store.exec_get(&id(*n), &exec_id(*n)).await.unwrap().is_some()),
            "+end" => assert_eq!(session.end.unwrap().reason, TerminationReason::Completed),
            other => panic!("{other}"),
        }
    }
}

fn integrity(directory: &Path) {
    let sql = rusqlite::Connection::open(directory.join("tenure.db")).unwrap();
    let ok: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
    let orphans: u32 = sql.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(orphans, 0);
}

/// TM-1, LC-5, LC-7, TR-4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    if let Some((first, directory)) = child() {
        return write_until_killed(first, &directory).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    for kill in 0..KILLS {
        let test = "what_was_acknowledged_survives_a_kill_at_any_moment";
        let mut child = again(test, directory.path(), kill * 1_000_000).spawn().unwrap();
        let first = first_acknowledged(&mut child);
        std::thread::sleep(Duration::from_millis(u64::from(kill * 7919 % 41)));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = acknowledged(&mut child, first);
        count += acknowledged.len();
        integrity(directory.path());
        let store = SqliteStore::open(options(directory.path())).unwrap();
        check(&store, &acknowledged).await;
        if kill % 10 == 9 {
            audit_holds(&store).await;
        }
    }
    assert!(count > KILLS as usize, "the child got to work each time: {count}");
    let store = SqliteStore::open(options(directory.path())).unwrap();
    let file = BufReader::new(std::fs::File::open(directory.path().join("heads.jsonl")).unwrap());
    let heads = tenure_store::audit::log::read_heads(file).unwrap().heads;
    let found = verify_with(&store, &heads).await;
    assert!(found.problem.is_none() && found.heads_checked > 0, "{found:?}");
}

/// Waits until the child has done something, so that it is killed at work.
fn first_acknowledged(child: &mut Child) -> String {
    let stdout = child.stdout.as_mut().unwrap();
    let mut said = String::new();
    let mut byte = [0];
    while !said.ends_with('\n') || !said.contains('+') {
        assert_eq!(stdout.read(&mut byte).unwrap(), 1, "the child ended: {said}");
        said.push(byte[0].into());
    }
    said
}

async fn write_until_killed(first: u32, directory: &Path) {
    let store = Arc::new(SqliteStore::open(options(directory)).unwrap());
    let tasks: Vec<_> = (0..8).map(|task| tokio::spawn(write(store.clone(), first + task * 100_000))).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn write(store: Arc<SqliteStore>, first: u32) {
    for n in first..first + 100_000 {
        store.session_create(create(n)).await.unwrap();
        println!("+create {n}");
        assert!(matches!(
            store.session_move(move_to(n, State::Ready, State::Running)).await.unwrap(),
            Changed::Done(_)
        ));
        println!("+move {n}");
        store.exec_intend(exec(n, n)).await.unwrap();
        println!("+exec {n}");
        if n % 2 == 0 {
            store.session_end(end(n, TerminationReason::Completed)).await.unwrap();
            println!("+end {n}");
        }
    }
}

/// TM-1: a log that cannot grow fails the changes that do not fit, loses none that was acknowledged, and the store works on once there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_grow_loses_nothing_that_was_acknowledged() {
    if let Some((_, directory)) = child() {
        return write_into_a_wall(&directory).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "a_file_that_cannot_grow_loses_nothing_that_was_acknowledged";
    // No file beyond a mebibyte; the signal that would end the process is ignored, so that writing fails.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    child_of(&mut command, test, directory.path(), 0);
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let failed = said.lines().filter(|line| line.starts_with('-')).count();
    assert!(failed > 0, "it came to the wall: {said}");
    let after = said.lines().skip_while(|line| !line.starts_with('-'));
    assert!(after.filter(|line| line.starts_with('+')).count() > 0, "the log was emptied, and had room again: {said}");
    let acknowledged = acknowledged(&mut again_none(), said);
    assert!(acknowledged.len() > 10, "{acknowledged:?}");
    integrity(directory.path());
    let store = SqliteStore::open(options(directory.path())).unwrap();
    check(&store, &acknowledged).await;
    audit_holds(&store).await;
    store.session_create(create(999_999)).await.unwrap();
}

/// A child that says nothing.
fn again_none() -> Child {
    Command::new("true").stdout(Stdio::piped()).spawn().unwrap()
}

async fn write_into_a_wall(directory: &Path) {
    let store = Arc::new(SqliteStore::open(options(directory)).unwrap());
    let mut failed = 0;
    for round in 0..100 {
        let writes: Vec<_> = (0..8)
            .map(|n| {
                let (store, n) = (store.clone(), round * 8 + n);
                let document = serde_json::json!({"text": "x".repeat(8000)});
                tokio::spawn(async move {
                    (n, store.session_create(SessionCreate { state_document: document, ..create(n) }).await)
                })
            })
            .collect();
        for write in writes {
            match write.await.unwrap() {
                (n, Ok(_)) => println!("+create {n}"),
                (n, Err(StoreError::Full(_) | StoreError::Unavailable(_) | StoreError::Unknown(_))) => {
                    println!("- {n}");
                    failed += 1;
                }
                (n, Err(other)) => panic!("{n}: {other}"),
            }
        }
        if failed > 40 {
            break;
        }
    }
    assert!(store.session_get(&id(0)).await.unwrap().is_some(), "it reads when it cannot write");
}
