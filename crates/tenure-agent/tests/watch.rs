//! Watching for changes.

mod client;

use client::*;
use tenure_protocol::*;

fn watching(agent: &Agent, path: &str, recursive: bool) -> Connection {
    let mut connection = agent.connect();
    assert_eq!(connection.ask(&Request::Watch { path: path.into(), recursive }), Reply::Done);
    connection
}

/// The next change of that kind at that path; others may come before.
fn expect(connection: &mut Connection, wanted: ChangeKind, at: &str) {
    loop {
        match connection.reply() {
            Reply::Change { kind, path } if kind == wanted && path == at => return,
            Reply::Change { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// EN-5
#[test]
fn changes_in_a_directory_are_told() {
    let agent = Agent::start();
    let path = |name: &str| agent.path(name);
    let mut watch = watching(&agent, agent.work().to_str().unwrap(), false);
    std::fs::write(path("file"), "1").unwrap();
    expect(&mut watch, ChangeKind::Created, &path("file"));
    expect(&mut watch, ChangeKind::Modified, &path("file"));
    std::fs::rename(path("file"), path("moved")).unwrap();
    expect(&mut watch, ChangeKind::Deleted, &path("file"));
    expect(&mut watch, ChangeKind::Created, &path("moved"));
    std::fs::remove_file(path("moved")).unwrap();
    expect(&mut watch, ChangeKind::Deleted, &path("moved"));
}

/// EN-5
#[test]
fn directories_below_are_watched_too_also_new_ones() {
    let agent = Agent::start();
    let path = |name: &str| agent.path(name);
    std::fs::create_dir_all(path("old/deep")).unwrap();
    let mut watch = watching(&agent, agent.work().to_str().unwrap(), true);
    std::fs::write(path("old/deep/file"), "").unwrap();
    expect(&mut watch, ChangeKind::Created, &path("old/deep/file"));
    std::fs::create_dir_all(path("new/deep/er")).unwrap();
    std::fs::write(path("new/deep/er/file"), "").unwrap();
    expect(&mut watch, ChangeKind::Created, &path("new"));
    expect(&mut watch, ChangeKind::Created, &path("new/deep/er/file"));
    std::fs::rename(path("old"), path("renamed")).unwrap();
    expect(&mut watch, ChangeKind::Created, &path("renamed"));
    // The directories in it are found again under their new name.
    expect(&mut watch, ChangeKind::Created, &path("renamed/deep/file"));
    std::fs::write(path("renamed/deep/other"), "").unwrap();
    expect(&mut watch, ChangeKind::Created, &path("renamed/deep/other"));
}

/// EN-5
#[test]
fn a_single_file_is_watched_and_uploads_show_only_as_their_result() {
    let agent = Agent::start();
    let path = |name: &str| agent.path(name);
    std::fs::write(path("file"), "1").unwrap();
    let mut watch = watching(&agent, &path("file"), false);
    std::fs::write(path("file"), "2").unwrap();
    expect(&mut watch, ChangeKind::Modified, &path("file"));
    std::fs::remove_file(path("file")).unwrap();
    expect(&mut watch, ChangeKind::Deleted, &path("file"));

    let mut watch = watching(&agent, agent.work().to_str().unwrap(), false);
    let mut writer = agent.connect();
    writer.send(&Request::FileWrite { path: path("upload"), mode: None });
    writer.data(b"content");
    writer.data(b"");
    assert_eq!(writer.reply(), Reply::Written { size: 7 });
    assert_eq!(watch.reply(), Reply::Change { kind: ChangeKind::Created, path: path("upload") });
}

/// EN-5
#[test]
fn what_cannot_be_watched_is_refused() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let missing = Request::Watch { path: agent.path("missing"), recursive: false };
    assert_eq!(connection.refused(&missing), FailureCode::NotFound);
    let magic = Request::Watch { path: "/proc/self/root".into(), recursive: true };
    assert_eq!(connection.refused(&magic), FailureCode::Denied);
    if is_root() {
        assert_eq!(connection.refused(&Request::Watch { path: "/root".into(), recursive: true }), FailureCode::Denied);
    }
    let mut watch = watching(&agent, agent.work().to_str().unwrap(), false);
    watch.send(&Request::Ping);
    assert!(watch.is_closed(), "a watch is all this connection does");
}

/// QA-1
#[test]
fn more_changes_than_anyone_reads_become_an_overflow() {
    let limit: u64 = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if limit > 100_000 {
        println!("skipped: the kernel's queue is too long to fill here");
        return;
    }
    let agent = Agent::start();
    let files = [agent.path("one"), agent.path("two")];
    files.iter().for_each(|file| std::fs::write(file, "").unwrap());
    let mut watch = watching(&agent, agent.work().to_str().unwrap(), false);
    // Two files in turn: the kernel makes one event of equal ones that follow each other.
    for index in 0..limit as usize + 30_000 {
        let mode = if index % 4 < 2 { 0o644 } else { 0o600 };
        std::fs::set_permissions(&files[index % 2], std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    expect(&mut watch, ChangeKind::Overflow, agent.work().to_str().unwrap());
    std::fs::write(agent.path("after"), "").unwrap();
    expect(&mut watch, ChangeKind::Created, &agent.path("after"));
}

/// QA-1
#[test]
fn a_tree_of_too_many_directories_is_refused() {
    let agent = Agent::start();
    // In memory where that is possible: so many directories take long on a disk.
    let base = if std::path::Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    let tree = tempfile::tempdir_in(base).unwrap();
    std::fs::set_permissions(tree.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for index in 0..10_050 {
        std::fs::create_dir_all(tree.path().join(format!("{}/{index}", index % 50))).unwrap();
    }
    let mut connection = agent.connect();
    let request = Request::Watch { path: tree.path().to_str().unwrap().into(), recursive: true };
    assert_eq!(connection.refused(&request), FailureCode::Limit);
    assert_eq!(connection.ask(&Request::Ping), Reply::Done);
}
