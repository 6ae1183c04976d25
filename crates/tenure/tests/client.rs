//! What a command says where no server answers, or something that is none.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use std::io::{Read, Write};
use std::net::TcpListener;
use support::{Answer, answer, command};

fn list(url: &str) -> Answer {
    answer(command().args(["--url", url, "session", "list"]).env("TENURE_API_KEY", "tnr_some"))
}

/// Answers one request with these bytes.
fn once(bytes: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(bytes.as_bytes());
    });
    url
}

/// CL-2: 10, and what to do.
#[test]
fn a_server_that_does_not_answer_is_said_not_to() {
    assert_snapshot!(list("http://127.0.0.1:1"), @r"
    ! tenure: no server answers at http://127.0.0.1:1/
    !   hint: start one with `tenure serve`, or say where it is with --url or TENURE_URL
    [10]
    ");
    let refused =
        answer(command().args(["--json", "--url", "http://127.0.0.1:1", "session", "list"]).env("TENURE_API_KEY", "k"));
    assert_eq!((refused.code, refused.json_error()["code"].as_str()), (10, Some("UNAVAILABLE")), "{refused}");
}

/// AU-1: the administrator's key is not sent to whoever listens while the server is down.
#[test]
fn the_administrators_key_stays_where_it_is_while_no_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("admin.key"), "tnr_secret\n").unwrap();
    let mut list = command();
    list.args(["--url", "http://127.0.0.1:1", "session", "list"]).env("TENURE_DATA_DIR", dir.path());
    let refused = answer(&mut list);
    assert_eq!(refused.code, 10, "{refused}");
    assert!(refused.err().starts_with("tenure: no server has the data directory "), "{refused}");
    std::fs::remove_file(dir.path().join("admin.key")).unwrap();
    assert_eq!(answer(&mut list).code, 5);
}

/// CL-2: addresses that cannot be reached are refused before anything is sent.
#[test]
fn addresses_that_cannot_be_reached_are_refused() {
    assert_snapshot!(list("https://tenure.example.net"), @r"
    ! tenure: https://tenure.example.net asks for TLS, which this command does not speak
    !   hint: name a proxy on this host that speaks TLS to the server, or the server itself by http:// on loopback
    [2]
    ");
    assert_snapshot!(list("tenure.example.net"), @r#"
    ! tenure: "tenure.example.net" is no address of a server: relative URL without a base
    [2]
    "#);
    assert_snapshot!(list("ftp://tenure.example.net"), @r"
    ! tenure: a server is reached by http, not by ftp
    [2]
    ");
}

/// CL-2: what is no Tenure server is said to be none, and a code that is not known has the exit code of its status.
#[test]
fn strange_answers_are_told_as_such() {
    let html = once("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnope");
    assert_snapshot!(list(&html), @r"
    ! tenure: what answered is no Tenure server: it says 404 Not Found, and not why
    [1]
    ");
    let text = once("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnope");
    assert_snapshot!(list(&text), @r"
    ! tenure: what answered is no Tenure server: its answer is no JSON: expected ident at line 1 column 2
    [1]
    ");
    let newer = once(
        "HTTP/1.1 429 Too Many\r\ncontent-length: 44\r\n\r\n{\"code\":\"NEWER\",\"detail\":\"so it is\",\"x\":[1]}",
    );
    assert_snapshot!(list(&newer), @r"
    ! tenure: so it is
    [9]
    ");
    let redirect = once("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(list(&redirect).code, 1);
}
