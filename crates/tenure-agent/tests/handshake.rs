//! Who may talk to an agent, and in which order.

mod client;

use client::*;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;
use tenure_protocol::*;

/// EN-2
#[test]
fn a_manager_with_another_key_is_cut_off() {
    let agent = Agent::start();
    assert!(agent.dial().handshake(Key([1; 32])).is_none());
    assert!(agent.dial().handshake(KEY).is_some());
}

/// EN-2
#[test]
fn a_request_before_the_handshake_is_cut_off() {
    let agent = Agent::start();
    let mut connection = agent.dial();
    connection.send(&Request::Ping);
    assert!(connection.is_closed());
    let mut connection = agent.dial();
    connection.send(&Prove { proof: Proof([0; 32]) });
    assert!(connection.is_closed());
}

/// EN-2
#[test]
fn a_request_in_the_middle_of_the_handshake_is_cut_off() {
    let agent = Agent::start();
    let mut connection = agent.dial();
    connection.send(&Hello { version_min: 1, version_max: 1, nonce: Nonce([0; 32]) });
    assert!(connection.frame().message::<Challenge>().is_ok());
    connection.send(&Request::Ping);
    assert!(connection.is_closed());
}

/// EN-2
#[test]
fn a_manager_of_another_age_is_cut_off_and_a_newer_one_is_answered_in_the_common_version() {
    let agent = Agent::start();
    for (version_min, version_max) in [(VERSION_MAX + 1, VERSION_MAX + 9), (0, 0), (9, 1)] {
        let mut connection = agent.dial();
        connection.send(&Hello { version_min, version_max, nonce: Nonce([0; 32]) });
        assert!(connection.is_closed(), "{version_min} to {version_max}");
    }
    let mut connection = agent.dial();
    connection.send(&Hello { version_min: 0, version_max: VERSION_MAX + 9, nonce: Nonce([0; 32]) });
    assert_eq!(connection.frame().message::<Challenge>().unwrap().version, VERSION_MAX);
}

/// EN-2
#[test]
fn every_challenge_is_fresh_and_names_the_environment_and_its_generation() {
    let agent = Agent::start_with(Options { bind: false, ..Options::default() });
    let before = agent.dial().handshake(KEY).unwrap();
    assert_eq!((before.environment.as_str(), before.generation), (ENVIRONMENT, 0));
    agent.connect().bind(None);
    let after = agent.dial().handshake(KEY).unwrap();
    assert_eq!(after.generation, 7);
    assert_ne!(before.nonce, after.nonce);
}

/// EN-2
#[test]
fn an_environment_is_bound_once_and_does_little_before() {
    let agent = Agent::start_with(Options { bind: false, ..Options::default() });
    let mut connection = agent.connect();
    assert_eq!(connection.ask(&Request::Ping), Reply::Done);
    assert_eq!(connection.ask(&Request::Execs { after: None }), Reply::Execs { execs: vec![], more: false });
    assert_eq!(connection.refused(&Request::Exec(agent.shell("true").0)), FailureCode::OutOfTurn);
    assert_eq!(connection.refused(&Request::Stat { path: "/".into() }), FailureCode::OutOfTurn);
    assert_eq!(connection.refused(&Request::Deadline { deadline_boot_ms: None }), FailureCode::OutOfTurn);
    connection.bind(None);
    let again = Request::Bind { environment: None, generation: 8, deadline_boot_ms: Some(1), env: Default::default() };
    assert_eq!(connection.refused(&again), FailureCode::OutOfTurn);
    assert_eq!(agent.run(agent.shell("exit 3")).ended.exit_code, Some(3));
}

/// EN-2
#[test]
fn a_field_past_its_limit_is_refused_by_name() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    match connection.ask(&Request::Stat { path: "not/absolute".into() }) {
        Reply::Failed { code: FailureCode::Invalid, message } => assert!(message.contains("path"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(connection.ask(&Request::Ping), Reply::Done, "the connection goes on");
}

/// EN-2
#[test]
fn whoever_does_not_finish_the_handshake_within_five_seconds_is_cut_off() {
    let agent = Agent::start();
    let begun = Instant::now();
    let mut silent = agent.dial();
    assert!(silent.is_closed());
    assert!(begun.elapsed().as_millis() >= 4_900, "not sooner");
}

/// EN-2
#[test]
fn nobody_but_the_owner_may_connect() {
    let agent = Agent::start();
    assert_eq!(std::fs::metadata(agent.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}

/// QA-1
#[test]
fn of_three_hundred_connections_the_first_are_served_and_the_rest_refused() {
    let agent = Agent::start();
    // The connection that bound the agent may not have been seen to close yet.
    eventually("all places are free", || {
        let mut connections: Vec<Connection> = (0..CONNECTIONS_MAX).map(|_| agent.dial()).collect();
        connections.iter_mut().all(|connection| connection.handshake(KEY).is_some())
    });
    let mut connections: Vec<Connection> = (0..300).map(|_| agent.dial()).collect();
    let proven = connections.iter_mut().filter_map(|connection| connection.handshake(KEY)).count();
    assert!((CONNECTIONS_MAX - 1..=CONNECTIONS_MAX).contains(&proven), "{proven}");
    for connection in connections.iter_mut().take(200) {
        assert_eq!(connection.ask(&Request::Ping), Reply::Done);
    }
    drop(connections);
    eventually("places are free again", || agent.dial().handshake(KEY).is_some());
}
