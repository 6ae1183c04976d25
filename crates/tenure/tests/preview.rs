//! `tenure preview`: ports of a session.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use support::needs_root;
use support::server::{server, steady};

/// EN-6: registered, listed, asked, opened, removed.
#[test]
fn ports_are_made_reachable_and_unreachable() {
    if needs_root() {
        return;
    }
    let server = server();
    let session = server.session();
    let ask = |words: &[&str]| {
        let words: Vec<&str> =
            [&["preview"], words].concat().into_iter().map(|word| if word == "ID" { &session } else { word }).collect();
        steady(&server.ask(words))
    };
    assert_snapshot!(ask(&["register", "ID", "8000"]), @"http://SERVER/v1/sessions/SESSION/preview/8000/");
    assert_snapshot!(ask(&["list", "ID"]), @r"
    PORT  URL                                                       SINCE
    8000  /v1/sessions/SESSION/preview/8000/  TIME
    ");
    assert_snapshot!(ask(&["health", "ID", "8000"]), @r"
    error    port 8000: Connection refused
    healthy  false
    port     8000
    [10]
    ");
    assert_snapshot!(ask(&["open-url", "ID", "8000"]), @"http://SERVER/v1/sessions/SESSION/preview/8000/?ticket=TICKET");
    assert_snapshot!(ask(&["remove", "ID", "8000"]), @"");
    assert_snapshot!(ask(&["open-url", "ID", "8000"]), @r"
    ! tenure: port 8000 of SESSION is not registered
    !   hint: `tenure preview register` does that
    [4]
    ");
    assert_snapshot!(ask(&["register", "ID", "80"]), @r"
    ! tenure: port must be 1024 to 65535
    !   hint: missing_fields and invalid_fields name each of them
    [3]
    ");
}
