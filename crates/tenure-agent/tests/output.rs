//! Output: in order, within its cap, and never lost because somebody stopped listening.

// The helpers below stand outside of test functions.
#![allow(clippy::unwrap_used)]

mod client;

use client::*;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;
use tenure_protocol::*;

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// EN-3
#[test]
fn frames_keep_the_order_of_each_stream() {
    let agent = Agent::start();
    let outcome = agent.run(agent.shell("i=0; while [ $i -lt 3000 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done"));
    let expected = |letter: &str| (0..3000).map(|index| format!("{letter}{index}\n")).collect::<String>();
    assert_eq!(outcome.text(), expected("o"));
    assert_eq!(String::from_utf8_lossy(&outcome.error), expected("e"));
}

/// EN-3
#[test]
fn a_program_waits_for_a_reader_of_its_frames_and_nothing_is_lost() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let pid = connection.start(&agent.shell("head -c 8000000 /dev/zero; touch wrote-all"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!Path::new(&agent.path("wrote-all")).exists(), "the program waits");
    assert_eq!(agent.connect().ask(&Request::Ping), Reply::Done, "nobody else does");
    let outcome = connection.rest(pid);
    assert_eq!(outcome.output.len(), 8_000_000);
    assert!(Path::new(&agent.path("wrote-all")).exists());
}

/// EN-4
#[test]
fn output_into_files_needs_no_connection() {
    let agent = Agent::start();
    let wanted = agent.shell("sleep 0.3; echo late; echo worse >&2; head -c 1000000 /dev/zero; exit 3").files(u64::MAX);
    let files = agent.connect().start_into_files(&wanted, agent.directory.path());
    let mut connection = agent.connect();
    let mut states = || match connection.ask(&Request::Execs { after: None }) {
        Reply::Execs { execs, .. } => execs,
        other => panic!("{other:?}"),
    };
    eventually("it ends", || states()[0].ended.is_some());
    let ended = states().remove(0).ended.unwrap();
    assert_eq!(ended.exit_code, Some(3));
    assert_eq!(ended.output, Written { bytes: 1_000_005, dropped: 0 });
    assert_eq!(ended.error, Written { bytes: 6, dropped: 0 });
    assert_eq!((size(&files[0]), size(&files[1])), (1_000_005, 6));
    let exec_id = wanted.0.exec_id;
    assert!(matches!(connection.ask(&Request::Attach { exec_id }), Reply::Started { .. }));
    assert_eq!(connection.reply(), Reply::Exited(ended));
}

/// EN-4
#[test]
fn past_the_cap_bytes_are_counted_and_dropped_and_the_program_goes_on() {
    let agent = Agent::start();
    let wanted = agent.shell("head -c 3000 /dev/zero >&2; sleep 0.2; head -c 500000 /dev/zero; exit 0").files(10_000);
    let mut connection = agent.connect();
    let files = connection.start_into_files(&wanted, agent.directory.path());
    let ended = connection.rest(0).ended;
    assert_eq!(ended.exit_code, Some(0));
    assert_eq!(ended.error, Written { bytes: 3000, dropped: 0 });
    assert_eq!(ended.output, Written { bytes: 7000, dropped: 493_000 });
    assert_eq!(ended.room_bytes, 0, "nobody is left who could print");
    assert_eq!((size(&files[0]), size(&files[1])), (7000, 3000));
}

/// EN-4: what processes print that outlive their program is kept as well, but little of it, and it is said beforehand how much.
#[test]
fn little_is_kept_of_what_is_printed_by_who_was_left_behind() {
    let agent = Agent::start();
    let wanted = agent.shell("(sleep 1; head -c 3000000 /dev/zero) & echo begun").files(10_000_000);
    let mut connection = agent.connect();
    let files = connection.start_into_files(&wanted, agent.directory.path());
    let ended = connection.rest(0).ended;
    assert_eq!((ended.exit_code, ended.output, ended.room_bytes), (Some(0), Written { bytes: 6, dropped: 0 }, 1 << 20));
    eventually("what comes later is there", || size(&files[0]) == 6 + (1 << 20));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(size(&files[0]), 6 + (1 << 20), "and no more");
}

/// EN-4
#[test]
fn a_full_disk_under_the_files_never_stops_the_program() {
    let agent = Agent::start();
    let full = std::fs::File::create(agent.directory.path().join("full")).unwrap();
    let read_only = std::fs::File::open(agent.directory.path().join("full")).unwrap();
    let wanted = agent.shell("exit 0").files(10);
    let mut connection = agent.connect();
    connection.send_with_files(&Request::Exec(wanted.0.clone()), &[full.as_fd(), read_only.as_fd()]);
    assert!(matches!(connection.reply(), Reply::Failed { code: FailureCode::Invalid, .. }), "one cannot be written to");
    let null = std::fs::File::create("/dev/null").unwrap();
    connection.send_with_files(&Request::Exec(wanted.0.clone()), &[full.as_fd(), null.as_fd()]);
    assert!(matches!(connection.reply(), Reply::Failed { code: FailureCode::Invalid, .. }), "one is no file");
    // A file that takes no more bytes, as a full disk's: its seals say so.
    let sealed = rustix::fs::memfd_create("full", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::fcntl_add_seals(&sealed, rustix::fs::SealFlags::GROW).unwrap();
    let wanted = agent.shell("head -c 1000000 /dev/zero; echo no >&2; exit 6").files(u64::MAX);
    connection.send_with_files(&Request::Exec(wanted.0), &[sealed.as_fd(), full.as_fd()]);
    let ended = connection.outcome().ended;
    assert_eq!(ended.exit_code, Some(6));
    assert_eq!(ended.output, Written { bytes: 0, dropped: 1_000_000 });
    assert_eq!(ended.error, Written { bytes: 3, dropped: 0 });
}

/// EN-4
#[test]
fn descriptors_that_nobody_asked_for_are_closed_and_too_many_end_the_connection() {
    let agent = Agent::start();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut connection = agent.connect();
    connection.send_with_files(&Request::Ping, &[writer.as_fd()]);
    assert_eq!(connection.reply(), Reply::Done);
    drop(writer);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut { reader }, &mut rest).unwrap();
    let file = tempfile::tempfile().unwrap();
    connection.send_with_files(&Request::Ping, &[file.as_fd(); 3]);
    assert!(connection.is_closed());
    let mut early = agent.dial();
    early.send_with_files(&Request::Ping, &[file.as_fd()]);
    assert!(early.is_closed());
}

