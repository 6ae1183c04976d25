//! Files: with the tenant's rights, regular ones only, whole or not at all.

// The helpers below stand outside of test functions.
#![allow(clippy::unwrap_used)]

mod client;

use client::*;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tenure_protocol::*;

fn write(connection: &mut Connection, path: &str, content: &[u8], mode: Option<u32>) -> Reply {
    connection.send(&Request::FileWrite { path: path.into(), mode });
    if !content.is_empty() {
        connection.data(content);
    }
    connection.data(b"");
    connection.reply()
}

fn read(connection: &mut Connection, path: &str, offset: u64, length: Option<u64>) -> Vec<u8> {
    assert!(matches!(connection.ask(&Request::FileRead { path: path.into(), offset, length }), Reply::File { .. }));
    let (body, end) = connection.body();
    assert_eq!(end, Reply::Done);
    body
}

fn read_refused(connection: &mut Connection, path: &str) -> FailureCode {
    connection.refused(&Request::FileRead { path: path.into(), offset: 0, length: None })
}

fn write_refused(connection: &mut Connection, path: &str) -> FailureCode {
    match write(connection, path, b"hello", None) {
        Reply::Failed { code, .. } => code,
        other => panic!("{path}: {other:?}"),
    }
}

fn mode_of(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn fifo(path: &str) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o666), 0)
        .unwrap();
}

/// EN-5
#[test]
fn a_file_is_written_and_read_whole_and_in_parts() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let path = agent.path("deep/er/file.bin");
    let content: Vec<u8> = (0..3_000_001u32).map(|index| (index % 251) as u8).collect();
    assert_eq!(write(&mut connection, &path, &content, None), Reply::Written { size: content.len() as u64 });
    assert_eq!(mode_of(&path), 0o644);
    assert!(read(&mut connection, &path, 0, None) == content);
    assert!(read(&mut connection, &path, 1_000_000, Some(70_000)) == content[1_000_000..1_070_000]);
    assert!(read(&mut connection, &path, 3_000_000, Some(70_000)) == content[3_000_000..]);
    assert!(read(&mut connection, &path, u64::MAX, None).is_empty());
    assert!(read(&mut connection, &path, 5, Some(0)).is_empty());
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&path).unwrap());
    assert_eq!(owner, user().uid, "it belongs to the tenant");
    match connection.ask(&Request::Stat { path }) {
        Reply::Stat { stat: Some(stat) } => {
            assert_eq!((stat.kind, stat.size, stat.mode), (FileKind::File, content.len() as u64, 0o644));
            assert!(stat.modified_ms > 1_600_000_000_000);
        }
        other => panic!("{other:?}"),
    }
}

/// EN-5
#[test]
fn a_new_file_gets_the_mode_that_was_asked_for_and_an_old_one_keeps_its_own() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let path = agent.path("script");
    assert_eq!(write(&mut connection, &path, b"", Some(0o6755)), Reply::Written { size: 0 });
    assert_eq!(mode_of(&path), 0o755, "without set-user-ID");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(write(&mut connection, &path, b"new", Some(0o777)), Reply::Written { size: 3 });
    assert_eq!(mode_of(&path), 0o600);
}

/// EN-5
#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let agent = Agent::start();
    let path = agent.path("config");
    std::fs::write(&path, "old").unwrap();
    let names = || std::fs::read_dir(agent.work()).unwrap().count();
    let mut connection = agent.connect();
    connection.send(&Request::FileWrite { path: path.clone(), mode: None });
    connection.data(b"half of the new");
    eventually("the upload has begun", || names() == 2);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    drop(connection);
    eventually("nothing is left over", || names() == 1);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(write(&mut agent.connect(), &path, b"new", None), Reply::Written { size: 3 });
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(names(), 1);
}

/// EN-5
#[test]
fn a_link_is_written_through() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    std::fs::create_dir(agent.path("real")).unwrap();
    std::os::unix::fs::chown(agent.path("real"), Some(user().uid), Some(user().gid)).unwrap();
    symlink("real/target", agent.path("link")).unwrap();
    symlink(agent.path("link"), agent.path("second")).unwrap();
    assert_eq!(write(&mut connection, &agent.path("second"), b"through", None), Reply::Written { size: 7 });
    assert_eq!(std::fs::read_to_string(agent.path("real/target")).unwrap(), "through");
    assert!(std::fs::symlink_metadata(agent.path("second")).unwrap().is_symlink());
    assert_eq!(read(&mut connection, &agent.path("second"), 0, None), b"through");
    symlink("loop", agent.path("loop")).unwrap();
    assert_eq!(write_refused(&mut connection, &agent.path("loop")), FailureCode::Denied);
    assert_eq!(read_refused(&mut connection, &agent.path("loop")), FailureCode::Denied);
}

