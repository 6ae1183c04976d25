//! Somebody dies: the agent, its environment for want of memory, the keeper.
#![allow(clippy::unwrap_used)]

use crate::directory;
use crate::http::ask;
use crate::own::{Own, cmdline, parent_of, processes, signal};
use crate::support::{eventually, needs_root};
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn server(dir: &tempfile::TempDir) -> Own {
    Own::start(&dir.path().join("data"), &[("TENURE_GRACE_MS", "500")])
}

fn ended(server: &Own, id: &str) -> bool {
    eventually(SOON, || !server.json(&["session", "get"], id)["terminated_at"].is_null())
}

/// TM-5, TM-7, TR-8, FL-1: an agent that is killed takes its session with it, and everybody hears how.
#[test]
fn a_killed_agent_fails_its_session_and_callers_in_flight_hear_what_was_captured() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let server = server(&dir);
    let (id, other) = (server.session(&[]), server.session(&[]));
    let agent = server.agent_of(&id);
    let (path, body) =
        (format!("/v1/sessions/{id}/exec"), json!({ "cmd": ["sh", "-c", "echo half; sleep 60"] }).to_string());
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&server, "POST", &path, &body));
        let printed = || {
            let execs = server.json(&["execs", "list"], &id);
            let exec = execs["items"].as_array().and_then(|all| all.last()?["exec_id"].as_str().map(str::to_owned));
            exec.is_some_and(|exec| server.ask(["execs", "output", &id, &exec]).out() == "half\n")
        };
        assert!(eventually(SOON, printed));
        signal(agent, Signal::KILL);
        waiting.join().unwrap()
    });
    assert_eq!(waiting.status, 410, "{waiting:?}");
    assert_eq!(
        (&waiting.body["reason"], &waiting.body["captured"]["stdout"]),
        (&json!("failed_runtime"), &json!("half\n"))
    );
    let explained = server.json(&["session", "explain"], &id);
    assert_eq!(explained["ended"]["reason"], "failed_runtime", "{explained}");
    assert_eq!(explained["evidence"]["failure"]["type"], "runtime", "{explained}");
    assert!(explained["evidence"]["failure"]["message"].as_str().unwrap().contains("died while it was in use"));
    let gone = || server.json(&["session", "get"], &id)["environment"]["state"] == "gone";
    assert!(eventually(SOON, gone), "nothing is left of it");
    assert_eq!(server.ask(["exec", &other, "--", "true"]).code, 0, "nobody else is harmed");
}

/// GV-4, EN-3: who eats more memory than there is dies of it, and the session lives.
#[test]
fn a_program_that_eats_all_memory_is_killed_for_it_and_its_session_lives() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let server = server(&dir);
    let id = server.session(&["--memory", "64M"]);
    let eaten =
        ask(&server, "POST", &format!("/v1/sessions/{id}/exec"), &json!({ "cmd": ["tail", "/dev/zero"] }).to_string());
    assert_eq!(eaten.status, 200, "{eaten:?}");
    assert_eq!((&eaten.body["oom_killed"], &eaten.body["exit_code"]), (&json!(true), &json!(null)), "{eaten:?}");
    assert_eq!(server.ask(["exec", &id, "--", "true"]).code, 0);
    assert_eq!(server.json(&["session", "get"], &id)["state"], "running");
    assert_eq!(server.json(&["session", "status"], &id)["observation"]["limits_reached"], json!(["memory"]));
}

/// TM-5, FL-1, GV-4: where the kernel kills the first process itself for memory, that is what is said, since its counters prove it.
#[test]
fn a_first_process_that_is_killed_for_memory_fails_its_session_in_these_words() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let server = server(&dir);
    let id = server.session(&["--memory", "64M"]);
    let agent = server.agent_of(&id);
    // Several eaters: each is far smaller than the limit, which the first process counts for once it is preferred.
    let eat = "sleep 3; tail /dev/zero & tail /dev/zero & tail /dev/zero & wait";
    let body = json!({ "cmd": ["sh", "-c", eat], "timeout_ms": 60_000 }).to_string();
    let path = format!("/v1/sessions/{id}/exec");
    let eaten = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&server, "POST", &path, &body));
        let mut eater = Vec::new();
        let is_it = |pid: u32| cmdline(pid).contains("sleep 3; tail") && parent_of(pid) == Some(agent);
        assert!(eventually(SOON, || {
            eater = processes(is_it);
            !eater.is_empty()
        }));
        // The kernel is told to take the first process before any other: the other way round than it is made.
        let prefer = |pid: u32, score: &str| std::fs::write(format!("/proc/{pid}/oom_score_adj"), score);
        let turned = prefer(eater[0], "0").and_then(|()| prefer(agent, "1000"));
        (turned, waiting.join().unwrap())
    });
    let (turned, eaten) = eaten;
    if let Err(error) = turned {
        return println!("skipped: the kernel does not let its choice be turned round: {error}");
    }
    assert_eq!(eaten.status, 410, "{eaten:?}");
    assert!(ended(&server, &id));
    let explained = server.json(&["session", "explain"], &id);
    assert_eq!(explained["ended"]["reason"], "failed_runtime", "{explained}");
    let message = explained["evidence"]["failure"]["message"].as_str().unwrap();
    assert_eq!(message, "the environment's first process was killed for memory", "{explained}");
}

/// EN-3, EN-10: sessions outlive their keeper, new ones can be made, and how a program ended is seen or unknown, never made up.
#[test]
fn a_killed_keeper_harms_no_session_and_no_exit_code_is_made_up() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let server = server(&dir);
    let id = server.session(&[]);
    let started = server.ask(["--json", "exec", "--background", &id, "--", "sh", "-c", "sleep 1; exit 7"]).json();
    let exec = started["exec_id"].as_str().unwrap().to_owned();
    let keepers = server.keepers();
    assert!(!keepers.is_empty(), "there is a keeper");
    keepers.iter().for_each(|pid| signal(*pid, Signal::KILL));

    assert_eq!(server.ask(["exec", &id, "--", "true"]).code, 0, "the session lives");
    let made = || server.ask(["session", "create"]).code == 0;
    assert!(eventually(SOON, made), "new sessions can be made\n{}", server.log());
    let path = format!("/v1/sessions/{id}/execs/{exec}");
    let settled = || !ask(&server, "GET", &path, "").body["ended_at"].is_null();
    assert!(eventually(SOON, settled));
    let exec = ask(&server, "GET", &path, "").body;
    let seen = exec["state"] == "exited" && exec["exit_code"] == 7;
    let unknown = exec["state"] == "unknown" && exec["exit_code"].is_null();
    assert!(seen || unknown, "{exec}");
    assert_eq!(server.json(&["session", "get"], &id)["state"], "running");
}
