//! Retention with a real server and times of seconds: archived, read where that is asked for, purged, and the audit whole at each step (TR-6).
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use support::server::{Server, steady};
use support::{PATIENCE, eventually, needs_root};

const ARCHIVES: [&str; 2] = ["retention.interval_ms=200ms", "retention.archive_after_ms=1s"];
const PURGES: [&str; 3] = [ARCHIVES[0], ARCHIVES[1], "retention.purge_after_ms=2s"];

/// Names in the directory of all output.
fn output_files(server: &Server) -> Vec<String> {
    let entries = std::fs::read_dir(server.dir().path().join("output")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// TR-6, TR-2, TM-1, TM-3, EN-4: the whole way, across two kills of the server.
#[test]
fn an_ended_session_is_archived_and_then_purged() {
    if needs_root() {
        return;
    }
    let mut server = Server::start_with(&ARCHIVES);
    let id = server.session_with(&["--metadata", "team=blue"]);
    server.ask(["exec", &id, "--", "echo", "words that stay"]);
    let execs: serde_json::Value = serde_json::from_str(&get(&server, &format!("/v1/sessions/{id}/execs")).1).unwrap();
    let exec = execs["items"][0]["exec_id"].as_str().unwrap().to_owned();
    server.ask(["session", "terminate", &id, "--reason", "completed", "--detail", "handed in"]);
    let ended = server.ask(["--json", "session", "get", &id, "--include-deleted"]).json();
    let is_archived = |server: &Server| server.ask(["session", "get", &id]).to_string().contains("archived");
    assert!(eventually(PATIENCE, || is_archived(&server)), "it is not archived");

    let ask = |server: &Server, words: &[&str]| {
        let words = words.iter().map(|word| if *word == "ID" { id.as_str() } else { word });
        steady(&server.ask(words.collect::<Vec<_>>()))
    };
    assert_snapshot!(ask(&server, &["session", "get", "ID"]), @r"
    ! tenure: there is no session SESSION (archived)
    !   hint: reason says what is known of it
    [4]
    ");
    assert_snapshot!(ask(&server, &["exec", "ID", "--", "true"]), @r"
    ! tenure: the session ended at TIME for the reason completed, and was archived at TIME
    !   hint: nothing changes or brings back a session that was archived; include_deleted=true reads what is left of it
    [125]
    ");
    assert_snapshot!(ask(&server, &["session", "undelete", "ID"]), @r"
    ! tenure: the session ended at TIME for the reason completed, and was archived at TIME
    !   hint: nothing changes or brings back a session that was archived; include_deleted=true reads what is left of it
    [7]
    ");
    assert_snapshot!(ask(&server, &["session", "terminate", "ID"]), @"SESSION terminated (completed)");
    assert_eq!(server.ask(["--json", "session", "list"]).json()["items"].as_array().unwrap().len(), 0);

    // A kill in between, and nothing is lost.
    server.kill_and_start_with(&ARCHIVES);
    let read = server.ask(["--json", "session", "get", &id, "--include-deleted"]).json();
    for name in ["terminated_at", "termination_reason", "termination_detail", "metadata", "created_at"] {
        assert_eq!(read[name], ended[name], "{name}");
    }
    assert!(read["archived_at"].is_string() && read["purged_at"].is_null(), "{read}");
    assert_eq!((&read["archive"]["execs"], read["archive"]["content_sha256"].as_str().unwrap().len()), (&1.into(), 64));
    let audit = server.ask(["session", "audit", &id, "--include-deleted"]).out();
    assert!(audit.lines().last().unwrap().contains("archive"), "{audit}");
    assert_eq!(output_files(&server), [format!("{id}.tar.zst")]);
    let output = get(&server, &format!("/v1/sessions/{id}/execs/{exec}/output?include_deleted=true&offset=6"));
    assert_eq!(output, (200, "that stay\n".to_owned()));
    let hidden = get(&server, &format!("/v1/sessions/{id}/execs/{exec}/output"));
    assert!(hidden.0 == 404 && hidden.1.contains("\"reason\":\"archived\""), "{hidden:?}");
    assert_eq!(server.ask(["audit", "verify"]).json()["intact"], true);

    server.kill_and_start_with(&PURGES);
    let tombstone = || server.ask(["--json", "session", "get", &id, "--include-deleted"]).json();
    assert!(eventually(PATIENCE, || tombstone()["purged_at"].is_string()), "it is not purged");
    let left = tombstone();
    for name in ["terminated_at", "termination_reason", "created_at", "archived_at", "archive"] {
        assert_eq!(left[name], read[name], "{name}");
    }
    assert!(left["termination_detail"].is_null() && left["metadata"] == serde_json::json!({}), "{left}");
    assert!(eventually(PATIENCE, || output_files(&server).is_empty()), "{:?}", output_files(&server));
    assert_eq!(get(&server, &format!("/v1/sessions/{id}/execs/{exec}?include_deleted=true")).0, 404);
    assert!(is_archived(&server));
    assert_eq!(server.ask(["audit", "verify"]).json()["intact"], true);
}

/// What the server answers to a request that no command makes.
fn get(server: &Server, path: &str) -> (u16, String) {
    let key = std::fs::read_to_string(server.dir().path().join("admin.key")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let request = reqwest::Client::new().get(format!("{}{path}", server.url())).bearer_auth(key.trim());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}