/// EN-5
#[test]
fn what_is_no_regular_file_is_refused_and_never_opened() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    fifo(&agent.path("fifo"));
    let _listener = std::os::unix::net::UnixListener::bind(agent.path("socket")).unwrap();
    symlink("/dev/zero", agent.path("device")).unwrap();
    std::fs::create_dir(agent.path("directory")).unwrap();
    for name in ["fifo", "socket", "device", "directory"] {
        assert_eq!(read_refused(&mut connection, &agent.path(name)), FailureCode::NotAFile, "{name}");
        assert_eq!(write_refused(&mut connection, &agent.path(name)), FailureCode::NotAFile, "{name}");
    }
    for path in ["/dev/zero", "/dev/null", "/dev/tty"] {
        assert_eq!(read_refused(&mut connection, path), FailureCode::NotAFile, "{path}");
    }
    assert_eq!(write_refused(&mut connection, &agent.path("directory/")), FailureCode::NotAFile);
    assert_eq!(write_refused(&mut connection, &agent.path("fifo/below")), FailureCode::NotADirectory);
    assert_eq!(read_refused(&mut connection, &agent.path("missing")), FailureCode::NotFound);
    assert_eq!(connection.ask(&Request::Ping), Reply::Done);
}

/// EN-5
#[test]
fn the_agent_and_whatever_lies_behind_magic_links_are_out_of_reach() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    for path in ["/proc/self/environ", "/proc/self/mem", "/proc/self/maps", "/proc/thread-self/auxv"] {
        assert_eq!(read_refused(&mut connection, path), FailureCode::Denied, "{path}");
    }
    for path in ["/proc/self/root/etc/passwd", "/proc/self/cwd/x", "/proc/self/fd/3", "/proc/self/exe"] {
        assert_eq!(read_refused(&mut connection, path), FailureCode::Denied, "{path}");
        assert_eq!(connection.refused(&Request::Stat { path: path.into() }), FailureCode::Denied, "{path}");
    }
    assert!(!read(&mut connection, "/proc/uptime", 0, None).is_empty(), "other files there can be read");
}

/// EN-5
#[test]
fn the_tenants_rights_are_all_there_is() {
    if !is_root() {
        println!("skipped: the tenant is the agent's own user here");
        return;
    }
    let agent = Agent::start();
    let mut connection = agent.connect();
    let outside = |name: &str| agent.directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(outside("secret"), "secret").unwrap();
    std::fs::set_permissions(outside("secret"), PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(read_refused(&mut connection, &outside("secret")), FailureCode::Denied);
    assert_eq!(read_refused(&mut connection, "/etc/shadow"), FailureCode::Denied);
    assert_eq!(write_refused(&mut connection, &outside("secret")), FailureCode::Denied);
    assert_eq!(write_refused(&mut connection, &outside("new")), FailureCode::Denied);
    let delete = Request::FileDelete { path: outside("secret"), recursive: false };
    assert_eq!(connection.refused(&delete), FailureCode::Denied);
    assert_eq!(connection.refused(&Request::MakeDir { path: outside("new") }), FailureCode::Denied);
    let rename = Request::Rename { from: outside("secret"), to: agent.path("mine") };
    assert_eq!(connection.refused(&rename), FailureCode::Denied);
    // As the tenant again after all this, and as the agent in between.
    assert_eq!(write(&mut connection, &agent.path("mine"), b"ok", None), Reply::Written { size: 2 });
    assert_eq!(agent.run(agent.shell("id -u")).text(), "1000\n");
}

/// EN-5
#[test]
fn after_a_refused_upload_the_connection_goes_on_whether_or_not_the_body_came() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let request = Request::FileWrite { path: "/proc/no/such".into(), mode: None };
    assert!(matches!(connection.ask(&request), Reply::Failed { .. }));
    assert_eq!(connection.ask(&Request::Ping), Reply::Done);
    connection.send(&request);
    connection.data(&[1; 200_000]);
    connection.data(b"");
    assert!(matches!(connection.reply(), Reply::Failed { .. }));
    assert_eq!(write(&mut connection, &agent.path("fine"), b"fine", None), Reply::Written { size: 4 });
}

