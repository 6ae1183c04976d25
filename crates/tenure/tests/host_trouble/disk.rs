//! The disk runs full: nothing new begins, what there is goes on and is ended in the reserve, nothing acknowledged is lost, and all is well once there is
//! room again. On a small file system of the test's own, in a mount namespace of its own.
#![allow(clippy::unwrap_used)]

use crate::directory;
use crate::http::ask;
use crate::own::Own;
use crate::support::{Running, eventually, needs_root};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// A small file system, mounted where only its own processes see it. It goes with the last of them.
struct Small {
    holder: Running,
    image: PathBuf,
    /// Where it is, inside.
    dir: PathBuf,
}

impl Small {
    /// Of this size; or why there cannot be one.
    fn make(dir: &Path, bytes: u64) -> Result<Small, String> {
        let (image, point) = (dir.join("image"), dir.join("small"));
        std::fs::create_dir(&point).unwrap();
        std::fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let done = |command: &mut Command| {
            let out = command.output().map_err(|error| error.to_string())?;
            if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
        };
        done(Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
        let script =
            "mount --make-rprivate / && mount -o loop \"$1\" \"$2\" && mkdir \"$2/data\" && exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).args([&image, &point]);
        let holder = Running(command.stdin(Stdio::null()).spawn().map_err(|error| error.to_string())?);
        let small = Small { holder, image, dir: point.join("data") };
        let mounted = || small.seen().is_dir();
        if eventually(SOON, mounted) { Ok(small) } else { Err("it could not be mounted".to_owned()) }
    }

    fn namespace(&self) -> u32 {
        self.holder.0.id()
    }

    /// Its directory, as it is seen from outside.
    fn seen(&self) -> PathBuf {
        seen(self.namespace(), &self.dir)
    }

    fn free(&self) -> u64 {
        let stat = statvfs(self.seen()).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes room until so much is left.
    fn fill(&self, name: &str, left: u64) {
        let file = std::fs::File::create(self.seen().parent().unwrap().join(name)).unwrap();
        let taken = self.free().saturating_sub(left);
        if taken > 0 {
            // The file system takes a little for itself as well.
            let _ = fallocate(&file, FallocateFlags::empty(), 0, taken);
        }
    }

    fn empty(&self, name: &str) {
        std::fs::remove_file(self.seen().parent().unwrap().join(name)).unwrap();
    }
}

/// Returns when nobody has it any more: a directory that something is still mounted on, elsewhere, and that is removed here, leaves the kernel with a loop device
/// whose file is on what the loop device keeps.
impl Drop for Small {
    fn drop(&mut self) {
        let _ = self.holder.0.kill();
        let released = || {
            let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
            let mut files =
                devices.filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok());
            !files.any(|file| Path::new(file.trim()) == self.image)
        };
        let released = eventually(SOON, released);
        assert!(released || std::thread::panicking(), "{} is still mounted", self.image.display());
    }
}

/// A path of a mount namespace, as it is seen from outside.
pub fn seen(namespace: u32, path: &Path) -> PathBuf {
    Path::new("/proc").join(namespace.to_string()).join("root").join(path.strip_prefix("/").unwrap())
}

/// GV-5, TM-1, TM-2, LC-5: marks refuse by name, the reserve takes the ends, and what was said to be done stays done.
#[test]
fn on_a_full_disk_nothing_new_begins_ends_are_recorded_and_nothing_acknowledged_is_lost() {
    if needs_root() {
        return;
    }
    let dir = directory();
    let small = match Small::make(dir.path(), 512 * MIB) {
        Ok(small) => small,
        Err(why) => return println!("skipped: {why}"),
    };
    let set = [
        ("TENURE_HOST_RESERVE_BYTES", "16M"),
        ("TENURE_HOST_MIN_FREE_DISK_BYTES", "48M"),
        ("TENURE_HOST_MIN_FREE_MEMORY_BYTES", "0"),
    ];
    let server = Own::start_inside(&small.dir, &set, Some(small.namespace()));
    let reserve = small.seen().join("reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 16 * MIB);
    let works = server.session(&[]);
    let bare: Vec<String> = (0..5).map(|_| server.session(&["--no-environment"])).collect();
    let create = || ask(&server, "POST", "/v1/sessions", "{\"environment\":\"none\"}");

    // Below the mark.
    small.fill("first", 40 * MIB);
    let refused = create();
    assert_eq!((refused.status, refused.body["code"].as_str()), (503, Some("UNAVAILABLE")), "{refused:?}");
    assert!(refused.says_when_to_retry());
    assert_eq!(refused.body["mark"], "host.min_free_disk_bytes");
    assert_eq!(refused.body["limit"], 48 * MIB);
    assert!(refused.body["value"].as_u64().unwrap() < 48 * MIB);
    let ready = ask(&server, "GET", "/readyz", "");
    assert_eq!((ready.status, &ready.body["low"]), (200, &json!(["host.min_free_disk_bytes"])));
    assert_eq!(server.ask(["exec", &works, "--", "true"]).code, 0, "what there is goes on");

    // Nothing is left but the reserve.
    small.fill("second", 64 * 1024);
    let ended = server.ask(["session", "terminate", &works, "--reason", "completed"]);
    assert_eq!(ended.code, 0, "{ended}{}", server.log());
    for id in &bare[..3] {
        let ended = server.ask(["session", "terminate", id, "--reason", "completed"]);
        assert_eq!(ended.code, 0, "{ended}{}", server.log());
    }
    assert!(eventually(SOON, || !reserve.exists()), "the reserve was given");
    let gone = || server.json(&["session", "get"], &works)["environment"]["state"] == "gone";
    assert!(eventually(SOON, gone), "{}", server.log());

    // Nothing is left at all: what cannot be recorded is not said to be done, and what is recorded is read.
    small.fill("third", 0);
    let mut lost = 0;
    for id in &bare[3..] {
        let answer = ask(&server, "POST", &format!("/v1/sessions/{id}/terminate"), "{}");
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        assert!(answer.status == 200 || answer.says_when_to_retry());
        lost += u64::from(answer.status == 503);
        assert_eq!(ask(&server, "GET", &format!("/v1/sessions/{works}"), "").body["termination_reason"], "completed");
    }
    println!("{lost} of 2 ends could not be recorded on a disk without a free block");

    // There is room again.
    ["first", "second", "third"].into_iter().for_each(|name| small.empty(name));
    assert!(eventually(SOON, || create().status == 201), "{:?}{}", create(), server.log());
    assert!(eventually(SOON, || reserve.exists()), "the reserve is held back again");
    for id in [&works].into_iter().chain(&bare[..3]) {
        assert_eq!(server.json(&["session", "get"], id)["termination_reason"], "completed", "{id}");
    }
    for id in &bare[3..] {
        assert_eq!(server.ask(["session", "terminate", id]).code, 0);
    }
    let verified = server.ask(["audit", "verify"]);
    assert_eq!(verified.code, 0, "{verified}");
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
