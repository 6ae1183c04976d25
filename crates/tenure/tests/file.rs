//! `tenure file`: the files of a session.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use std::io::BufRead;
use std::process::Stdio;
use support::server::{server, steady};
use support::{Running, needs_root};

/// EN-5: written, read, listed, looked at, deleted; bytes stay what they are.
#[test]
fn files_are_written_read_listed_and_deleted() {
    if needs_root() {
        return;
    }
    let server = server();
    let session = server.session();
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(server.ask_with(["file", "write", &session, "a.bin"], &bytes).to_string(), "");
    assert!(server.ask(["file", "read", &session, "a.bin"]).stdout == bytes);

    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("copy");
    let path = path.to_str().unwrap();
    assert_eq!(server.ask(["file", "read", &session, "/workspace/a.bin", path]).to_string(), "");
    assert!(std::fs::read(path).unwrap() == bytes);
    assert_eq!(server.ask(["file", "write", &session, "b.bin", path]).to_string(), "");

    assert_snapshot!(steady(&server.ask(["file", "list", &session])), @r"
    TYPE  SIZE    MODIFIED                  NAME
    file  100000  TIME  a.bin
    file  100000  TIME  b.bin
    ");
    assert_snapshot!(steady(&server.ask(["file", "stat", &session, "a.bin"])), @r"
    exists       true
    generation   1
    mode         420
    modified_at  TIME
    path         /workspace/a.bin
    size         100000
    type         file
    ");
    assert_eq!(server.ask(["file", "delete", &session, "a.bin"]).to_string(), "");
    assert_snapshot!(steady(&server.ask(["file", "stat", &session, "a.bin"])), @r"
    exists      false
    generation  1
    path        /workspace/a.bin
    [4]
    ");
}

/// EN-5: what cannot be read leaves what is here alone.
#[test]
fn a_file_that_is_not_there_is_said_not_to_be() {
    if needs_root() {
        return;
    }
    let server = server();
    let session = server.session();
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("mine");
    std::fs::write(&path, "mine").unwrap();
    let read = server.ask(["file", "read", &session, "nope", path.to_str().unwrap()]);
    assert_snapshot!(read, @r"
    ! tenure: /workspace/nope: No such file or directory
    !   hint: paths are absolute, or relative to /workspace
    [4]
    ");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert_snapshot!(server.ask(["file", "write", &session, "x", "/nowhere/at/all"]), @r"
    ! tenure: cannot read /nowhere/at/all: No such file or directory (os error 2)
    [4]
    ");
    assert_snapshot!(server.ask(["file", "delete", &session, "nope"]), @r"
    ! tenure: /workspace/nope: No such file or directory
    !   hint: paths are absolute, or relative to /workspace
    [4]
    ");
    assert_snapshot!(server.ask(["file", "list", &session, "/etc/passwd"]), @r"
    ! tenure: /etc/passwd: Not a directory
    !   hint: the detail says what is there
    [8]
    ");
}

/// EN-5: changes are told as they happen.
#[test]
fn changes_are_followed() {
    if needs_root() {
        return;
    }
    let server = server();
    let session = server.session();
    let mut command = server.tenure(["file", "watch", &session, "/workspace"]);
    let mut watching = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = std::io::BufReader::new(watching.0.stdout.take().unwrap());
    // Written again and again: nothing says when the watch has begun.
    let writer = std::thread::spawn({
        let (server, session) = (server.clone(), session.clone());
        move || {
            for n in 0..40 {
                server.ask_with(["file", "write", &session, &format!("f{n}")], b"x");
            }
        }
    });
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("/workspace/f"), "{line}");
    drop(watching);
    writer.join().unwrap();
}