/// EN-5
#[test]
fn a_full_disk_is_told_and_leaves_nothing_behind() {
    if !is_root() {
        println!("skipped: needs root to mount a small disk");
        return;
    }
    let agent = Agent::start();
    let disk = agent.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let options = format!("size=1m,uid={},gid={}", user().uid, user().gid);
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs", &disk]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: cannot mount here");
        return;
    }
    let mut connection = agent.connect();
    let path = format!("{disk}/file");
    let small = write(&mut connection, &path, b"small", None);
    let big = write(&mut connection, &path, &vec![1; 3_000_000], None);
    let (left, content) = (std::fs::read_dir(&disk).unwrap().count(), std::fs::read(&path).unwrap_or_default());
    let after = connection.ask(&Request::Ping);
    drop(connection);
    let unmounted = std::process::Command::new("umount").args(["-l", &disk]).status().unwrap();
    assert!(unmounted.success());
    assert_eq!(small, Reply::Written { size: 5 });
    assert!(matches!(big, Reply::Failed { code: FailureCode::DiskFull, .. }), "{big:?}");
    assert_eq!((left, content.as_slice()), (1, &b"small"[..]));
    assert_eq!(after, Reply::Done);
}

/// EN-5
#[test]
fn directories_are_made_moved_and_removed() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let path = |name: &str| agent.path(name);
    assert_eq!(connection.ask(&Request::MakeDir { path: path("a/b/c") }), Reply::Done);
    assert_eq!(connection.ask(&Request::MakeDir { path: path("a/b/c") }), Reply::Done);
    assert_eq!(write(&mut connection, &path("a/file"), b"x", None), Reply::Written { size: 1 });
    assert_eq!(connection.refused(&Request::MakeDir { path: path("a/file") }), FailureCode::NotADirectory);
    assert_eq!(connection.refused(&Request::MakeDir { path: path("a/file/below") }), FailureCode::NotADirectory);
    let delete = |name: &str, recursive| Request::FileDelete { path: path(name), recursive };
    assert_eq!(connection.refused(&delete("a", false)), FailureCode::Exists);
    assert_eq!(connection.refused(&delete("missing", false)), FailureCode::NotFound);
    assert_eq!(connection.refused(&Request::FileDelete { path: "/".into(), recursive: true }), FailureCode::Invalid);
    assert_eq!(connection.refused(&delete("a/..", true)), FailureCode::Invalid);
    let rename = |from: &str, to: &str| Request::Rename { from: path(from), to: path(to) };
    assert_eq!(connection.ask(&rename("a", "moved")), Reply::Done);
    assert_eq!(connection.refused(&rename("a", "moved")), FailureCode::NotFound);
    assert_eq!(connection.ask(&Request::Stat { path: path("a") }), Reply::Stat { stat: None });
    symlink(path("moved"), path("link")).unwrap();
    assert_eq!(connection.ask(&delete("link", true)), Reply::Done);
    assert!(Path::new(&path("moved/file")).exists(), "the link went, not what it leads to");
    assert_eq!(connection.ask(&delete("moved/b/c", false)), Reply::Done);
    fifo(&path("moved/b/fifo"));
    symlink("/etc", path("moved/b/etc")).unwrap();
    assert_eq!(connection.ask(&delete("moved", true)), Reply::Done);
    assert!(!Path::new(&path("moved")).exists());
    assert!(Path::new("/etc/passwd").exists());
}

