//! The data directory cannot be written: at the start, and under a server that runs.
#![allow(clippy::unwrap_used)]

use crate::directory;
use crate::http::ask;
use crate::own::Own;
use crate::support::{answer, command, eventually, needs_root};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// GV-5, CL-2: a server that cannot write says so, ends as unavailable, and leaves nothing half made.
#[test]
fn a_start_in_a_directory_that_cannot_be_written_is_refused_and_leaves_nothing() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let plain = command();
    let mut serve = Command::new("unshare");
    let script = "mount --make-rprivate / && mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    serve.args(["--mount", "sh", "-c", script, "sh"]).arg(&data).arg(crate::support::binary());
    serve.args(["serve", "--listen", "127.0.0.1:0"]).env("TENURE_DATA_DIR", &data);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => serve.env(name, value),
            None => serve.env_remove(name),
        };
    }
    serve.env("TENURE_DATA_DIR", &data);
    let refused = answer(&mut serve);
    assert_eq!(refused.code, 10, "{refused}");
    let text = refused.err();
    assert!(text.contains("cannot use the data directory") && text.contains("Read-only"), "{refused}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "nothing half made");
}

/// The store's files, which nobody may change for a while: what an open file meets where its file system went read-only.
struct Sealed(Vec<PathBuf>);

impl Sealed {
    fn seal(store: &Path) -> Option<Sealed> {
        let files: Vec<PathBuf> = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path()).collect();
        // What the kernel has not written back yet could still be changed in memory, where a file is mapped.
        for file in &files {
            File::open(file).unwrap().sync_all().unwrap();
        }
        let sealed = Sealed(files);
        sealed.all("+i").then_some(sealed)
    }

    fn all(&self, flag: &str) -> bool {
        Command::new("chattr").arg(flag).args(&self.0).output().is_ok_and(|done| done.status.success())
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.all("-i");
    }
}

/// LS-3, TR-2, TM-1: writes are refused and reads served while nothing can be written, and afterwards all goes on without a restart.
#[test]
fn while_nothing_can_be_written_reads_are_served_and_afterwards_it_works_again() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let server = Own::start(&dir.path().join("data"), &[]);
    let (id, early) = (server.session(&[]), server.session(&["--no-environment"]));
    assert_eq!(server.ask(["session", "terminate", &early, "--reason", "completed"]).code, 0);
    let Some(sealed) = Sealed::seal(&server.dir.join("store")) else {
        return println!("skipped: this file system cannot make files immutable");
    };
    for _ in 0..3 {
        let refused = ask(&server, "POST", &format!("/v1/sessions/{id}/terminate"), "{}");
        assert_eq!((refused.status, refused.body["code"].as_str()), (503, Some("UNAVAILABLE")), "{refused:?}");
        assert!(refused.says_when_to_retry());
        let create = ask(&server, "POST", "/v1/sessions", "{\"environment\":\"none\"}");
        assert_eq!((create.status, create.body["code"].as_str()), (503, Some("UNAVAILABLE")), "{create:?}");
        assert_eq!(ask(&server, "GET", "/readyz", "").status, 503);
        let read = ask(&server, "GET", &format!("/v1/sessions/{early}"), "");
        assert_eq!((read.status, read.body["termination_reason"].as_str()), (200, Some("completed")), "{read:?}");
        let listed = ask(&server, "GET", "/v1/sessions", "");
        assert_eq!((listed.status, listed.body["items"].as_array().unwrap().len()), (200, 2), "{listed:?}");
    }
    drop(sealed);
    assert!(eventually(SOON, || ask(&server, "GET", "/readyz", "").status == 200), "{}", server.log());
    assert_eq!(server.ask(["exec", &id, "--", "true"]).code, 0, "{}", server.log());
    assert_eq!(server.ask(["session", "terminate", &id]).code, 0);
    let made = server.session(&["--no-environment"]);
    assert_eq!(server.json(&["session", "get"], &made)["state"], "ready");
    assert_eq!(server.ask(["audit", "verify"]).code, 0);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
