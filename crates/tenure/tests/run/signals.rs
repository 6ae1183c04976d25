//! Signals that a caller sends to `tenure run` are meant for the program.

use crate::support::{PATIENCE, code_of, data_dir, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

fn check(signal: Signal, name: &str) {
    let script = format!("trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done");
    let dir = data_dir();
    let mut run = dir.script("", &script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    if line != "ready\n" {
        let mut why = String::new();
        run.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        panic!("it says {line:?} and {why:?}");
    }
    kill_process(Pid::from_child(&run), signal).unwrap();
    let code = wait(&mut run, PATIENCE).map(code_of);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((code, rest), (Some(5), format!("got {name}\n")));
}

/// EN-3: Ctrl-C at the caller's terminal.
#[test]
fn an_interrupt_reaches_the_program() {
    check(Signal::INT, "INT");
}

/// EN-3: what supervisors send.
#[test]
fn a_request_to_end_reaches_the_program() {
    check(Signal::TERM, "TERM");
    check(Signal::HUP, "HUP");
    check(Signal::QUIT, "QUIT");
}

/// EN-3: what programs agree on among themselves.
#[test]
fn a_users_own_signal_reaches_the_program() {
    check(Signal::USR1, "USR1");
    check(Signal::USR2, "USR2");
}

/// EN-3: a program that does not read its input hears a signal all the same.
#[test]
fn a_signal_is_heard_while_input_is_stuck() {
    let dir = data_dir();
    let mut run = dir
        .script("", "trap 'exit 6' TERM; echo ready; while :; do sleep 0.05; done")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = run.stdin.take().unwrap();
    // Ends when the pipe breaks at the program's end.
    let writer = std::thread::spawn(move || std::io::copy(&mut std::io::repeat(b'x').take(64 << 20), &mut stdin));
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&run), Signal::TERM).unwrap();
    assert_eq!(wait(&mut run, PATIENCE).map(code_of), Some(6));
    assert!(writer.join().unwrap().is_err());
}
