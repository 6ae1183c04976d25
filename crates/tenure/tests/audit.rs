//! `tenure audit`: listed, and verified with the server and away from it.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use support::server::{server, steady};
use support::{PATIENCE, eventually};

/// TR-5, CL-2: an exported log verifies away from the server, and one that was tampered with does not.
#[test]
fn a_log_is_verified_away_from_its_server() {
    let server = server();
    let id = server.session_with(&["--no-environment"]);
    server.ask(["session", "terminate", &id, "--reason", "completed"]);
    let signed = || server.ask(["audit", "verify"]).json()["heads_checked"].as_u64().unwrap() > 0;
    assert!(eventually(PATIENCE, signed), "no head is signed");
    let dir = tempfile::tempdir().unwrap();
    // Heads first: those that come later may name what the log does not have.
    let (log, heads) = (dir.path().join("log"), dir.path().join("heads"));
    std::fs::copy(server.dir().path().join("audit.heads"), &heads).unwrap();
    let lines = server.ask(["audit", "list", "--lines"]).out();
    assert!(lines.lines().count() > 3, "{lines}");
    let key = server.dir().path().join("audit.pub");
    let verify = |text: &str| {
        std::fs::write(&log, text).unwrap();
        let [log, heads, key] = [&log, &heads, &key].map(|path| path.to_str().unwrap());
        // No server is needed, nor asked.
        let mut command = support::command();
        support::answer(command.args(["audit", "verify", "--file", log, "--heads", heads, "--public-key", key]))
    };
    let intact = verify(&lines).json();
    assert_eq!(
        (intact["intact"].as_bool(), intact["signatures_checked"].as_bool()),
        (Some(true), Some(true)),
        "{intact}"
    );
    assert!(intact["heads_checked"].as_u64().unwrap() > 0, "{intact}");

    let changed = verify(&lines.replacen("\"reason\":\"completed\"", "\"reason\":\"user_request\"", 1));
    assert_eq!((changed.code, changed.json_error()["code"].as_str()), (3, Some("AUDIT_DAMAGED")), "{changed}");
    assert_eq!(changed.json_error()["details"]["problem"]["kind"], "changed", "{changed}");
    let removed: String =
        lines.lines().enumerate().filter(|(n, _)| *n != 1).map(|(_, line)| format!("{line}\n")).collect();
    assert_eq!(verify(&removed).json_error()["details"]["problem"]["position"], 2);
    assert_eq!(verify("{}\n").code, 3);
}

/// TR-4, TR-5: the server says what was done, and that its record of it is whole.
#[test]
fn the_server_verifies_its_own() {
    let server = server();
    let id = server.session_with(&["--no-environment"]);
    let listed = server.ask(["audit", "list", "--session", &id]).json();
    assert_eq!(listed["items"][0]["action"], "session_create", "{listed}");
    assert_eq!(server.ask(["audit", "verify"]).json()["intact"], true);
    let alice = server.key_of("alice");
    let denied = support::answer(server.tenure(["audit", "list"]).env("TENURE_API_KEY", &alice));
    assert_snapshot!(steady(&denied), @r#"
    ! {"code":"ACCESS_DENIED","details":{},"error":true,"message":"the credential does not allow this"}
    [5]
    "#);
}
