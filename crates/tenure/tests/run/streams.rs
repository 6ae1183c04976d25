//! Standard input, output and error: byte for byte, apart, and to their ends.

use crate::support::{answer, answer_to, binary, data_dir};
use insta::assert_snapshot;
use std::process::Command;

fn some_bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// EN-3: it is a program in a pipe like any other.
#[test]
fn input_goes_in_and_output_comes_out() {
    assert_eq!(answer_to(&mut data_dir().run("", &["tr", "a-z", "A-Z"]), b"hello\n".into()).out(), "HELLO\n");
}

/// EN-3: output and errors stay apart.
#[test]
fn output_and_errors_stay_apart() {
    assert_snapshot!(answer(&mut data_dir().script("", "echo out; echo err >&2; echo more")), @r"
    out
    more
    ! err
    ");
}

/// EN-3: an end of input is an end of input.
#[test]
fn no_input_is_the_end_of_input() {
    let answer = answer(&mut data_dir().run("", &["cat"]));
    assert_eq!((answer.code, answer.stdout.len(), answer.err().as_str()), (0, 0, ""));
}

/// EN-3: every byte arrives once, in order, whatever it is.
#[test]
fn twenty_mebibytes_pass_through_byte_for_byte() {
    let bytes = some_bytes(20 << 20);
    let answer = answer_to(&mut data_dir().run("", &["cat"]), bytes.clone());
    assert!(answer.stdout == bytes, "{} bytes came back: {}", answer.stdout.len(), answer.err());
}

/// EN-3: standard error is as safe for bytes.
#[test]
fn errors_are_bytes_too() {
    let bytes = some_bytes(1 << 20);
    let answer = answer_to(&mut data_dir().script("", "cat >&2"), bytes.clone());
    assert!(answer.stderr == bytes && answer.stdout.is_empty());
}

/// EN-3: a program that stops reading does not hang its caller.
#[test]
fn a_program_may_leave_its_input_unread() {
    let answer = answer_to(&mut data_dir().script("", "head -c 3; exit 4"), some_bytes(8 << 20));
    assert_eq!((answer.code, answer.stdout.len(), answer.err().as_str()), (4, 3, ""));
}

/// CL-2: a reader that has gone away is no failure to talk about.
#[test]
fn a_reader_that_goes_away_ends_the_run_without_noise() {
    let dir = data_dir();
    let unenforced = if crate::support::is_root() { "" } else { "--allow-unenforced" };
    let line = format!("\"$0\" run {unenforced} -- yes | head -1; echo ${{PIPESTATUS[0]}}");
    let mut shell = Command::new("bash");
    shell.args(["-c", &line]).arg(binary()).env("TENURE_DATA_DIR", dir.path()).env("TENURE_POOL_BYTES", "512M");
    assert_snapshot!(answer(&mut shell), @r"
    y
    141
    ");
}
