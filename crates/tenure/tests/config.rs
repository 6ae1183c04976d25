//! `tenure config`: what holds, where it was written, and what is refused.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use std::path::PathBuf;
use support::{Answer, answer, command};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(file: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tenure.toml"), file).unwrap();
        Place { dir }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("tenure.toml")
    }

    /// `tenure config` with these words and variables; the file is called FILE in what it answers.
    fn config(&self, words: &[&str], variables: &[(&str, &str)]) -> Answer {
        let mut command = command();
        command.arg("config").args(words).arg("--config").arg(self.file()).envs(variables.iter().copied());
        let mut answer = answer(&mut command);
        let rename = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(&self.file().display().to_string(), "FILE").into_bytes()
        };
        answer.stdout = rename(&answer.stdout);
        answer.stderr = rename(&answer.stderr);
        answer
    }
}

/// CF-1: each value, and where it was written.
#[test]
fn every_value_is_shown_with_its_source() {
    let place =
        Place::new("grace_ms = '3s'\nallowed_hosts = ['a.example', 'b.example']\n[limits]\ndefault_pids = 99\n");
    let shown = place.config(&["show", "--listen", "127.0.0.1:9", "--set", "pool.ready=0"], &[("TENURE_LOG", "debug")]);
    let written: String =
        shown.out().lines().filter(|line| !line.ends_with(" default")).map(|line| line.to_owned() + "\n").collect();
    assert_snapshot!(written, @r"
    KEY                                  VALUE                SOURCE
    listen                               127.0.0.1:9          --listen
    allowed_hosts                        a.example,b.example  FILE
    log                                  debug                TENURE_LOG
    grace_ms                             3000                 FILE
    pool.ready                           0                    --set pool.ready
    limits.default_pids                  99                   FILE
    ");
    let json = place.config(&["show", "--json"], &[("TENURE_DATA_DIR", "/data")]).json();
    let settings = json["settings"].as_array().unwrap();
    let data_dir = settings.iter().find(|one| one["key"] == "data_dir").unwrap();
    assert_eq!((data_dir["value"].as_str(), data_dir["source"].as_str()), (Some("/data"), Some("TENURE_DATA_DIR")));
}

/// CF-1: every problem at once, each with the place where it stands.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let place = Place::new("lisen = 'x'\n[limits]\ndefault_pids = 1\n");
    let variables = [("TENURE_LEASE_DEFAULT_TTL_MS", "soon"), ("TENURE_GRACE", "1s")];
    assert_snapshot!(place.config(&["check"], &variables), @r#"
    ! tenure: the configuration is refused:
    !   FILE: lisen: there is no such setting
    !   TENURE_GRACE: there is no such setting
    !   TENURE_LEASE_DEFAULT_TTL_MS: lease.default_ttl_ms: "soon" is no time, as in 30s or, in milliseconds, 30000
    !   FILE: limits.default_pids: is 1, allowed is 4 to 32768 (limits.min_pids, limits.max_pids)
    !   hint: docs/configuration.md lists every setting; `tenure config show` says what holds and where it was written
    [3]
    "#);
    let refused = place.config(&["check", "--json"], &variables);
    assert_eq!((refused.code, refused.json_error()["code"].as_str()), (3, Some("VALIDATION")), "{refused}");
    assert_eq!(refused.json_error()["details"]["problems"].as_array().unwrap().len(), 4);
}

/// CF-1: a file that is no TOML is refused with the line; one that is named must be there.
#[test]
fn a_file_that_cannot_be_read_is_refused() {
    assert_snapshot!(Place::new("listen = \n").config(&["check"], &[]), @r"
    ! tenure: the configuration is refused: FILE: TOML parse error at line 1, column 10
    !   |
    ! 1 | listen =
    !   |          ^
    ! string values must be quoted, expected literal string
    !   hint: docs/configuration.md lists every setting; `tenure config show` says what holds and where it was written
    [3]
    ");
    let missing = answer(command().args(["--config", "/nowhere/tenure.toml", "config", "check"]));
    assert_snapshot!(missing, @r"
    ! tenure: cannot read the configuration /nowhere/tenure.toml: No such file or directory (os error 2)
    [3]
    ");
}

/// CF-1: no key that signs tokens is ever shown, only where it is kept.
#[test]
fn secrets_are_not_shown() {
    let place = Place::new(
        "[[jwt]]\nname = 'idp'\nalgorithm = 'HS256'\nissuer = 'i'\naudience = 'a'\nsecret_file = 'jwt.secret'\n",
    );
    std::fs::write(place.dir.path().join("jwt.secret"), "0123456789abcdef0123456789abcdef").unwrap();
    for words in [&["show"][..], &["show", "--json"], &["check"]] {
        let shown = place.config(words, &[("TENURE_API_KEY", "tenure_very_secret")]);
        assert_eq!(shown.code, 0, "{shown}");
        assert!(!shown.out().contains("0123456789abcdef") && !shown.out().contains("very_secret"), "{shown}");
    }
}

/// CF-1: what is good is said to be.
#[test]
fn a_good_configuration_is_said_to_be() {
    assert_snapshot!(Place::new("").config(&["check"], &[]), @"the configuration is good");
}
