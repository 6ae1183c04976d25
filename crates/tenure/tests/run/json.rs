//! The line of JSON that says how a program ended.

use crate::support::{Answer, answer, data_dir, is_root, needs_root};
use serde_json::Value;

fn told(options: &str, script: &str) -> (Answer, Value) {
    let answer = answer(&mut data_dir().script(&format!("--json {options}"), script));
    assert_eq!(answer.err(), "", "with --json nothing is said in words");
    let last = answer.out().lines().last().unwrap_or_default().to_owned();
    (answer, serde_json::from_str(&last).unwrap())
}

/// CL-2: one line after what the program itself printed, with everything there is to know.
#[test]
fn json_says_how_it_ended() {
    let (answer, line) = told("--memory 64M --cpu 0.5 --pids 20 --disk 32M", "echo own; exit 3");
    assert_eq!((answer.code, answer.out().lines().next()), (3, Some("own")));
    assert_eq!(line["exit_code"], 3);
    assert_eq!(line["program"], serde_json::json!({ "exit_code": 3, "signal": null }));
    assert_eq!((line["timed_out"].as_bool(), line["oom_killed"].as_bool()), (Some(false), Some(false)));
    assert!(line["duration_ms"].as_u64().unwrap() < 60_000);
    assert!(line["environment"]["id"].as_str().unwrap().starts_with("env_"));
    assert_eq!(line["environment"]["generation"], 1);
    let limits = serde_json::json!({ "cpu_millis": 500, "memory_bytes": 64 << 20, "pids": 20, "disk_bytes": 32 << 20 });
    assert_eq!(line["limits"], limits);
    for limit in ["cpu", "memory", "pids", "disk"] {
        let enforced = line["enforced"][limit].as_bool();
        assert!(if is_root() { enforced == Some(true) } else { enforced.is_some() }, "{limit}: {line}");
    }
}

/// EN-3: an exit code is never invented: the program had none.
#[test]
fn json_tells_a_timeout_from_a_signal() {
    let (answer, line) = told("--timeout 0.2", "sleep 10");
    assert_eq!((answer.code, line["exit_code"].as_i64()), (124, Some(124)));
    assert_eq!((line["timed_out"].as_bool(), line["program"]["exit_code"].as_i64()), (Some(true), None));
    let (answer, line) = told("", "kill -9 $$");
    assert_eq!((answer.code, line["exit_code"].as_i64()), (137, Some(137)));
    assert_eq!((line["timed_out"].as_bool(), line["oom_killed"].as_bool()), (Some(false), Some(false)));
    assert_eq!(line["program"], serde_json::json!({ "exit_code": null, "signal": 9 }));
}

/// GV-4, EN-3: memory is told apart from other kills.
#[test]
fn json_tells_an_oom_kill() {
    if needs_root() {
        return;
    }
    let (answer, line) = told("--memory 32M", "exec python3 -c 'print(len(\"x\" * 10**9))'");
    assert_eq!(
        (answer.code, line["oom_killed"].as_bool(), line["program"]["signal"].as_i64()),
        (137, Some(true), Some(9))
    );
}
