//! `tenure selftest`: what this host can promise, tried by kills, for people and for programs.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Answer, DataDir, answer, is_root};

/// The report without what differs from host to host and from run to run.
fn outline(answer: &Answer) -> String {
    let promise = |line: &str| line.starts_with("holds ") || line.starts_with("BROKEN ");
    answer.out().lines().filter(|line| promise(line)).map(|line| format!("{}\n", line[..41].trim_end())).collect()
}

/// What the command leaves in its data directory, beside what any command makes there.
fn left(dir: &DataDir) -> Vec<String> {
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("selftest")).collect()
}

/// TM-1, TM-8, EN-4, EN-10, LS-7, TR-5: a server of its own is killed, and every promise holds.
#[test]
fn selftest_tries_every_promise_and_leaves_nothing() {
    let dir = DataDir::new();
    let answer = answer(&mut dir.tenure(["selftest", "--kills", "3"]));
    insta::assert_snapshot!(outline(&answer), @"
    holds    acknowledged sessions are there
    holds    environments outlive the server
    holds    output has no gap
    holds    acknowledged files are there
    holds    ends stay as they were told
    holds    leases and their tokens hold
    holds    the audit is intact
    holds    nothing stays behind
    ");
    assert_eq!(answer.err(), "", "there is no terminal to show progress on");
    if is_root() {
        assert!(answer.out().ends_with("This host can give everything that is promised.\n"), "{answer}");
        assert_eq!(answer.code, 0);
    } else {
        assert!([0, 10].contains(&answer.code), "{answer}");
    }
    assert_eq!(left(&dir), Vec::<String>::new());
}

/// CL-2: the same as JSON, and an exit code that agrees with it.
#[test]
fn selftest_speaks_json() {
    let dir = DataDir::new();
    let answer = answer(&mut dir.tenure(["selftest", "--json", "--kills", "1"]));
    let report = answer.json();
    assert_eq!(answer.code == 0, report["holds"] == true, "{report}");
    let promises = report["promises"].as_array().unwrap();
    assert!(promises.iter().all(|promise| promise["holds"] == true && promise["seen"].is_string()), "{report}");
    assert_eq!(report["measured"]["kills"], 1);
    assert_eq!(report["measured"]["restart_ms"].as_array().unwrap().len(), 1);
    assert!(report["measured"]["fsync_us"].is_u64() && report["host"]["walls"].is_array(), "{report}");
    assert_eq!(left(&dir), Vec::<String>::new());
}

/// CL-2: as often as asked, within bounds.
#[test]
fn selftest_refuses_no_kills_at_all() {
    let answer = answer(&mut DataDir::new().tenure(["selftest", "--kills", "0"]));
    insta::assert_snapshot!(answer, @"
    ! error: invalid value '0' for '--kills <N>': 0 is not in 1..=100
    !
    ! For more information, try '--help'.
    [2]
    ");
}
