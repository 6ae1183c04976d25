//! Execs: how programs start, what they see, how they end.

mod client;

use client::*;
use tenure_protocol::*;

/// EN-3
#[test]
fn a_program_ends_with_its_own_code() {
    let agent = Agent::start();
    let outcome = agent.run(agent.shell("echo out; echo err >&2; exit 7"));
    assert_eq!(outcome.output, b"out\n");
    assert_eq!(outcome.error, b"err\n");
    assert_eq!((outcome.ended.exit_code, outcome.ended.signal), (Some(7), None));
    assert!(!outcome.ended.timed_out && !outcome.ended.oom_killed);
}
