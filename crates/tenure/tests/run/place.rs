//! Where a program finds itself: user, root, variables, files, directory.

use crate::support::{answer, data_dir, needs_root};
use insta::assert_snapshot;
use std::os::unix::fs::PermissionsExt;

/// EN-2: an ordinary user in a root of its own.
#[test]
fn a_program_is_an_ordinary_user_in_a_root_of_its_own() {
    let program = ["python3", "-c", "import os; print(os.getuid(), sorted(os.listdir('/')))"];
    assert_snapshot!(answer(&mut data_dir().run("", &program)), @"1000 ['bin', 'dev', 'etc', 'home', 'lib', 'lib64', 'media', 'mnt', 'opt', 'proc', 'root', 'run', 'sbin', 'srv', 'sys', 'tmp', 'usr', 'var', 'workspace']");
}

/// EN-2: its own processes, its own name, no network but its own loopback, nothing of ours.
#[test]
fn a_program_sees_nothing_of_the_host() {
    let script = "echo $$; ls /workspace; ls /proc | grep -c '^[0-9]'; tail -n +3 /proc/net/dev | cut -d: -f1; ls -d /work* /root/*";
    let answer = answer(&mut data_dir().script("", script));
    let out = answer.out();
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert!(lines[0].parse::<u32>().unwrap() < 20 && lines[1].parse::<u32>().unwrap() < 10, "{out}");
    assert_eq!(lines[2..], ["lo", "/workspace"], "{answer}");
}

/// CL-2: variables are given or taken over, and no other of ours is seen.
#[test]
fn variables_are_given_or_taken_over() {
    let dir = data_dir();
    let mut run = dir.script("--env GIVEN=two=words -e EMPTY= -e TAKEN", "echo \"$GIVEN [$EMPTY] $TAKEN [$SECRET]\"");
    assert_eq!(answer(run.env("TAKEN", "from here").env("SECRET", "s")).out(), "two=words [] from here []\n");
    let missing = answer(&mut data_dir().script("-e TENURE_NOT_SET_ANYWHERE", "true"));
    assert!(missing.code == 125 && missing.err().contains("TENURE_NOT_SET_ANYWHERE"), "{missing}");
}

/// EN-5: a copy with its bytes and its mode, for the program to read and change.
#[test]
fn a_file_is_copied_with_its_mode() {
    let here = tempfile::tempdir().unwrap();
    let (tool, data) = (here.path().join("tool"), here.path().join("da:ta"));
    std::fs::write(&tool, "#!/bin/sh\necho it runs\n").unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o750)).unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(&data, &bytes).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o600)).unwrap();
    let options = format!("--file {}:/workspace/tool --file {}:/workspace/data", tool.display(), data.display());
    let script = "./tool && stat -c '%a %u %s' tool data && echo >>data && cat data";
    let answer = answer(&mut data_dir().script(&options, script));
    let head = format!("it runs\n750 1000 {}\n600 1000 3000000\n", std::fs::metadata(&tool).unwrap().len());
    assert_eq!(answer.stdout[..head.len()], *head.as_bytes(), "{}", answer.err());
    assert!(answer.stdout[head.len()..] == [&bytes[..], b"\n"].concat());
    assert!(std::fs::read(&data).unwrap() == bytes, "the host's own was changed");
}

/// EN-5: a directory with all that is in it; links are followed.
#[test]
fn a_directory_is_copied_with_all_in_it() {
    let here = tempfile::tempdir().unwrap();
    let top = here.path().join("top");
    std::fs::create_dir_all(top.join("a/b")).unwrap();
    std::fs::create_dir(top.join("empty")).unwrap();
    std::fs::write(top.join("a/b/deep"), "deep").unwrap();
    std::fs::write(top.join("one name with blanks"), "").unwrap();
    std::os::unix::fs::symlink("a/b/deep", top.join("link")).unwrap();
    let options = format!("--file {}:/workspace/top", top.display());
    assert_snapshot!(answer(&mut data_dir().script(&options, "find top -printf '%y %p\n' | sort; cat top/link")), @r"
    d top
    d top/a
    d top/a/b
    d top/empty
    f top/a/b/deep
    f top/link
    f top/one name with blanks
    deep
    ");
}

/// CL-2: where it starts.
#[test]
fn the_working_directory_can_be_chosen() {
    let dir = data_dir();
    assert_eq!(answer(&mut dir.run("", &["pwd"])).out(), "/workspace\n");
    assert_eq!(answer(&mut dir.run("--cwd /tmp", &["pwd"])).out(), "/tmp\n");
    let missing = answer(&mut dir.run("--cwd /no/such/dir", &["pwd"]));
    assert!(
        missing.code >= 125 && missing.err().contains("working directory /no/such/dir does not exist"),
        "{missing}"
    );
    let relative = answer(&mut dir.run("--cwd relative", &["pwd"]));
    assert!(relative.code == 125 && relative.err().contains("cwd: must be absolute"), "{relative}");
}

/// CL-2: who it is inside.
#[test]
fn the_user_can_be_chosen() {
    if needs_root() {
        return;
    }
    let dir = data_dir();
    assert_eq!(answer(&mut dir.run("--user root", &["id", "-u"])).out(), "0\n");
    assert_eq!(answer(&mut dir.run("--user 0", &["id", "-un"])).out(), "root\n");
    assert_eq!(answer(&mut dir.run("--user 1234", &["id", "-u"])).out(), "1234\n");
    assert_snapshot!(answer(&mut dir.run("--user nobody-knows", &["id"])), @r"
    ! tenure: no user nobody-knows in /etc/passwd
    [125]
    ");
}
