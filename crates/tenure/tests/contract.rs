//! The contracts: JSON on both streams, exit codes, and the names that the binary answers to.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use std::process::Command;
use support::server::{server, steady};
use support::{Answer, answer, binary, command, needs_root};

const ID: &str = "exec_20261121_020944_4ad060d9";

fn ask(words: &[&str]) -> Answer {
    answer(command().args(words))
}

fn check(words: &[&str], code: i32, name: &str, fields: (&[&str], &[&str])) {
    let refused = ask(words);
    let error = refused.json_error();
    assert_eq!((refused.code, error["code"].as_str(), refused.out().as_str()), (code, Some(name), ""), "{refused}");
    assert_eq!(error["error"], true);
    let told = |name: &str| serde_json::from_value::<Vec<String>>(error["details"][name].clone()).unwrap_or_default();
    assert_eq!((told("missing_fields"), told("invalid_fields")), (owned(fields.0), owned(fields.1)), "{refused}");
}

fn owned(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
}

/// CL-2, ID-3: an identity is complete and well formed, or every wrong part of it is named; no server is asked.
#[test]
fn an_identity_is_whole_or_refused() {
    let words = ["session-identity", "validate", "--user-id", "alice", "--session-id", ID];
    assert_snapshot!(ask(&words), @r#"{"environment_id":null,"session_id":"exec_20261121_020944_4ad060d9","user_id":"alice"}"#);
    let inside = [&words[..], &["--environment-id", "env_0123456789abcdef"]].concat();
    assert_eq!(ask(&inside).json()["environment_id"], "env_0123456789abcdef");
    let validate =
        |words: &[&str], fields| check(&[&["session-identity", "validate"], words].concat(), 3, "VALIDATION", fields);
    validate(&[], (&["user_id", "session_id"], &[]));
    validate(&["--user-id", "", "--session", ID], (&["user_id"], &[]));
    validate(&["--user-id", "a b", "--session-id", "exec_20260230_000000_00000000"], (&[], &["user_id", "session_id"]));
    validate(&["--user-id", "a", "--session-id", ID, "--environment-id", "x"], (&[], &["environment_id"]));
    validate(&["--user-id", "a", "--session-id", &format!("{ID}\n")], (&[], &["session_id"]));
    check(&["session-identity", "validate", "--user", "x"], 2, "USAGE", (&[], &[]));
}

/// CL-2, FL-1: a failure is classified from its type and context; no server is asked.
#[test]
fn a_failure_is_classified() {
    let classify =
        |kind: &str, context: &str| ask(&["failure-classification", "classify", "--type", kind, "--context", context]);
    assert_snapshot!(classify("init", r#"{"cause":"timeout"}"#), @r#"{"message":"the environment was not ready in time","recoverable":true,"recovery_action":"retry","severity":"high","technical_details":"{\"cause\":\"timeout\"}","type":"init","user_message":"The session took too long to start. Try again."}"#);
    assert_eq!(classify("access", "{}").json()["recovery_action"], "none");
    let refused = |words: &[&str], fields| {
        check(&[&["failure-classification", "classify"], words].concat(), 3, "VALIDATION", fields)
    };
    refused(&["--context", "{}"], (&["type"], &[]));
    refused(&["--type", "weather", "--context", "{"], (&[], &["type", "context"]));
    refused(&["--type", "init", "--context", "[]"], (&[], &["context"]));
}

/// CL-2, ID-3: what is missing is named before any server is looked for.
#[test]
fn missing_parts_are_named_without_a_server() {
    for words in [
        &["session-status", "get"][..],
        &["session-lifecycle", "status"],
        &["session-lifecycle", "transition", "--to", "paused"],
        &["execution-environment", "create"],
        &["execution-environment", "status"],
        &["execution-environment", "destroy"],
        &["environment-access", "authorize", "--user-id", "alice"],
        &["cleanup-ttl", "check"],
    ] {
        check(words, 3, "VALIDATION", (&["session_id"], &[]));
    }
    check(&["session-lifecycle", "transition", "--session-id", ID], 3, "VALIDATION", (&["to"], &[]));
    check(&["session-lifecycle", "transition", "--session-id", ID, "--to", "flying"], 3, "VALIDATION", (&[], &["to"]));
    check(&["environment-access", "deny"], 3, "VALIDATION", (&["reason"], &[]));
    check(&["session-status", "get", "--session-id", "x"], 3, "INVALID_FORMAT", (&[], &["session_id"]));
}

/// CL-2: called by a contract's name, the binary is that contract.
#[test]
fn the_binary_answers_to_the_names_of_contracts() {
    let dir = tempfile::tempdir().unwrap();
    let called = |name: &str, words: &[&str]| {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(binary(), &link).unwrap();
        answer(Command::new(link).args(words).env("TENURE_CONFIG", "/dev/null"))
    };
    let identity = called("session-identity", &["validate", "--user-id", "alice", "--session-id", ID]);
    assert_eq!(identity.json()["user_id"], "alice", "{identity}");
    assert_eq!(called("failure-classification", &["classify", "--type", "infra"]).json()["severity"], "critical");
    let contracts =
        ["session-lifecycle", "execution-environment", "environment-access", "session-status", "cleanup-ttl", "audit"];
    for name in contracts {
        let refused = called(name, &["--no-such-flag"]);
        assert_eq!((refused.code, refused.json_error()["code"].as_str()), (2, Some("USAGE")), "{refused}");
    }
}

/// CL-2, LC-3, EN-8: states, environments and access through a server.
#[test]
fn contracts_are_kept_through_a_server() {
    if needs_root() {
        return;
    }
    let server = server();
    let id = server.session();
    let ask = |words: &[&str]| server.ask([words, &["--session-id", &id]].concat());
    let lifecycle = ask(&["session-lifecycle", "status"]).json();
    assert_eq!((lifecycle["state"].as_str(), lifecycle["phase"].as_str()), (Some("ready"), Some("ACTIVE")));
    assert_eq!(ask(&["session-lifecycle", "transition", "--to", "paused"]).json()["state"], "paused");
    assert_eq!(ask(&["session-lifecycle", "transition", "--to", "ready"]).json()["state"], "ready");
    assert_snapshot!(steady(&ask(&["session-lifecycle", "transition", "--to", "created"])), @r#"
    ! {"code":"INVALID_TRANSITION","details":{"allowed_transitions":["running","paused","terminated","failed"],"hint":"it can become running, paused, terminated, failed","state":"ready"},"error":true,"message":"a session that is ready cannot become created"}
    [6]
    "#);
    assert_eq!(ask(&["session-status", "get"]).json()["display_state"], "ready");
    assert_eq!(ask(&["execution-environment", "status"]).json()["environment"]["state"], "ready");
    assert_snapshot!(steady(&ask(&["execution-environment", "create"])), @r#"
    ! {"code":"ENVIRONMENT_EXISTS","details":{"hint":"one session, one environment"},"error":true,"message":"the session has an environment"}
    [8]
    "#);
    let granted = ask(&["environment-access", "authorize", "--user-id", "admin"]).json();
    assert_eq!((granted["authorized"].as_bool(), granted["session_id"].as_str()), (Some(true), Some(id.as_str())));
    assert_snapshot!(steady(&ask(&["environment-access", "authorize", "--user-id", "eve"])), @r#"
    ! {"code":"ACCESS_DENIED","details":{},"error":true,"message":"the credential does not allow this"}
    [5]
    "#);
    assert_snapshot!(steady(&ask(&["environment-access", "deny", "--user-id", "eve", "--reason", "left the course"])), @r#"
    ! {"code":"ACCESS_DENIED","details":{},"error":true,"message":"the credential does not allow this"}
    [5]
    "#);
    let audited = server.ask(["audit", "list", "--all"]).json();
    let denied = audited["items"].as_array().unwrap().iter().find(|entry| entry["reason"] == "left the course");
    assert!(denied.is_some(), "{audited}");
    assert_eq!(ask(&["execution-environment", "destroy"]).code, 0);
    assert_eq!(ask(&["session-lifecycle", "status"]).json()["state"], "terminated");
    assert_eq!(ask(&["session-lifecycle", "transition", "--to", "paused"]).code, 6);
    let unknown = server.ask(["session-status", "get", "--session-id", "exec_20260101_000000_00000000"]);
    assert_eq!(
        (unknown.code, unknown.json_error()["details"]["reason"].as_str()),
        (4, Some("never_existed")),
        "{unknown}"
    );
}
