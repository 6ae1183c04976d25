//! `tenure run` as an ordinary user, with the walls that such a one can have.

use crate::support::{Answer, answer, answer_to, binary, is_root};
use insta::assert_snapshot;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

/// The user that has nothing.
const NOBODY: &str = "65534";

/// A place that an ordinary user can reach, with the command and a data directory in it.
struct Nobody {
    dir: TempDir,
}

impl Nobody {
    fn new() -> Nobody {
        let dir = tempfile::Builder::new().prefix("tenure-nobody-").tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::copy(binary(), dir.path().join("tenure")).unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        if is_root() {
            let id = Some(NOBODY.parse().unwrap());
            std::os::unix::fs::chown(&data, id, id).unwrap();
        }
        Nobody { dir }
    }

    /// `tenure` as that user; as ourselves where we are an ordinary user already.
    fn tenure(&self, words: &[&str]) -> Command {
        let binary = self.dir.path().join("tenure");
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]).arg(binary);
            command
        } else {
            Command::new(binary)
        };
        command.args(words).env("TENURE_DATA_DIR", self.dir.path().join("data")).stdin(std::process::Stdio::null());
        command
    }

    fn run(&self, program: &[&str]) -> Answer {
        answer(&mut self.tenure(&[&["run", "--allow-unenforced", "--"], program].concat()))
    }
}

/// GV-4: what is not enforced is refused by name, unless the caller says otherwise.
#[test]
fn a_limit_that_is_not_enforced_is_refused_by_name() {
    let nobody = Nobody::new();
    let refused = answer(&mut nobody.tenure(&["run", "--json", "--", "true"]));
    let error = refused.json_error();
    assert_eq!((refused.code, error["code"].as_str()), (125, Some("LIMIT_UNENFORCED")), "{refused}");
    let limits = error["details"]["limits"].as_array().unwrap();
    // With control groups delegated, the disk alone is missing.
    assert!(limits.iter().any(|limit| limit == "disk"), "{error}");
    let in_words = answer(&mut nobody.tenure(&["run", "--", "true"])).err();
    assert!(limits.iter().all(|limit| in_words.contains(limit.as_str().unwrap())), "{in_words}");
    assert!(in_words.contains("--allow-unenforced"), "{in_words}");
}

/// EN-2: the walls that need no root stand.
#[test]
fn an_ordinary_user_runs_programs_behind_walls() {
    let nobody = Nobody::new();
    assert_snapshot!(nobody.run(&["sh", "-c", "id -u; echo err >&2; ls /; exit 7"]), @r"
    1000
    bin
    dev
    etc
    home
    lib
    lib64
    media
    mnt
    opt
    proc
    root
    run
    sbin
    srv
    sys
    tmp
    usr
    var
    workspace
    ! err
    [7]
    ");
    let out = nobody.run(&["sh", "-c", "ls /proc | grep -c '^[0-9]'; tail -n +3 /proc/net/dev | cut -d: -f1"]).out();
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert!(lines[0].parse::<u32>().unwrap() < 10 && lines[1] == "lo", "{out}");
}

/// EN-3, EN-5: input, files and time limits work the same.
#[test]
fn an_ordinary_user_has_streams_files_and_time_limits() {
    let nobody = Nobody::new();
    let run = |words: &[&str]| nobody.tenure(&[&["run", "--allow-unenforced"], words].concat());
    assert_eq!(answer_to(&mut run(&["--", "tr", "a-z", "A-Z"]), b"hello\n".into()).out(), "HELLO\n");
    let copied = answer(&mut run(&["--file", "/etc/hostname:/workspace/name", "--", "cat", "/workspace/name"]));
    assert_eq!(copied.stdout, std::fs::read("/etc/hostname").unwrap(), "{}", copied.err());
    assert_eq!(answer(&mut run(&["--timeout", "0.3", "--", "sleep", "10"])).code, 124);
    assert_eq!(nobody.run(&["no-such-program"]).code, 127);
    assert_eq!(nobody.run(&["sh", "-c", "echo x >f && cat f && kill -9 $$"]).to_string(), "x\n[137]\n");
}

/// TM-8: nothing stays behind there either.
#[test]
fn an_ordinary_users_run_leaves_nothing() {
    let nobody = Nobody::new();
    assert_eq!(nobody.run(&["sh", "-c", "mkdir -p a/b; chmod 0 a; sleep 1000 & exit 0"]).to_string(), "");
    assert_eq!(std::fs::read_dir(nobody.dir.path().join("data/instances")).unwrap().count(), 0);
}
