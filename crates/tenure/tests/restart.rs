//! Kills the server under load, again and again, and finds everything that it acknowledged: see the `torture` crate.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;
use torture::{Menu, Plan, Report};

/// Long enough on a slow machine: what takes longer hangs.
const AT_MOST: Duration = Duration::from_secs(900);

/// Runs one, and says by which seed it can be had again.
fn torture(kills: u64, menu: Menu) -> Option<Report> {
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
    };
    let report = torture::run(&plan, |_, _| ()).unwrap();
    println!("{report}");
    if report.is_bad() {
        let dir = dir.keep();
        panic!("again with TENURE_TORTURE_SEED={}; data and log are in {}", plan.seed, dir.display());
    }
    assert_eq!(report.kills(), kills, "the time was over before the kills were");
    Some(report)
}

/// TM-1, TM-2, TM-8, TR-5, LC-5, LC-6, EN-4, EN-10
#[test]
fn nothing_acknowledged_is_lost_when_the_manager_is_killed_at_random() {
    if let Some(report) = torture(150, Menu::default()) {
        assert!(report.acknowledged() > 500, "there was hardly any load");
    }
}