/// Makes a chain of directories deeper than any path could name.
fn make_chain(root: &str, depth: usize) {
    std::fs::create_dir(root).unwrap();
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(root, flags, rustix::fs::Mode::empty()).unwrap();
    let owner = |fd: &std::os::fd::OwnedFd| std::os::unix::fs::fchown(fd, Some(user().uid), Some(user().gid)).unwrap();
    owner(&directory);
    for _ in 0..depth {
        rustix::fs::mkdirat(&directory, "d", rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        directory = rustix::fs::openat(&directory, "d", flags, rustix::fs::Mode::empty()).unwrap();
        owner(&directory);
    }
}

/// EN-5
#[test]
fn a_tree_of_five_thousand_levels_is_removed_while_others_are_served() {
    let agent = Agent::start();
    make_chain(&agent.path("chain"), 5000);
    for index in 0..2000 {
        std::fs::write(agent.path(&format!("chain/{index}")), "").unwrap();
    }
    let mut connection = agent.connect();
    connection.send(&Request::FileDelete { path: agent.path("chain"), recursive: true });
    assert_eq!(agent.connect().ask(&Request::Ping), Reply::Done);
    assert_eq!(connection.reply(), Reply::Done);
    assert!(!Path::new(&agent.path("chain")).exists());
}

/// EN-5
#[test]
fn a_wide_tree_is_removed_whole() {
    let agent = Agent::start();
    let script = "mkdir t; cd t; for a in 1 2 3 4 5 6 7 8; do for b in 1 2 3 4 5 6 7 8; do mkdir -p $a/$b/x/y; \
                  touch $a/$b/x/y/f $a/$b/x/g; done; done; mkdir locked; touch locked/file; chmod 0 locked";
    assert_eq!(agent.run(agent.shell(script)).ended.exit_code, Some(0));
    let mut connection = agent.connect();
    let delete = Request::FileDelete { path: agent.path("t"), recursive: true };
    assert_eq!(connection.refused(&delete), FailureCode::Denied, "as far as the tenant can");
    assert_eq!(agent.run(agent.shell("chmod 755 t/locked")).ended.exit_code, Some(0));
    assert_eq!(connection.ask(&delete), Reply::Done);
    assert!(!Path::new(&agent.path("t")).exists());
}

/// EN-5
#[test]
fn three_thousand_entries_are_listed_in_pieces() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    for index in 0..2995 {
        std::fs::write(agent.path(&format!("file-{index}")), "12345").unwrap();
    }
    std::fs::create_dir(agent.path("directory")).unwrap();
    symlink("nowhere", agent.path("link")).unwrap();
    fifo(&agent.path("fifo"));
    std::fs::write(agent.work().join(OsStr::from_bytes(b"not-utf8-\xff")), "").unwrap();
    std::fs::write(agent.work().join("\u{1}".repeat(255)), "").unwrap();
    connection.send(&Request::List { path: agent.work().to_str().unwrap().into() });
    let mut entries = Vec::new();
    loop {
        match connection.reply() {
            Reply::Entries { entries: some } => {
                assert!(some.len() <= ENTRIES_MAX);
                entries.extend(some);
            }
            Reply::Done => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(entries.len(), 3000);
    let kind = |name: &str| entries.iter().find(|entry| entry.name == name).map(|entry| entry.stat.kind);
    assert_eq!(kind("file-7"), Some(FileKind::File));
    assert_eq!(kind("directory"), Some(FileKind::Dir));
    assert_eq!(kind("link"), Some(FileKind::Symlink));
    assert_eq!(kind("fifo"), Some(FileKind::Other));
    assert_eq!(kind("not-utf8-\u{fffd}"), Some(FileKind::File));
    assert_eq!(connection.refused(&Request::List { path: agent.path("file-7") }), FailureCode::NotADirectory);
    assert_eq!(connection.refused(&Request::List { path: agent.path("none") }), FailureCode::NotFound);
    connection.send(&Request::List { path: agent.path("directory") });
    assert_eq!(connection.reply(), Reply::Done, "an empty one has nothing to say");
}

/// EN-5
#[test]
fn a_big_file_read_by_nobody_holds_up_nobody() {
    let agent = Agent::start();
    let path = agent.path("big");
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let mut connection = agent.connect();
    connection.send(&Request::FileRead { path: path.clone(), offset: 0, length: None });
    assert_eq!(agent.connect().ask(&Request::Ping), Reply::Done);
    let mut other = agent.connect();
    assert_eq!(read(&mut other, &path, 5, Some(3)), [0; 3]);
    // A file that shrinks under the reader just ends.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    assert!(matches!(connection.reply(), Reply::File { .. }));
    let (body, end) = connection.body();
    assert!(body.len() < 1 << 30);
    assert_eq!(end, Reply::Done);
}
