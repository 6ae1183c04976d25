//! `tenure backup`: copied from under a server at work, put in another place, and started there.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::server::Server;
use support::{DataDir, answer, binary, needs_root};

/// TM-1, TR-5, EN-4, TM-5: what is remembered is there with its evidence; what ran elsewhere is lost, and said to be.
#[test]
fn what_a_server_remembers_is_copied_from_under_it_and_found_again_elsewhere() {
    if needs_root() {
        return;
    }
    let server = Server::start();
    let ended = server.session();
    let printed = server.ask(["--json", "exec", &ended, "--", "echo", "kept"]);
    assert_eq!(printed.code, 0, "{printed}");
    server.ask(["session", "terminate", &ended, "--reason", "completed"]);
    let alive = server.session();
    let exec = server.ask(["exec", "--background", &alive, "--", "sh", "-c", "echo begun; sleep 1000"]).out();
    let elsewhere = DataDir::new();
    std::fs::remove_dir(elsewhere.path()).unwrap();
    let to = elsewhere.path().to_str().unwrap();
    let made = server.ask(["backup", to]);
    assert_eq!((made.code, made.out().trim()), (0, to), "{made}");
    assert_eq!(server.ask(["backup", to]).code, 8, "nothing is written over");
    assert!(elsewhere.path().join("backup.json").exists());
    nothing_is_open_to_others(elsewhere.path());
    // What comes later is not in it.
    let later = server.session_with(&["--no-environment"]);

    let restored = Server::start_from(&binary(), elsewhere);
    let explained = |id: &str| restored.ask(["--json", "session", "explain", id]).json();
    assert_eq!(explained(&ended)["ended"]["reason"], "completed");
    let lost = || explained(&alive)["ended"]["reason"] == "environment_lost";
    assert!(support::eventually(support::PATIENCE, lost), "{}", explained(&alive));
    let output = restored.ask(["execs", "output", &alive, exec.trim()]);
    assert_eq!(output.out(), "begun\n");
    assert_eq!(restored.ask(["session", "get", &later]).code, 4);
    let verified = restored.ask(["audit", "verify"]);
    assert_eq!(verified.code, 0, "{verified}");
    assert_eq!(server.ask(["exec", &alive, "--", "true"]).code, 0, "where it came from nothing has changed");
}

/// TM-1, TR-5: a data directory without a server is copied as well, and never mixed with what another server remembers.
#[test]
fn what_is_copied_is_of_this_data_directory_served_or_not() {
    let mut server = Server::start();
    let id = server.session_with(&["--no-environment"]);
    let to = DataDir::new();
    let backup = |name: &str| to.path().join(name).to_str().unwrap().to_owned();

    let other = Server::start();
    let key = std::fs::read_to_string(other.dir().path().join("admin.key")).unwrap();
    let mut command = server.tenure(["backup", &backup("mixed")]);
    let mixed = answer(command.env("TENURE_URL", other.url()).env("TENURE_API_KEY", key.trim()));
    assert_eq!(mixed.code, 10, "{mixed}");
    assert!(mixed.err().contains("no entry that the data directory's last signed head is of"), "{mixed}");
    assert!(!to.path().join("mixed").exists());

    server.kill();
    let copied = server.ask(["backup", &backup("unserved")]);
    assert_eq!(copied.code, 0, "{copied}");
    let cut_off = server.dir().path().join("store/0.copy");
    std::fs::write(&cut_off, "a copy that a killed server was making").unwrap();
    server.kill_and_start();
    assert!(!cut_off.exists());
    let found = DataDir::new();
    std::fs::remove_dir(found.path()).unwrap();
    std::fs::rename(backup("unserved"), found.path()).unwrap();
    let restored = Server::start_from(&binary(), found);
    assert_eq!(restored.ask(["session", "get", &id]).code, 0);
}

fn nothing_is_open_to_others(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mode = path.metadata().unwrap().permissions().mode();
        assert!(mode & 0o077 == 0 || path.ends_with("audit.pub"), "{} has mode {mode:o}", path.display());
        if path.is_dir() {
            nothing_is_open_to_others(&path);
        }
    }
}
