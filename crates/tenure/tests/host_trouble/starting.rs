//! An environment that cannot be made: its template's files are gone from the disk.
#![allow(clippy::unwrap_used)]

use crate::directory;
use crate::own::Own;
use crate::support::needs_root;
use serde_json::json;
use std::fs;

/// QA-1, LC-5, FL-1: who asked hears the class, what to tell a user and what helps; it is recorded, nothing is left, and it goes once it can.
#[test]
fn a_session_whose_environment_cannot_be_made_fails_in_words_and_leaves_nothing() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    let server = Own::start(&dir.path().join("data"), &[]);
    let source = format!("dir:{}", root.display());
    assert_eq!(server.ask(["template", "add", "hollow", &source]).out(), "hollow@1\n");
    let kept = server.dir.join("templates/hollow/1/root");
    let away = kept.with_extension("away");
    fs::rename(&kept, &away).unwrap();

    let refused = server.ask(["--json", "session", "create", "--template", "hollow"]);
    assert_eq!(refused.code, 10, "{refused}");
    let problem: serde_json::Value = serde_json::from_str(&refused.err()).unwrap();
    assert_eq!(problem["code"], "INIT_FAILED", "{problem}");
    let failure = &problem["details"]["failure"];
    assert_eq!((&failure["type"], &failure["recovery_action"]), (&json!("init"), &json!("create_new")), "{problem}");
    assert_eq!(problem["message"], "The session could not be started. Create a new one.");

    let id = problem["details"]["session_id"].as_str().unwrap();
    let session = server.json(&["session", "get"], id);
    assert_eq!((&session["state"], &session["termination_reason"]), (&json!("failed"), &json!("failed_init")));
    assert_eq!(session["environment"]["state"], "gone");
    let swept = server.ask(["--json", "cleanup-ttl", "sweep", "--dry-run"]).json();
    assert_eq!(
        (&swept["orphaned_environment_ids"], &swept["left_environment_ids"]),
        (&json!([]), &json!([])),
        "{swept}"
    );

    fs::rename(&away, &kept).unwrap();
    server.session(&["--template", "hollow"]);
}
