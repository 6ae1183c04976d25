//! `tenure lease`: held, renewed, taken over, given up, as people and programs see it.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;
use support::server::{server, steady};
use support::{PATIENCE, Running, code_of, eventually, needs_root, wait};

/// CL-2, LS-1, LS-2, LS-7
#[test]
fn a_lease_is_taken_renewed_taken_over_and_given_up() {
    if needs_root() {
        return;
    }
    let server = server();
    let id = server.session_with(&["--no-environment"]);
    let ask = |token: &str, words: &[&str]| {
        let words = ["--lease-token", token, "lease"].into_iter().chain(words.iter().copied());
        let words = words.map(|word| if word == "ID" { &id } else { word });
        steady(&server.ask(words.collect::<Vec<_>>()))
    };
    assert_snapshot!(steady(&server.ask(["lease", "take", &id, "--ttl", "10m"])), @"1");
    assert_snapshot!(ask("1", &["heartbeat", "ID"]), @"SESSION until TIME");
    assert_snapshot!(steady(&server.ask(["lease", "take", &id])), @r"
    ! tenure: the session's lease is held until TIME
    !   hint: wait for it to expire, or take it over
    [8]
    ");
    assert_snapshot!(steady(&server.ask(["lease", "take", &id, "--takeover"])), @"2");
    assert_snapshot!(ask("1", &["heartbeat", "ID"]), @r"
    ! tenure: the session's lease is held, and the request does not carry its current token
    !   hint: take the lease, and send its token in Tenure-Lease-Token
    [8]
    ");
    assert_snapshot!(ask("1", &["release", "ID"]), @r"
    ! tenure: the session's lease is held, and the request does not carry its current token
    !   hint: take the lease, and send its token in Tenure-Lease-Token
    [8]
    ");
    assert_snapshot!(ask("2", &["release", "ID"]), @"SESSION is free");
    assert_snapshot!(ask("2", &["heartbeat", "ID"]), @r"
    ! tenure: the session has no lease
    !   hint: take one first
    [8]
    ");
}

/// LS-1, LS-2, LS-7: for as long as somebody holds it, and no longer.
#[test]
fn whoever_holds_a_lease_renews_it_until_interrupted() {
    if needs_root() {
        return;
    }
    let server = server();
    let id = server.session_with(&["--no-environment"]);
    let terms = ["lease", "hold", &id, "--ttl", "2s", "--heartbeat-interval", "200ms"];
    let mut holder = Running(server.tenure(terms).stdout(Stdio::piped()).spawn().unwrap());
    let mut token = String::new();
    BufReader::new(holder.0.stdout.take().unwrap()).read_line(&mut token).unwrap();
    assert_eq!(token, "1\n");
    let expiry = || server.ask(["--json", "session", "get", &id]).json()["lease_expires_at"].clone();
    let first = expiry();
    assert!(eventually(PATIENCE, || expiry() != first), "nobody renews it");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(server.ask(["lease", "take", &id]).code, 8);
    kill_process(Pid::from_child(&holder.0), Signal::INT).unwrap();
    assert_eq!(wait(&mut holder.0, PATIENCE).map(code_of), Some(0));
    assert_eq!(server.ask(["lease", "take", &id]).out(), "2\n");
}

/// LS-7: who lost it is told, and holds no more.
#[test]
fn whoever_loses_a_lease_is_told() {
    if needs_root() {
        return;
    }
    let server = server();
    let id = server.session_with(&["--no-environment"]);
    let terms = ["--json", "lease", "hold", &id, "--heartbeat-interval", "200ms"];
    let mut holder = Running(server.tenure(terms).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    BufReader::new(holder.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    assert_eq!(server.ask(["lease", "take", &id, "--takeover"]).out(), "2\n");
    assert_eq!(wait(&mut holder.0, PATIENCE).map(code_of), Some(8));
}
