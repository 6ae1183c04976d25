//! Kills the server under load, again and again, and finds everything that it acknowledged: see the `torture` crate.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;
use torture::{Menu, Plan, Report, Spoil};

/// Long enough on a slow machine: what takes longer hangs.
const AT_MOST: Duration = Duration::from_secs(900);

/// Kills of a run that is to fail.
const SPOILT_KILLS: u64 = 8;
/// How often that is done, until it is found out.
const SPOILT_RUNS: u32 = 3;

/// Runs one that is to find nothing, and says by which seed it can be had again.
fn torture(kills: u64, menu: Menu) -> Option<Report> {
    let report = run(kills, menu, None)?;
    println!("{report}");
    assert!(!report.is_bad(), "again with TENURE_TORTURE_SEED={}", report.seed);
    assert_eq!(report.kills(), kills, "the time was over before the kills were");
    Some(report)
}

fn run(kills: u64, menu: Menu, spoil: Option<Spoil>) -> Option<Report> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return None;
    }
    let dir = torture::directory(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    let seed = std::env::var("TENURE_TORTURE_SEED").ok().and_then(|text| text.parse().ok());
    let plan = Plan {
        program: env!("CARGO_BIN_EXE_tenure").into(),
        dir: dir.path().join("data"),
        seed: seed.unwrap_or_else(torture::random::seed),
        kills,
        lasts: AT_MOST,
        clients: 4,
        menu,
        spoil,
    };
    let report = torture::run(&plan, |_, _| ()).unwrap();
    if report.is_bad() && spoil.is_none() {
        println!("data and log are in {}", dir.keep().display());
    }
    Some(report)
}

/// TM-1, TM-2, TM-8, TR-5, LC-5, LC-6, EN-4, EN-10
#[test]
fn nothing_acknowledged_is_lost_when_the_manager_is_killed_at_random() {
    if let Some(report) = torture(120, Menu::default()) {
        assert!(report.acknowledged() > 500, "there was hardly any load");
    }
}

/// TM-1, TM-2, TM-8, TR-5, LC-5, LC-6, EN-4, EN-10
#[test]
fn nothing_acknowledged_is_lost_when_the_manager_is_killed_at_any_write_or_message() {
    if let Some(report) = torture(120, Menu { points: true, tear: true, keeper: true, agents: true, ..Menu::default() })
    {
        assert!(report.acknowledged() > 500, "there was hardly any load");
    }
}

/// TM-1, LS-4, GV-6, QA-1, EN-4
#[test]
fn nothing_acknowledged_is_lost_when_syncs_fail_and_the_wall_clock_jumps() {
    let Some(report) = torture(60, Menu { fsync: true, clock: true, ..Menu::default() }) else { return };
    let had = |kind: &str| report.kills.keys().any(|name| name.contains(kind));
    assert!(had("syncs failed") || report.skipped.contains_key("points, torn writes, failing syncs"), "{report}");
    assert!(had("wall clock") || report.skipped.contains_key("wall clock"), "{report}");
}

/// Runs a few kills with something spoilt on purpose, at most so often: on a busy host the load may not come to what was spoilt.
#[track_caller]
fn found_out(spoil: Spoil, told: &str) {
    for _ in 0..SPOILT_RUNS {
        let Some(report) = run(SPOILT_KILLS, Menu::default(), Some(spoil)) else { return };
        if report.tally.losses.iter().chain(&report.leftovers).any(|line| line.contains(told)) {
            return;
        }
        println!("{told:?} was not found out: {report}");
    }
    panic!("{told:?} was not found out");
}

/// TM-1, EN-4, LC-6: a server that forgets what it acknowledged does not pass.
#[test]
fn a_server_that_forgets_is_found_out() {
    // What is missed first is chance: a session, a program, an end.
    found_out(Spoil::Forget, " client ");
}

/// EN-10: a server whose environments die with it does not pass.
#[test]
fn environments_that_die_with_the_manager_are_found_out() {
    found_out(Spoil::DieTogether, "which nothing called for");
}

/// EN-4: a server that loses output does not pass.
#[test]
fn lost_output_is_found_out() {
    // Of a program or of a terminal: what is missed first is chance.
    found_out(Spoil::LoseOutput, " client ");
}

/// TM-1: a server that acknowledges what it could not make durable does not pass.
#[test]
fn what_was_never_made_durable_is_found_out() {
    found_out(Spoil::Unsynced, " client ");
}

/// LS-7: a server that gives a lease token twice does not pass.
#[test]
fn a_lease_token_that_is_given_twice_is_found_out() {
    found_out(Spoil::TokenTwice, "was given twice");
}

/// TM-8: a server that leaves something behind does not pass.
#[test]
fn a_process_that_stays_behind_is_found_out() {
    found_out(Spoil::LeaveProcess, "sleep");
}
