//! `tenure exec` and `tenure execs`: programs in a session, their streams, and their exit codes.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use support::server::{Server, server, steady};
use support::{Answer, PATIENCE, Running, code_of, eventually, needs_root, wait};

struct Place {
    server: Arc<Server>,
    session: String,
}

impl Place {
    fn new() -> Place {
        let server = server();
        let session = server.session();
        Place { server, session }
    }

    fn words<'a>(&'a self, options: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
        [&["exec"], options, &[self.session.as_str(), "--"], program].concat()
    }

    fn exec(&self, options: &[&str], program: &[&str]) -> Answer {
        self.server.ask(self.words(options, program))
    }
}

/// EN-3, CL-2: both streams as they are, and the program's own exit code.
#[test]
fn output_and_exit_code_are_the_programs_own() {
    if needs_root() {
        return;
    }
    let place = Place::new();
    let script = |script: &str| place.exec(&[], &["sh", "-c", script]).to_string();
    assert_snapshot!(script("echo out; echo err >&2; exit 7"), @r"
    out
    ! err
    [7]
    ");
    assert_snapshot!(script("kill -9 $$"), @"[137]");
    let bytes = place.exec(&[], &["sh", "-c", "printf '\\377\\000\\376'"]);
    assert_eq!(bytes.stdout, [0xff, 0, 0xfe], "{bytes}");
    let told = place.exec(&["-w", "/tmp", "-e", "A=b c", "-u", "0"], &["sh", "-c", "pwd; echo $A; id -u"]);
    assert_eq!(told.out(), "/tmp\nb c\n0\n", "{told}");
}

/// CL-2: 127, 126, 125 and 124 are what env(1) and timeout(1) say.
#[test]
fn what_is_not_the_programs_doing_has_a_code_of_its_own() {
    if needs_root() {
        return;
    }
    let place = Place::new();
    assert_snapshot!(place.exec(&[], &["no-such-program"]), @r#"
    ! tenure: cannot run "no-such-program": program no-such-program does not exist, or its interpreter does not
    [127]
    "#);
    assert_snapshot!(place.exec(&[], &["/etc/passwd"]), @r#"
    ! tenure: cannot run "/etc/passwd": program /etc/passwd: Permission denied
    [126]
    "#);
    assert_snapshot!(place.exec(&["--timeout", "0.2"], &["sleep", "30"]), @r"
    ! tenure: ended after its time limit of 200 ms
    [124]
    ");
    assert_snapshot!(steady(&place.server.ask(["exec", "exec_20260101_000000_00000000", "--", "true"])), @r"
    ! tenure: there is no session SESSION (never_existed)
    !   hint: reason says what is known of it
    [125]
    ");
    let usage = place.server.ask(["exec", "--json"]);
    assert_eq!((usage.code, usage.json_error()["code"].as_str()), (125, Some("USAGE")), "{usage}");
}

/// EN-3, CL-2: killed for memory is 137, and is said to be.
#[test]
fn a_program_that_is_killed_for_memory_is_said_to_be() {
    if needs_root() {
        return;
    }
    let server = server();
    let session = server.session_with(&["--memory", "32M"]);
    let fill = "x=a; while :; do x=$x$x; done";
    let killed = server.ask(["exec", &session, "--", "sh", "-c", fill]);
    assert_eq!(killed.code, 137, "{killed}");
    assert!(killed.err().contains("out of memory"), "{killed}");
}

/// EN-3: a pipe is passed on, whatever is in it, and its end too.
#[test]
fn standard_input_is_passed_on() {
    if needs_root() {
        return;
    }
    let place = Place::new();
    let input: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let copied = place.server.ask_with(place.words(&["--stdin"], &["cat"]), &input);
    assert_eq!(copied.code, 0, "{}", copied.err());
    assert!(copied.stdout == input, "{} bytes came of {}", copied.stdout.len(), input.len());
    let first = place.server.ask_with(place.words(&["-i"], &["head", "-c", "3"]), b"abcdef");
    assert_snapshot!(first.to_string(), @"abc");
}

/// EN-4: in the background it is found, read, and signalled.
#[test]
fn what_runs_in_the_background_is_found_again() {
    if needs_root() {
        return;
    }
    let place = Place::new();
    let session = place.session.as_str();
    let started = place.exec(&["--background"], &["sh", "-c", "echo here; exec sleep 60"]);
    let exec = started.out().trim().to_owned();
    let output = || place.server.ask(["execs", "output", session, &exec]);
    assert!(eventually(PATIENCE, || output().out() == "here\n"), "{}", output());
    assert_eq!(place.server.ask(["execs", "output", session, &exec, "--offset", "2"]).out(), "re\n");
    assert_eq!(place.server.ask(["execs", "kill", session, &exec, "--signal", "KILL"]).code, 0);
    let state = || place.server.ask(["--json", "execs", "get", session, &exec]).json();
    assert!(eventually(PATIENCE, || state()["state"] == "killed"), "{}", state());
    assert_eq!(state()["signal"], 9);
    let listed = place.server.ask(["execs", "list", session]).out();
    assert!(listed.lines().any(|line| line.starts_with(&exec) && line.contains("killed")), "{listed}");
    let ended = place.server.ask(["execs", "kill", session, &exec]);
    assert_eq!(ended.code, 8, "{ended}");
}

/// EN-3: what ends us ends the program.
#[test]
fn signals_are_passed_on() {
    if needs_root() {
        return;
    }
    let place = Place::new();
    let script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = place.server.tenure(place.words(&[], &["sh", "-c", script]));
    let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut stdout = std::io::BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert_eq!(line, "ready\n");
    // Signals are taken from the moment on that it is known to have started, which may be a moment after its output.
    std::thread::sleep(Duration::from_millis(200));
    let pid = rustix::process::Pid::from_raw(i32::try_from(running.0.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait(&mut running.0, PATIENCE).expect("it hangs");
    assert_eq!(code_of(status), 9);
}

/// TM-4: a session that has ended says why, and the exit code is ours.
#[test]
fn an_ended_session_runs_nothing() {
    if needs_root() {
        return;
    }
    let place = Place::new();
    place.server.ask(["session", "terminate", &place.session]);
    assert_snapshot!(steady(&place.exec(&[], &["true"])), @r"
    ! tenure: the session ended at TIME for the reason admin_request
    !   hint: reason and terminated_at say why and when; GET .../explain shows the evidence
    [125]
    ");
    let gone = place.exec(&["--json"], &["true"]);
    assert_eq!((gone.code, gone.json_error()["code"].as_str()), (125, Some("GONE")), "{gone}");
}