/// EN-4
#[test]
fn progress_is_told_while_files_grow() {
    let agent = Agent::start();
    let wanted = agent.shell("echo a; sleep 0.3; echo b; read line").stdin().files(1000);
    let mut connection = agent.connect();
    connection.start_into_files(&wanted, agent.directory.path());
    let mut last = 0;
    while last < 4 {
        match connection.reply() {
            Reply::Progress { output, error } => {
                assert!(output.bytes > last, "only what is new");
                assert_eq!(error, Written::default());
                last = output.bytes;
            }
            other => panic!("{other:?}"),
        }
    }
    connection.data(b"go\n");
    assert_eq!(connection.rest(0).ended.output.bytes, 4);
}

/// EN-4
#[test]
fn an_exec_survives_its_connection_and_is_attached_to_again() {
    let agent = Agent::start();
    let wanted = agent.shell("read word; echo got $word; read word; echo got $word").stdin();
    let exec_id = wanted.0.exec_id.clone();
    let mut first = agent.connect();
    let pid = first.start(&wanted);
    first.data(b"one\n");
    first.output_until("got one");
    drop(first);
    let mut second = agent.connect();
    assert_eq!(second.ask(&Request::Attach { exec_id: exec_id.clone() }), Reply::Started { pid });
    let mut third = agent.connect();
    assert_eq!(third.ask(&Request::Attach { exec_id: exec_id.clone() }), Reply::Started { pid });
    assert!(matches!(second.reply(), Reply::Failed { code: FailureCode::OutOfTurn, .. }), "taken over");
    assert_eq!(second.ask(&Request::Ping), Reply::Done, "and free for another request");
    assert_eq!(third.ask(&Request::Detach), Reply::Done);
    assert_eq!(second.ask(&Request::Attach { exec_id }), Reply::Started { pid });
    second.data(b"two\n");
    let outcome = second.rest(pid);
    assert_eq!((outcome.text().as_str(), outcome.ended.exit_code), ("got two\n", Some(0)));
}

/// EN-4
#[test]
fn frames_that_nobody_read_are_there_for_the_next_who_attaches() {
    let agent = Agent::start();
    let wanted = agent.shell("sleep 0.2; echo patient; exit 8");
    let exec_id = wanted.0.exec_id.clone();
    let mut connection = agent.connect();
    connection.start(&wanted);
    drop(connection);
    let mut other = agent.connect();
    eventually("it is known to have ended", || match other.ask(&Request::Execs { after: None }) {
        Reply::Execs { execs, .. } => execs[0].ended.is_some(),
        _ => false,
    });
    other.send(&Request::Attach { exec_id });
    let outcome = other.outcome();
    assert_eq!((outcome.text().as_str(), outcome.ended.exit_code), ("patient\n", Some(8)));
}

/// EN-3
#[test]
fn a_background_process_that_keeps_the_pipes_open_does_not_hold_back_the_end() {
    let agent = Agent::start();
    let outcome = agent.run(agent.shell("(while :; do echo noise; sleep 0.01; done) & echo $!; exit 2"));
    assert_eq!(outcome.ended.exit_code, Some(2));
    let text = outcome.text();
    let child: u32 = text.lines().find_map(|line| line.parse().ok()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert!(lives(child), "it is not stopped either");
}

/// EN-4
#[test]
fn what_a_background_process_writes_later_still_goes_into_the_files() {
    let agent = Agent::start();
    let wanted = agent.shell("(sleep 0.5; echo later) & echo now").files(1000);
    let mut connection = agent.connect();
    let files = connection.start_into_files(&wanted, agent.directory.path());
    assert_eq!(connection.rest(0).ended.output.bytes, 4);
    let exec_id = wanted.0.exec_id;
    assert_eq!(connection.ask(&Request::Forget { exec_id }), Reply::Done);
    eventually("it is written", || std::fs::read_to_string(&files[0]).unwrap() == "now\nlater\n");
}

/// EN-3
#[test]
fn a_flood_from_a_background_process_does_not_hold_back_the_end() {
    let agent = Agent::start();
    let wanted = agent.shell("yes & exit 0").files(1_000_000);
    let mut connection = agent.connect();
    let files = connection.start_into_files(&wanted, agent.directory.path());
    assert_eq!(connection.rest(0).ended.exit_code, Some(0));
    eventually("the cap is reached", || size(&files[0]) == 1_000_000);
    assert_eq!(agent.run(agent.shell("exit 1")).ended.exit_code, Some(1), "others are served");
}
