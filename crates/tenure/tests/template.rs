//! `tenure template`: roots of one's own, from adding to removing.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use support::{DataDir, PATIENCE, answer, code_of, data_dir, wait};
use tempfile::TempDir;

/// A root of one file: busybox, where the distribution has it linked statically.
fn busybox_root() -> Option<TempDir> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
    let linked = busybox.map(|path| Command::new("ldd").arg(path).output().unwrap());
    let (Some(busybox), Some(false)) = (busybox, linked.map(|output| output.status.success())) else {
        println!("skipped: no static busybox here");
        return None;
    };
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy(busybox, bin.join("busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", bin.join("sh")).unwrap();
    Some(root)
}

fn add(dir: &DataDir, name: &str, root: &Path, options: &[&str]) -> support::Answer {
    let source = format!("dir:{}", root.display());
    answer(&mut dir.tenure([&["--json", "template", "add", name, &source], options].concat()))
}

/// TP-1: added, listed, shown, used, removed.
#[test]
fn a_directory_becomes_a_template_and_goes_again() {
    let (Some(root), dir) = (busybox_root(), data_dir()) else { return };
    let added = add(&dir, "box", root.path(), &["--memory", "64M", "--pids", "32", "--user", "7", "--cwd", "/tmp"]);
    assert_eq!(added.code, 0, "{added}");
    let manifest = added.json();
    assert_eq!((manifest["name"].as_str(), manifest["version"].as_u64()), (Some("box"), Some(1)));

    assert_eq!(answer(&mut dir.tenure(["--json", "template", "show", "box"])).json(), manifest);
    assert_eq!(answer(&mut dir.tenure(["--json", "template", "show", "box@1"])).json(), manifest);
    let listed = answer(&mut dir.tenure(["--json", "template", "list"])).json();
    assert!(listed["items"].as_array().unwrap().contains(&manifest), "{listed}");
    let table = answer(&mut dir.tenure(["template", "list"])).out();
    assert!(table.starts_with("NAME") && table.lines().any(|line| line.starts_with("box ")), "{table}");

    let run = answer(
        &mut dir.run("--json --template box", &["busybox", "sh", "-c", "busybox id -u; busybox pwd; busybox ls /bin"]),
    );
    let out = run.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..4], ["7", "/tmp", "busybox", "sh"], "{run}");
    let line: serde_json::Value = serde_json::from_str(lines[4]).unwrap();
    assert_eq!((line["limits"]["memory_bytes"].as_u64(), line["limits"]["pids"].as_u64()), (Some(64 << 20), Some(32)));

    assert_eq!(answer(&mut dir.tenure(["template", "remove", "box"])).to_string(), "");
    assert_snapshot!(answer(&mut dir.tenure(["template", "show", "box"])), @r#"
    ! tenure: there is no template "box"
    [4]
    "#);
}

/// TP-1: what a session uses is kept: the next version is made beside it, and removing it is refused until the session has ended.
#[test]
fn a_template_in_use_cannot_be_removed() {
    let (Some(root), dir) = (busybox_root(), data_dir()) else { return };
    assert_eq!(add(&dir, "used", root.path(), &[]).code, 0);
    let script = "echo ready; read line; echo $line";
    let mut run = dir
        .run("--template used", &["busybox", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    let refused = answer(&mut dir.tenure(["--json", "template", "remove", "used"]));
    assert_eq!((refused.code, refused.json_error()["code"].as_str()), (8, Some("TEMPLATE_IN_USE")), "{refused}");
    std::fs::write(root.path().join("new"), "").unwrap();
    assert_eq!(add(&dir, "used", root.path(), &[]).json()["version"], 2);

    drop(run.stdin.take());
    assert_eq!(wait(&mut run, PATIENCE).map(code_of), Some(0));
    assert_eq!(answer(&mut dir.tenure(["template", "remove", "used"])).code, 0);
}

/// CL-2: mistakes have codes of their own.
#[test]
fn mistakes_are_told_apart() {
    let (root, dir) = (tempfile::tempdir().unwrap(), data_dir());
    let refused = add(&dir, "Bad Name", root.path(), &[]);
    assert_eq!((refused.code, refused.json_error()["code"].as_str()), (3, Some("VALIDATION")), "{refused}");
    assert_snapshot!(answer(&mut dir.tenure(["template", "remove", "nope"])), @r#"
    ! tenure: there is no template "nope"
    [4]
    "#);
    assert_eq!(answer(&mut dir.tenure(["template", "add", "x", "ftp:somewhere"])).code, 2);
    let missing = add(&dir, "x", Path::new("/no/such/root"), &[]);
    assert!(missing.code != 0 && missing.err().contains("/no/such/root"), "{missing}");
}

/// TP-1, CL-2: where a server has the data directory, the same commands go through it.
#[test]
fn templates_go_through_the_server_that_has_the_directory() {
    let (Some(root), false) = (busybox_root(), support::needs_root()) else { return };
    let server = support::server::server();
    let source = format!("dir:{}", root.path().display());
    // Nobody says where the server is: that it has the directory is seen from its lock.
    let ask = |words: &[&str]| {
        let mut command = server.dir().tenure(words.iter().copied());
        answer(command.env("TENURE_LISTEN", server.url().trim_start_matches("http://")))
    };
    assert_snapshot!(ask(&["template", "add", "box", &source, "--pids", "32"]), @"box@1");
    assert_eq!(ask(&["--json", "template", "show", "box"]).json()["limits"]["pids"], 32);
    let listed = ask(&["template", "list"]).out();
    assert!(listed.lines().any(|line| line.starts_with("box ")), "{listed}");
    let session = server.session_with(&["--template", "box"]);
    let run = server.ask(["exec", &session, "--", "/bin/busybox", "ls", "/bin"]);
    assert_eq!(run.out(), "busybox\nsh\n", "{run}");
    assert_eq!(ask(&["template", "remove", "box"]).code, 8);
    assert_eq!(server.ask(["session", "terminate", &session]).code, 0);
    assert!(support::eventually(PATIENCE, || ask(&["template", "remove", "box"]).code == 0));
    let refused = ask(&["template", "add", "box", &source, "--user", "7"]);
    assert_eq!((refused.code, refused.out().as_str()), (2, ""), "{refused}");
}
