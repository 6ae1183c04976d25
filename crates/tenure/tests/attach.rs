//! `tenure attach` in a real terminal, against a real server that is killed meanwhile.
#![allow(clippy::unwrap_used)]

mod support;

use support::server::{Server, server, steady};
use support::tmux::{Tmux, vim};
use support::{binary, eventually, needs_root};

/// A terminal whose `tenure` speaks to this server.
fn outside(server: &Server) -> Option<Tmux> {
    let key = std::fs::read_to_string(server.dir().path().join("admin.key")).unwrap();
    Tmux::start(&[&format!("TENURE_API_KEY={}", key.trim())])
}

/// Types `tenure attach` with these words.
fn attaches(tmux: &Tmux, server: &Server, words: &str) {
    tmux.types(&format!("clear; TENURE_URL={} {} attach {words}", server.url(), binary().display()));
}

/// The only program that runs in a session: its exec, and its process inside.
fn process(server: &Server, session: &str, name: &str) -> (String, String) {
    let listed = server.ask(["--json", "execs", "list", session]).json();
    let items = listed["items"].as_array().unwrap();
    let terminal = items.iter().find(|exec| exec["tag"] == "terminal").unwrap_or_else(|| panic!("{listed}"));
    let find =
        format!("for p in /proc/[0-9]*; do grep -qx {name} $p/comm && echo $p $(cut -d\" \" -f22 $p/stat); done");
    let found = server.ask(["exec", session, "--", "sh", "-c", &find]).out();
    (terminal["exec_id"].as_str().unwrap().to_owned(), found)
}

/// EN-7, EN-4, EN-10: an editor in a session outlives the server that it was opened through, and is drawn again for whoever comes back.
#[test]
fn an_editor_outlives_the_server_and_is_come_back_to() {
    if needs_root() {
        return;
    }
    let Some(vim) = vim() else { return };
    let mut server = Server::start();
    let session = server.session();
    let Some(tmux) = outside(&server) else { return };
    attaches(&tmux, &server, &format!("{session} -- {vim} -u NONE notes.txt"));
    tmux.sees_line("~");
    tmux.press("i");
    tmux.types("written before");
    tmux.sees("written before");
    let before = process(&server, &session, vim);
    server.kill_and_start();
    tmux.sees("the connection to the server broke");
    tmux.is_sane();
    tmux.ask(&["resize-window", "-x", "100", "-y", "30"]);
    attaches(&tmux, &server, &format!("{session} --exec {}", before.0));
    tmux.sees_that("its screen in the new size", |screen| {
        screen.contains("written before") && screen.lines().filter(|line| line.trim_end() == "~").count() >= 26
    });
    assert_eq!(process(&server, &session, vim), before, "it is the same process");
    tmux.types("written after");
    tmux.press("Escape");
    tmux.types(":w");
    let saved = || server.ask(["file", "read", &session, "notes.txt"]).out();
    assert!(eventually(support::tmux::PATIENCE, || saved() == "written before\nwritten after\n\n"), "{:?}", saved());
    tmux.ask(&["resize-window", "-x", "70", "-y", "20"]);
    tmux.sees_that("its screen in the next size", |screen| {
        screen.contains("written after") && screen.lines().filter(|line| line.trim_end() == "~").count() == 16
    });
    tmux.types(":q");
    tmux.sees("outside>");
    tmux.types("echo code $?");
    tmux.sees_line("code 0");
    tmux.is_sane();
}

/// EN-7: it is left by its keys and goes on; its exit code is the program's own.
#[test]
fn a_shell_is_left_and_come_back_to() {
    if needs_root() {
        return;
    }
    let server = server();
    let session = server.session();
    let Some(tmux) = outside(&server) else { return };
    attaches(&tmux, &server, &format!("{session} -- env 'PS1=inside> ' bash --norc --noprofile"));
    tmux.sees_line("inside>");
    tmux.types("stty size; kept=yes");
    tmux.sees_line("24 80");
    tmux.press("C-p");
    tmux.press("C-q");
    tmux.sees("it goes on. Come back with");
    tmux.is_sane();
    let (exec, _) = process(&server, &session, "bash");
    attaches(&tmux, &server, &format!("{session} --exec {exec}"));
    tmux.sees_line("24 80");
    tmux.types("echo kept: $kept");
    tmux.sees_line("kept: yes");
    tmux.types("exit 7");
    tmux.sees("outside>");
    tmux.types("echo code $?");
    tmux.sees_line("code 7");
    tmux.is_sane();
    attaches(&tmux, &server, &format!("{session} -- sleep 1000"));
    assert!(eventually(support::PATIENCE, || server.ask(["execs", "list", &session]).out().contains("sleep")));
    server.ask(["session", "terminate", &session]);
    tmux.sees("the session ended at");
    tmux.types("echo code $?");
    tmux.sees_line("code 125");
    tmux.is_sane();
}

/// EN-7: without a terminal it is a pipe to one, and what cannot be opened says why.
#[test]
fn without_a_terminal_it_is_fed_from_a_pipe() {
    if needs_root() {
        return;
    }
    let server = server();
    let session = server.session();
    let fed = server.ask_with(["attach", &session, "--", "sh"], b"stty -echo; echo $((6 * 7)); exit 5\n");
    assert_eq!(fed.code, 5, "{fed}");
    assert!(fed.out().contains("42\r\n"), "{fed}");
    let absent = server.ask(["attach", &session, "--", "no-such-program"]);
    assert_eq!(absent.code, 127, "{absent}");
    let unknown = server.ask(["attach", "exec_20260101_000000_00000000"]);
    insta::assert_snapshot!(steady(&unknown), @r"
    ! tenure: there is no session SESSION (never_existed)
    !   hint: reason says what is known of it
    [125]
    ");
    let usage = server.ask(["attach", "--json"]);
    assert_eq!((usage.code, usage.json_error()["code"].as_str()), (125, Some("USAGE")), "{usage}");
}
