//! `tenure key`: API keys, and which key a command uses.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use std::os::unix::fs::PermissionsExt;
use support::answer;
use support::server::{server, steady};

/// AU-1: made, used, rotated, revoked; the secret is told once and alone on its stream.
#[test]
fn a_key_is_good_until_it_is_rotated_or_revoked() {
    let server = server();
    let made = server.ask(["key", "create", "--user", "carol", "--label", "laptop", "--expires-in", "90d"]);
    assert_snapshot!(steady(&made), @r"
    SECRET
    ! KEY: this secret is told once
    ");
    let id = made.err().split(':').next().unwrap().to_owned();
    let first = made.out().trim().to_owned();
    let uses = |secret: &str| answer(server.tenure(["--json", "session", "list"]).env("TENURE_API_KEY", secret)).code;
    let rotated = server.ask(["key", "rotate", &id]);
    let second = rotated.out().trim().to_owned();
    assert_ne!(first, second);
    assert_eq!((uses(&first), uses(&second)), (5, 0));
    assert_eq!(server.ask(["key", "revoke", &id]).to_string(), "");
    assert_eq!(uses(&second), 5);
    let listed = server.ask(["key", "list"]).out();
    assert!(listed.lines().any(|line| line.contains("carol") && line.contains("laptop")), "{listed}");
    assert!(!listed.contains(&second), "{listed}");
    assert_snapshot!(steady(&server.ask(["key", "revoke", "key_0000000000000000"])), @r"
    ! tenure: there is no key KEY, or it was revoked
    !   hint: GET /v1/keys lists those there are
    [4]
    ");
}

/// AU-1, AU-3: without a key of one's own the administrator's is used on the server's own host, and nowhere else.
#[test]
fn the_administrators_key_is_used_on_its_own_host_only() {
    let server = server();
    let told = server.ask(["--verbose", "key", "list"]);
    assert_eq!(told.code, 0, "{told}");
    assert!(told.err().contains("admin.key") && server.ask(["key", "list"]).err().is_empty(), "{told}");
    assert_snapshot!(answer(&mut server.dir().tenure(["--url", "http://192.0.2.1:1", "key", "list"])), @r"
    ! tenure: there is no API key for this server
    !   hint: set TENURE_API_KEY; `tenure key create` makes keys
    [5]
    ");
    let alice = server.key_of("alice");
    assert_snapshot!(answer(server.tenure(["key", "list"]).env("TENURE_API_KEY", &alice)), @r"
    ! tenure: the credential does not allow this
    [5]
    ");
    assert_snapshot!(answer(server.tenure(["key", "list"]).env("TENURE_API_KEY", "tnr_wrong")), @r"
    ! tenure: no valid credential came with the request
    !   hint: send Authorization: Bearer with an API key or a token
    [5]
    ");
}

/// AU-1
#[test]
fn the_first_key_is_in_a_file_that_only_its_owner_reads() {
    let server = server();
    let file = server.dir().path().join("admin.key");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1 && text.starts_with("tnr_"), "the key alone on one line");
}
