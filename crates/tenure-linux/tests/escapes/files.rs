//! Paths that lead elsewhere: no file call follows one out of the environment, and none hangs on what is no file.

use crate::ground::inside::{self, soon};
use crate::ground::{Inside, keeper};
use crate::trials;
use libtest_mimic::Trial;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tenure_environment::AgentError;
use tenure_protocol::FailureCode;

pub fn trials() -> Vec<Trial> {
    trials![
        a_path_never_leads_out,
        a_link_that_changes_under_the_reader_never_leads_out,
        what_is_no_file_does_not_hang_a_file_call,
        file_calls_have_the_rights_of_the_tenant,
        a_tenants_attributes_mean_nothing_to_the_overlay,
        another_environments_files_are_not_there,
    ]
}

const SECRET: &str = "what is outside stays outside";

/// A file on the host that nobody inside may see or change.
struct Canary {
    dir: tempfile::TempDir,
}

impl Canary {
    fn new() -> Canary {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::write(dir.path().join("canary"), SECRET).unwrap();
        std::fs::set_permissions(dir.path().join("canary"), std::fs::Permissions::from_mode(0o666)).unwrap();
        Canary { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("canary")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn is_untouched(&self) {
        assert_eq!(std::fs::read_to_string(self.path()).unwrap(), SECRET);
        let names: Vec<_> =
            std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["canary"], "nothing was put beside it");
    }
}

/// EN-2, EN-5
async fn a_path_never_leads_out() {
    let inside = Inside::new(keeper(0)).await;
    let canary = Canary::new();
    let outside = canary.text();
    let up = format!("/..{}{outside}", "/..".repeat(20));
    let from_below = format!("/workspace/../../..{outside}");
    inside
        .sh(&format!("ln -s {outside} link; ln -s /proc/1/root root; ln -s /proc/self/root own; ln -s ../../.. up"))
        .await
        .ok();
    let mut paths = vec![outside.clone(), up, from_below, "/workspace/link".into()];
    for top in
        ["/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/self/cwd/../..", "/workspace/root", "/workspace/own"]
    {
        paths.push(format!("{top}{outside}"));
    }
    paths.push(format!("/workspace/up{outside}"));
    paths.push(format!("/proc/{}/root{outside}", std::process::id()));
    for path in &paths {
        let read = inside.read(path).await;
        let failed = matches!(read, Err(AgentError::Failed { code: FailureCode::NotFound | FailureCode::Denied, .. }));
        assert!(failed, "{path}: {read:?}");
        let mut client = inside.connect().await;
        assert!(matches!(soon(client.stat(path)).await, Ok(None) | Err(AgentError::Failed { .. })), "{path}");
    }
    for path in &paths {
        let _ = soon(inside.connect().await.file_delete(path, true)).await;
        let _ = soon(inside.connect().await.rename("/workspace/root", path)).await;
        // Writing may succeed, where the way leads back inside; the canary tells.
        let _ = inside.write(path, b"written from inside").await;
        canary.is_untouched();
    }
    inside.answers().await;
}

/// EN-2, EN-5: the tenant moves the link as fast as it can, to where only the agent's or the host's rights would lead.
async fn a_link_that_changes_under_the_reader_never_leads_out() {
    let inside = Inside::new(keeper(0)).await;
    let canary = Canary::new();
    let flip = format!(
        r#"
os.makedirs("/workspace/own")
open("/workspace/own/canary", "w").write("own")
targets = ["/workspace/own", "/proc/1/root{dir}", "/proc/self/root{dir}", "{dir}", "/etc", "/proc/1", "/proc/1/fd", "../../..{dir}", "/root"]
print("flipping", flush=True)
while True:
    for target in targets:
        os.symlink(target, "/workspace/next")
        os.rename("/workspace/next", "/workspace/flip")
        # A real directory for a moment, in the link's place.
        call({rename}, -100, b"/workspace/flip", -100, b"/workspace/own", 2)
        call({rename}, -100, b"/workspace/flip", -100, b"/workspace/own", 2)
"#,
        dir = canary.dir.path().display(),
        rename = libc::SYS_renameat2,
    );
    let mut flipper = inside.start(inside::python(&flip)).await;
    soon(flipper.next()).await.expect("it begins");
    let until = Instant::now() + Duration::from_secs(4);
    let mut read = 0;
    while Instant::now() < until {
        match inside.read("/workspace/flip/canary").await {
            Ok(bytes) => {
                assert_ne!(bytes, SECRET.as_bytes(), "the host's file was read");
                read += usize::from(bytes == b"own");
            }
            Err(AgentError::Failed { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        for name in ["canary", "environ", "passwd"] {
            let path = format!("/workspace/flip/{name}");
            let _ = inside.write(&path, b"own").await;
            let mut client = inside.connect().await;
            let _ = soon(client.list("/workspace/flip", 10)).await;
            let _ = soon(inside.connect().await.stat(&path)).await;
            let _ = soon(inside.connect().await.file_delete("/workspace/flip/passwd", true)).await;
            let _ = soon(inside.connect().await.make_dir("/workspace/flip/made/deep")).await;
            let _ = soon(inside.connect().await.rename("/workspace/own/canary", &path)).await;
        }
        let _ = inside.write("/workspace/own/canary", b"own").await;
    }
    canary.is_untouched();
    assert!(read > 0, "the race was run");
    assert_eq!(soon(flipper.sender.signal(9)).await.map(drop).ok(), Some(()));
    soon(flipper.wait()).await.expect("it ends");
    // What belongs to nobody inside but the base is as it was.
    assert_eq!(
        inside.sh("ls -d /etc/canary /etc/made /etc/environ 2>/dev/null; grep -c . /etc/passwd").await.out,
        "3\n"
    );
    inside.answers().await;
}

/// EN-5
async fn what_is_no_file_does_not_hang_a_file_call() {
    let inside = Inside::new(keeper(0)).await;
    inside
        .python(
            r#"
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX); s.bind("/workspace/socket")
for name, target in (("zero", "/dev/zero"), ("tty", "/dev/tty"), ("ptmx", "/dev/ptmx"), ("loop", "loop"), ("tofifo", "fifo"), ("dir", "..")):
    os.symlink(target, name)
os.mkdir("closed", 0)
"#,
        )
        .await
        .ok();
    let mut paths: Vec<String> = ["fifo", "socket", "zero", "tty", "ptmx", "loop", "tofifo", "dir", "closed"]
        .map(|name| format!("/workspace/{name}"))
        .into();
    paths.extend(
        [
            "/dev/zero",
            "/dev/random",
            "/dev/full",
            "/dev/ptmx",
            "/dev/tty",
            "/proc/kmsg",
            "/proc/self/mem",
            "/proc/self/fd/0",
        ]
        .map(Into::into),
    );
    for path in &paths {
        let quick = tokio::time::timeout(Duration::from_secs(15), every_call(&inside, path)).await;
        quick.unwrap_or_else(|_| panic!("{path} hangs"));
    }
    inside.answers().await;
}

/// Makes each file call at a path; none may succeed in reading what is no file.
async fn every_call(inside: &Inside, path: &str) {
    let read = inside.read(path).await;
    // What the kernel shows masked reads as no file either.
    assert!(matches!(read, Err(AgentError::Failed { .. })), "{path}: {read:?}");
    let _ = inside.connect().await.stat(path).await;
    let _ = inside.connect().await.list(path, 10).await;
    let _ = inside.connect().await.make_dir(&format!("{path}/below")).await;
    let _ = inside.connect().await.watch(path, true).await;
    let _ = inside.connect().await.rename(path, "/workspace/moved").await;
    let _ = inside.connect().await.rename("/workspace/moved", path).await;
    let _ = inside.write(&format!("{path}/below"), b"x").await;
    let _ = inside.write(path, b"x").await;
    let _ = inside.connect().await.file_delete(path, false).await;
}

/// EN-5
async fn file_calls_have_the_rights_of_the_tenant() {
    let inside = Inside::new(keeper(0)).await;
    let as_root = tenure_protocol::Exec {
        user: Some("0".into()),
        ..inside::shell("umask 077; mkdir /tmp/roots; echo x >/tmp/roots/file; echo x >/tmp/file; chmod 600 /tmp/file")
    };
    inside.run(as_root).await.ok();
    let denied = |result: Result<(), AgentError>, what: &str| {
        assert!(matches!(result, Err(AgentError::Failed { code: FailureCode::Denied, .. })), "{what}: {result:?}");
    };
    for path in ["/tmp/file", "/tmp/roots/file", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/self/environ"]
    {
        denied(inside.read(path).await.map(drop), path);
    }
    denied(soon(inside.connect().await.file_delete("/tmp/file", false)).await, "the sticky bit holds");
    denied(soon(inside.connect().await.rename("/tmp/file", "/workspace/file")).await, "moved");
    denied(soon(inside.connect().await.make_dir("/etc/made")).await, "made");
    denied(inside.write("/etc/passwd", b"x").await, "written");
    denied(inside.write("/usr/bin/env", b"x").await.map_err(read_only_is_denied), "written to the host's /usr");
    denied(soon(inside.connect().await.list("/tmp/roots", 10)).await.map(drop), "listed");
    denied(soon(inside.connect().await.watch("/tmp/roots", true)).await.map(drop), "watched");
    // What the agent makes belongs to the tenant.
    inside.write("/workspace/deep/file", b"x").await.unwrap();
    assert_eq!(inside.sh("stat -c '%u %g' /workspace/deep /workspace/deep/file").await.ok(), "1000 1000\n1000 1000\n");
}

fn read_only_is_denied(error: AgentError) -> AgentError {
    match error {
        AgentError::Failed { code: FailureCode::Io, message } => {
            AgentError::Failed { code: FailureCode::Denied, message }
        }
        other => other,
    }
}

/// EN-2: names under which an overlay keeps its own notes lead nowhere when a tenant writes them.
async fn a_tenants_attributes_mean_nothing_to_the_overlay() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
os.mkdir("dir"); open("dir/file", "w").write("own"); open("file", "w").write("own")
for prefix in ("user.overlay.", "user.overlay.overlay.", "trusted.overlay.", "security."):
    for name, value in (("opaque", b"y"), ("redirect", b"/etc"), ("metacopy", b""), ("origin", b"\0" * 24), ("whiteout", b"y"), ("whiteouts", b"y"), ("capability", b"\1\0\0\2" + b"\xff" * 16)):
        for path in ("dir", "dir/file", "file"):
            attempt(lambda: os.setxattr(path, prefix + name, value))
print(open("file").read(), open("dir/file").read(), os.listdir("dir"))
os.rename("dir", "moved")
print(os.listdir("moved"), open("moved/file").read())
"#;
    let ran = inside.python(program).await;
    assert_eq!(ran.ok(), "own own ['file']\n['file'] own\n");
    assert_eq!(inside.read("/workspace/moved/file").await.unwrap(), b"own");
}

/// EN-2
async fn another_environments_files_are_not_there() {
    let (one, two) = (Inside::new(keeper(0)).await, Inside::new(keeper(0)).await);
    one.sh("for dir in /workspace /tmp /dev/shm /var/tmp /home/user; do echo secret >$dir/of-one; done").await.ok();
    let search = "find / -xdev -name 'of-on[e]' 2>/dev/null; ls -A /dev/shm; grep -l 'of-on[e]' /proc/*/cmdline /proc/*/mountinfo 2>/dev/null";
    let found = two.sh(search).await;
    assert_eq!(found.out, "", "{found:?}");
    for dir in ["/workspace", "/tmp", "/dev/shm", "/var/tmp", "/home/user"] {
        assert_eq!(soon(two.connect().await.stat(&format!("{dir}/of-one"))).await.unwrap(), None, "{dir}");
    }
    assert_eq!(one.sh("cat /workspace/of-one").await.ok(), "secret\n");
}
