//! `tenure doctor`: what this host can give, for people and for programs.
#![allow(clippy::unwrap_used)]

mod support;

use support::{answer, data_dir, is_root};

/// EN-2, GV-4: a line per wall, and a verdict that agrees with the exit code.
#[test]
fn doctor_says_which_walls_stand() {
    let answer = answer(&mut data_dir().tenure(["doctor"]));
    for wall in ["kernel", "user IDs", "namespaces", "seccomp", "control groups", "storage"] {
        let has = |line: &str| line.get(9..).is_some_and(|rest| rest.starts_with(wall));
        assert!(answer.out().lines().any(has), "{wall} is missing:\n{answer}");
    }
    assert_eq!(answer.err(), "");
    if is_root() {
        assert_eq!(answer.code, 0);
        assert!(answer.out().contains("Environments can be made here, and every limit is enforced."), "{answer}");
    } else {
        assert!([0, 10].contains(&answer.code), "{answer}");
    }
}

/// CL-2: the same as JSON.
#[test]
fn doctor_speaks_json() {
    let answer = answer(&mut data_dir().tenure(["doctor", "--json"]));
    let report = answer.json();
    let walls = report["walls"].as_array().unwrap();
    assert!(walls.iter().all(|wall| wall["name"].is_string() && wall["detail"].is_string()), "{report}");
    let down = walls.iter().any(|wall| wall["state"] == "down");
    assert_eq!(answer.code, if down { 10 } else { 0 }, "{report}");
    for limit in ["cpu", "memory", "pids", "disk"] {
        assert!(report["enforced"][limit].is_boolean(), "{report}");
    }
}

/// TM-8: looking leaves nothing behind.
#[test]
fn doctor_leaves_nothing() {
    let dir = support::DataDir::new();
    answer(&mut dir.tenure(["doctor"]));
    assert_eq!(std::fs::read_dir(dir.path().join("instances")).unwrap().count(), 0);
}
