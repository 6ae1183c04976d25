//! Terminals.

mod client;

use client::*;
use tenure_protocol::*;

/// EN-7
#[test]
fn a_terminal_has_its_size_and_takes_another() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let script = "trap 'stty size; echo resized' WINCH; test -t 0 && test -t 1 && test -t 2 && echo $TERM; stty size; \
                  echo ready; while :; do sleep 0.05; done";
    let pid = connection.start(&agent.shell(script).tty(31, 97));
    let seen = connection.output_until("ready");
    assert!(seen.contains("xterm-256color") && seen.contains("31 97"), "{seen}");
    connection.send(&Request::Resize { size: WindowSize { rows: 50, cols: 132 } });
    let seen = connection.output_until("resized");
    assert!(seen.contains("50 132"), "{seen}");
    connection.send(&Request::SignalAttached { signal: libc::SIGKILL });
    assert_eq!(connection.rest(pid).ended.signal, Some(libc::SIGKILL));
}

/// EN-7
#[test]
fn control_c_interrupts_what_is_in_the_foreground() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let pid = connection.start(&agent.shell("echo ready; exec sleep 1000").tty(24, 80));
    connection.output_until("ready");
    connection.data(b"\x03");
    assert_eq!(connection.rest(pid).ended.signal, Some(libc::SIGINT));
}

/// EN-7
#[test]
fn the_end_of_input_is_typed() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let pid = connection.start(&agent.shell("echo ready; cat; echo over; cat; echo done").tty(24, 80));
    connection.output_until("ready");
    connection.data(b"line\n");
    connection.data(b"");
    connection.output_until("over");
    connection.data(b"");
    let outcome = connection.rest(pid);
    assert!(outcome.text().contains("done"));
    assert_eq!(outcome.ended.exit_code, Some(0));
}

/// EN-7
#[test]
fn a_signal_reaches_the_job_in_the_foreground() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let wanted = agent.exec(&["/bin/bash", "--norc", "-i"]).tty(24, 80);
    let pid = connection.start(&wanted);
    connection.data(b"echo started; sleep 1000\n");
    connection.output_until("started\r\n");
    let sleeping = || match agent.connect().ask(&Request::Processes) {
        Reply::Processes { processes, .. } => processes.iter().any(|one| one.ppid == pid && one.cmd == "sleep 1000"),
        _ => false,
    };
    eventually("the job runs", sleeping);
    connection.send(&Request::SignalAttached { signal: libc::SIGTERM });
    eventually("the job is gone", || !sleeping());
    connection.data(b"exit 12\n");
    assert_eq!(connection.rest(pid).ended.exit_code, Some(12));
}

/// EN-7
#[test]
fn a_terminal_goes_into_one_file_and_on_without_a_connection() {
    let agent = Agent::start();
    let wanted = agent.shell("echo first; read line; echo second $line").tty(24, 80).files(1_000_000);
    let mut connection = agent.connect();
    let files = connection.start_into_files(&wanted, agent.directory.path());
    drop(connection);
    eventually("the file grows", || std::fs::read_to_string(&files[0]).unwrap().contains("first"));
    let mut connection = agent.connect();
    let exec_id = wanted.0.exec_id;
    assert!(matches!(connection.ask(&Request::Attach { exec_id }), Reply::Started { .. }));
    connection.data(b"again\n");
    assert_eq!(connection.rest(0).ended.exit_code, Some(0));
    assert!(std::fs::read_to_string(&files[0]).unwrap().contains("second again"));
}

/// EN-7
#[test]
fn the_terminal_is_hung_up_with_its_program() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let pid = connection.start(&agent.shell("(trap '' HUP; sleep 1000) & echo $!").tty(24, 80));
    let outcome = connection.rest(pid);
    assert_eq!(outcome.ended.exit_code, Some(0));
}
