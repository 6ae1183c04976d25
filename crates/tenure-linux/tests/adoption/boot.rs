//! A boot of the host, as far as a test can have one: every process of a data directory is killed, and the next ones see another boot ID.

use super::host::{self, agents};
use super::manager::{Manager, Place};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Another boot: a mount namespace in which the kernel's file says so. In it is a second `/proc` as well: the kernel lets environments mount their own
/// only where one is seen whole.
pub struct Boot {
    dir: tempfile::TempDir,
}

impl Boot {
    pub fn new(number: u8) -> Boot {
        let dir = tempfile::Builder::new().prefix("boot-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let boot = Boot { dir };
        std::fs::write(boot.file(), format!("{}\n", Boot::id(number))).unwrap();
        boot
    }

    pub fn id(number: u8) -> String {
        format!("00000000-0000-4000-8000-0000000000{number:02}")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("boot_id")
    }

    /// This program, in this boot; the process is the program's own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let script =
            format!("mount -t proc proc \"$1/proc\" && mount --bind \"$1/boot_id\" {BOOT_ID} && shift && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command.arg(self.dir.path()).arg(program);
        command
    }
}

/// Kills everything of a data directory at once, the keeper before its agents: it shall see none of them end.
pub fn kill_all(place: &Place, manager: Manager) {
    let (keeper, agents) = (manager.keeper, agents(place.uuid()));
    manager.kill();
    host::kill(keeper);
    agents.into_iter().for_each(host::kill);
}

/// The volumes of an instance that say whose they are, as a process in this mount namespace sees them.
pub fn volumes(of: i32, pool: &Path, uuid: &str) -> Vec<PathBuf> {
    let dir = PathBuf::from(format!("/proc/{of}/root")).join(pool.strip_prefix("/").unwrap()).join(uuid);
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("owner").symlink_metadata().is_ok()).collect()
}
