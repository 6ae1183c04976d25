//! The end of everything: the hard deadline, shutdown, and the keeper's death.

mod client;

use client::*;
use std::time::{Duration, Instant};
use tenure_protocol::*;

/// Starts something that goes on for ever, without a connection.
fn start_sleeper(agent: &Agent, script: &str) -> u32 {
    agent.connect().start(&agent.shell(script))
}

/// TM-6
#[test]
fn the_hard_deadline_ends_everything_though_nobody_is_there() {
    let mut agent = Agent::start();
    let pid = start_sleeper(&agent, "exec sleep 1000");
    let begun = Instant::now();
    let deadline_boot_ms = Some(boot_ms() + 400);
    assert_eq!(agent.connect().ask(&Request::Deadline { deadline_boot_ms }), Reply::Done);
    agent.control = None;
    assert!(agent.exit_status().success());
    assert!(begun.elapsed() >= Duration::from_millis(390));
    assert!(!lives(pid));
}

/// TM-6
#[test]
fn a_deadline_that_comes_with_the_binding_holds() {
    let mut agent = Agent::start_with(Options { bind: false, ..Options::default() });
    agent.connect().bind(Some(boot_ms() + 300));
    let pid = start_sleeper(&agent, "exec sleep 1000");
    assert!(agent.exit_status().success());
    assert!(!lives(pid));
}

/// TM-6
#[test]
fn a_deadline_can_be_moved_and_removed_and_one_in_the_past_is_now() {
    let mut agent = Agent::start();
    let mut connection = agent.connect();
    let mut set = |deadline_boot_ms| assert_eq!(connection.ask(&Request::Deadline { deadline_boot_ms }), Reply::Done);
    set(Some(boot_ms() + 250));
    set(Some(boot_ms() + 600_000));
    set(Some(u64::MAX));
    set(Some(boot_ms() + 250));
    set(None);
    std::thread::sleep(Duration::from_millis(500));
    assert!(agent.is_running());
    let pid = start_sleeper(&agent, "exec sleep 1000");
    assert_eq!(agent.connect().ask(&Request::Deadline { deadline_boot_ms: Some(0) }), Reply::Done);
    assert!(agent.exit_status().success());
    assert!(!lives(pid));
}

/// TM-6: what stood still through its deadline hears first whether that was moved; a manager's word is then as good as one in time.
#[test]
fn a_deadline_that_was_slept_through_can_still_be_moved() {
    for moved in [true, false] {
        let mut agent = Agent::start();
        let mut connection = agent.connect();
        let deadline_boot_ms = Some(boot_ms() + 300);
        assert_eq!(connection.ask(&Request::Deadline { deadline_boot_ms }), Reply::Done);
        signal(agent.child.id(), libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(1500));
        signal(agent.child.id(), libc::SIGCONT);
        if moved {
            assert_eq!(connection.ask(&Request::Deadline { deadline_boot_ms: None }), Reply::Done);
            std::thread::sleep(Duration::from_millis(1500));
            assert!(agent.is_running());
        } else {
            assert!(agent.exit_status().success(), "it was not moved");
        }
    }
}

/// TM-7
#[test]
fn a_program_may_say_goodbye_within_the_grace() {
    let mut agent = Agent::start();
    let mut connection = agent.connect();
    let pid = connection
        .start(&agent.shell("trap 'sleep 0.1; echo goodbye; exit 3' TERM; echo ready; while :; do sleep 0.05; done"));
    connection.output_until("ready");
    assert_eq!(agent.connect().ask(&Request::Shutdown { grace_ms: 60_000 }), Reply::Done);
    let outcome = connection.rest(pid);
    assert_eq!((outcome.text().trim(), outcome.ended.exit_code), ("goodbye", Some(3)));
    assert!(agent.exit_status().success(), "at once, since nobody is left");
}

/// TM-7
#[test]
fn after_the_grace_comes_sigkill_for_whatever_is_left() {
    let mut agent = Agent::start();
    let mut connection = agent.connect();
    let script =
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & while :; do sleep 1; done";
    let pid = connection.start(&agent.shell(script));
    let stray: u32 = connection.output_until("\n").trim().parse().unwrap();
    let begun = Instant::now();
    let mut other = agent.connect();
    assert_eq!(other.ask(&Request::Shutdown { grace_ms: 300 }), Reply::Done);
    assert_eq!(other.refused(&Request::Exec(agent.shell("true").0)), FailureCode::Ending);
    assert_eq!(connection.rest(pid).ended.signal, Some(libc::SIGKILL));
    assert!(agent.exit_status().success());
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(!lives(pid));
    assert!(!lives(stray), "what left its session is found too");
}

/// TM-7
#[test]
fn an_agent_without_programs_ends_at_once() {
    let mut agent = Agent::start_with(Options { bind: false, ..Options::default() });
    assert_eq!(agent.connect().ask(&Request::Shutdown { grace_ms: 600_000 }), Reply::Done);
    assert!(agent.exit_status().success());
}

/// TM-7
#[test]
fn what_was_written_before_the_end_reaches_its_file() {
    let mut agent = Agent::start();
    let wanted = agent.shell("trap '' TERM; head -c 50000 /dev/zero; while :; do sleep 1; done").files(1_000_000);
    let mut connection = agent.connect();
    let files = connection.start_into_files(&wanted, agent.directory.path());
    eventually("it is written", || std::fs::metadata(&files[0]).unwrap().len() == 50_000);
    assert_eq!(agent.connect().ask(&Request::Shutdown { grace_ms: 100 }), Reply::Done);
    let ended = connection.rest(0).ended;
    assert_eq!(ended.signal, Some(libc::SIGKILL));
    assert_eq!(ended.output.bytes, 50_000);
    assert!(agent.exit_status().success());
}

/// TM-7
#[test]
fn a_pooled_agent_ends_with_its_keeper() {
    let mut agent = Agent::start_with(Options { bind: false, ..Options::default() });
    agent.control = None;
    assert!(agent.exit_status().success());
}

/// TM-7
#[test]
fn a_bound_agent_outlives_its_keeper_unless_it_was_told_otherwise() {
    let mut agent = Agent::start();
    let pid = start_sleeper(&agent, "exec sleep 1000");
    agent.control = None;
    std::thread::sleep(Duration::from_millis(200));
    assert!(agent.is_running() && lives(pid));
    assert_eq!(agent.connect().ask(&Request::Ping), Reply::Done);

    let mut agent = Agent::start_with(Options { dies_with_keeper: true, ..Options::default() });
    let pid = start_sleeper(&agent, "trap '' TERM; while :; do sleep 1; done");
    agent.control = None;
    assert!(agent.exit_status().success());
    assert!(!lives(pid));
}

/// TM-7
#[test]
fn sigterm_from_outside_does_not_end_the_agent() {
    let mut agent = Agent::start();
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        signal(agent.child.id(), number);
    }
    assert_eq!(agent.connect().ask(&Request::Ping), Reply::Done);
    assert!(agent.is_running());
}
