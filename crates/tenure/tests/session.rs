//! `tenure session`: a session's life, as people and programs see it.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use support::needs_root;
use support::server::{server, steady};

/// CL-2, LC-1, TM-1: made, paused, resumed, given time, ended, deleted, brought back.
#[test]
fn a_session_lives_and_ends() {
    if needs_root() {
        return;
    }
    let server = server();
    let id = server.session_with(&["--metadata", "team=blue", "--memory", "128M", "--idle-timeout", "20m"]);
    let ask = |words: &[&str]| {
        let words: Vec<&str> = ["session"]
            .into_iter()
            .chain(words.iter().copied())
            .map(|word| if word == "ID" { &id } else { word })
            .collect();
        steady(&server.ask(words))
    };
    assert_snapshot!(ask(&["pause", "ID"]), @"SESSION paused, until TIME");
    assert_snapshot!(ask(&["transition", "ID", "--to", "created"]), @r"
    ! tenure: a session that is paused cannot become created
    !   hint: it can become ready, running, terminated, failed
    [6]
    ");
    assert_snapshot!(ask(&["resume", "ID"]), @"SESSION ready, until TIME");
    assert_snapshot!(ask(&["extend", "ID", "--by", "1h"]), @"SESSION ready, until TIME");
    assert_snapshot!(ask(&["terminate", "ID", "--reason", "completed", "--detail", "handed in"]), @"SESSION terminated (completed)");
    assert_snapshot!(ask(&["terminate", "ID"]), @"SESSION terminated (completed)");
    assert_snapshot!(ask(&["pause", "ID"]), @r"
    ! tenure: the session ended at TIME for the reason completed
    !   hint: reason and terminated_at say why and when; GET .../explain shows the evidence
    [7]
    ");
    assert_snapshot!(ask(&["delete", "ID"]), @"SESSION terminated (completed), deleted");
    assert_snapshot!(ask(&["get", "ID"]), @r"
    ! tenure: there is no session SESSION (deleted)
    !   hint: reason says what is known of it
    [4]
    ");
    assert_snapshot!(ask(&["undelete", "ID"]), @"SESSION terminated (completed)");
    assert_snapshot!(ask(&["events", "ID"]), @"terminated   The session ended: completed.");
    assert_snapshot!(ask(&["audit", "ID"]), @r"
    SEQ  AT                        ACTOR        ACTION            FROM          TO            TRIGGER      REASON
    1    TIME  admin:admin  session_create    -             created       user_action  -
    2    TIME  system       session_move      created       initializing  api_call     -
    3    TIME  system       session_move      initializing  ready         api_call     -
    4    TIME  admin:admin  session_pause     ready         paused        user_action  -
    5    TIME  admin:admin  session_resume    paused        ready         user_action  -
    6    TIME  admin:admin  session_extend    ready         ready         user_action  -
    7    TIME  admin:admin  session_end       ready         terminated    user_action  completed
    8    TIME  admin:admin  session_delete    terminated    terminated    user_action  -
    9    TIME  admin:admin  session_undelete  terminated    terminated    user_action  -
    ");
}

/// CL-2: one line for each, and what it may do and use on a line of its own.
#[test]
fn sessions_are_listed_and_shown() {
    if needs_root() {
        return;
    }
    let server = server();
    let id = server.session_with(&["--metadata", "of=sessions_are_listed_and_shown"]);
    let listed = server.ask(["session", "list", "--metadata", "of:sessions_are_listed_and_shown"]);
    assert_snapshot!(steady(&listed), @r"
    ID                             OWNER  TEMPLATE  STATE  CREATED                   EXPIRES                   ENDED FOR
    SESSION  admin  default   ready  TIME  TIME  -
    ");
    let shown = server.ask(["session", "get", &id]).out();
    let has = |name: &str, value: &str| shown.lines().any(|line| line.split_whitespace().eq([name, value]));
    assert!(
        has("state", "ready") && has("limits.pids", "256") && has("metadata.of", "sessions_are_listed_and_shown"),
        "{shown}"
    );
    assert!(!shown.contains("links."), "{shown}");
    assert_snapshot!(steady(&server.ask(["session", "explain", &id])), @r"
    It is alive: no limit has passed. It will end at TIME for the reason idle_timeout, unless something changes.
    ends_first.at              TIME
    ends_first.reason          idle_timeout
    evidence.created_at        TIME
    evidence.environment       ready
    evidence.idle_timeout_ms   1800000
    evidence.last_activity     session_create
    evidence.last_activity_at  TIME
    evidence.lifetime_ends_at  TIME
    evidence.max_lifetime_ms   86400000
    evidence.work              none
    ");
    let status = server.ask(["--json", "session", "status", &id]).json();
    assert_eq!((status["display_state"].as_str(), status["environment_ready"].as_bool()), (Some("ready"), Some(true)));
}

/// CL-2: every page at once, or one after another.
#[test]
fn lists_have_pages() {
    let server = server();
    let ids: Vec<String> =
        (0..3).map(|_| server.session_with(&["--no-environment", "--metadata", "of=pages"])).collect();
    let list = |words: &[&str]| {
        let words = [&["--json", "session", "list", "--metadata", "of:pages", "--limit", "2"], words].concat();
        server.ask(words).json()
    };
    let first = list(&[]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&["--cursor", cursor]);
    let all = list(&["--all"]);
    let count = |page: &serde_json::Value| page["items"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second), count(&all)), (2, 1, ids.len()));
    assert!(all["next_cursor"].is_null());
    let text = server.ask(["session", "list", "--metadata", "of:pages", "--limit", "2"]);
    assert!(text.err().starts_with("there is more: --cursor "), "{text}");
}

/// LC-6, LS-1: made once for a key, however often it is asked for; its lease's token is told to whoever makes it.
#[test]
fn a_session_is_made_once_for_a_key_and_with_a_lease() {
    let server = server();
    let words = ["session", "create", "--no-environment", "--idempotency-key", "once", "--lease-ttl", "60s"];
    let (first, again) = (server.ask(words), server.ask(words));
    assert_eq!((first.code, first.out()), (0, again.out()), "{first}{again}");
    let id = first.out().trim().to_owned();
    let token = first.err().trim().rsplit(' ').next().unwrap().to_owned();
    let transition =
        |words: &[&str]| server.ask([&["session", "transition", &id, "--to", "terminated"], words].concat()).code;
    assert_eq!((transition(&["--lease-token", "77"]), transition(&["--lease-token", &token])), (8, 0));
}

/// CL-2, ID-1, TR-2: the exit code says what kind of failure it is.
#[test]
fn failures_have_their_exit_codes() {
    let server = server();
    let alice = server.key_of("alice");
    let id = server.session_with(&["--no-environment"]);
    let ask = |words: &[&str]| steady(&server.ask(words.iter().copied()));
    assert_snapshot!(ask(&["session", "get", "exec_20260230_000000_00000000"]), @r"
    ! tenure: a session ID is written as exec_YYYYMMDD_HHMMSS_xxxxxxxx: UTC, then 8 lower-case hex digits
    !   hint: a session ID is exec_YYYYMMDD_HHMMSS_xxxxxxxx
    [3]
    ");
    assert_snapshot!(ask(&["session", "get", "exec_20260101_000000_00000000"]), @r"
    ! tenure: there is no session SESSION (never_existed)
    !   hint: reason says what is known of it
    [4]
    ");
    assert_snapshot!(ask(&["session", "get", ".."]), @r#"
    ! tenure: ".." is no name of anything
    [3]
    "#);
    assert_snapshot!(ask(&["session", "create", "--memory", "1"]), @r"
    ! tenure: limits.memory_bytes is 1, allowed is 8388608 to 68719476736
    !   hint: missing_fields and invalid_fields name each of them
    [3]
    ");
    assert_snapshot!(ask(&["session", "create", "--template", "nope"]), @r#"
    ! tenure: there is no template "nope"
    !   hint: GET /v1/templates lists those there are
    [4]
    "#);
    assert_snapshot!(ask(&["session", "pause", &id]), @"SESSION paused, until TIME");
    let stranger = support::answer(server.tenure(["session", "get", &id]).env("TENURE_API_KEY", &alice));
    assert_snapshot!(steady(&stranger), @r"
    ! tenure: there is no session SESSION (never_existed)
    !   hint: reason says what is known of it
    [4]
    ");
    let extend = support::answer(server.tenure(["session", "extend", &id, "--by", "1h"]).env("TENURE_API_KEY", &alice));
    assert_eq!(extend.code, 4, "{extend}");
}
