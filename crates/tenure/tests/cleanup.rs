//! `cleanup-ttl`: what is to go, found by hand, with nobody in the background who would do it.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "host_trouble/own.rs"]
mod own;

use insta::assert_snapshot;
use own::Own;
use std::time::Duration;
use support::server::steady;
use support::{eventually, needs_root};

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tenure-cleanup-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// CL-1, CL-2, TM-6, LS-5: with the sweeper switched off what is overdue can be found, does no work, and is ended by a sweep that somebody asks for.
#[test]
fn without_the_sweeper_what_is_overdue_is_found_and_refuses_work() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let server = Own::start(&dir.path().join("data"), &[("TENURE_SWEEPER_ENABLED", "false")]);
    let [visited, forgotten] = [(); 2].map(|()| server.session(&["--idle-timeout", "1500ms"]));
    let lives = server.session(&[]);
    let check = |id: &str| server.ask(["cleanup-ttl", "check", "--session-id", id]);
    let ttl = check(&lives).json()["ttl_remaining_seconds"].as_u64().unwrap();
    assert!((1..=1800).contains(&ttl), "{ttl}");

    let due = || check(&forgotten).json()["should_cleanup"] == true;
    assert!(eventually(Duration::from_secs(20), due));
    assert_snapshot!(steady(&check(&forgotten)), @r#"{"environment":"ready","reason":"idle_timeout","session_id":"SESSION","should_cleanup":true,"state":"ready","ttl_remaining_seconds":0}"#);
    let state = |id: &str| {
        server.json(&["session", "list"], "--all")["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|session| session["id"] == id)
            .unwrap()["state"]
            .clone()
    };
    assert_eq!(state(&forgotten), "ready", "nobody has visited it, and nobody swept");
    assert_eq!(server.ask(["exec", &visited, "--", "true"]).code, 125, "no work is done past a limit");
    assert_eq!(server.json(&["session", "get"], &visited)["termination_reason"], "idle_timeout");

    let sweep = |words: &[&str]| server.ask([&["cleanup-ttl", "sweep"], words].concat());
    assert_snapshot!(steady(&sweep(&["--dry-run"])), @r#"{"cleaned_session_ids":["SESSION"],"dry_run":true,"left_environment_ids":[],"orphaned_environment_ids":[],"orphans_cleaned":0,"sessions_checked":1,"sessions_cleaned":1}"#);
    assert_eq!(state(&forgotten), "ready", "it was only tried");
    assert_snapshot!(steady(&sweep(&[])), @r#"{"cleaned_session_ids":["SESSION"],"dry_run":false,"left_environment_ids":[],"orphaned_environment_ids":[],"orphans_cleaned":0,"sessions_checked":1,"sessions_cleaned":1}"#);
    assert_eq!(server.json(&["session", "get"], &forgotten)["termination_reason"], "idle_timeout");
    assert!(eventually(Duration::from_secs(20), || check(&forgotten).json()["should_cleanup"] == false));
    assert_eq!(sweep(&[]).json()["sessions_cleaned"], 0);
    assert_eq!(server.ask(["exec", &lives, "--", "true"]).code, 0);
    assert_eq!(check("exec_20260101_000000_00000000").code, 4);
}
