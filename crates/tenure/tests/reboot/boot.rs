//! A boot of the host, as far as a test can have one.

use crate::kernel::Traces;
use crate::support::server::Server;
use crate::support::{PATIENCE, binary, eventually};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Another boot: a program that is `tenure` in a mount namespace in which the kernel's own file names this boot. A second `/proc` is in there as well: the
/// kernel lets environments mount theirs only where one is seen whole.
pub struct Boot {
    number: u8,
    _dir: TempDir,
    program: PathBuf,
}

impl Boot {
    pub fn new(number: u8) -> Boot {
        let dir = tempfile::Builder::new().prefix("boot-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (program, proc, file) = (dir.path().join("tenure"), dir.path().join("proc"), dir.path().join("boot_id"));
        let boot = Boot { number, program, _dir: dir };
        std::fs::create_dir(&proc).unwrap();
        std::fs::write(&file, format!("{}\n", boot.id())).unwrap();
        let inside = format!(
            "mount -t proc proc {} && mount --bind {} /proc/sys/kernel/random/boot_id && exec {} \"$@\"",
            proc.display(),
            file.display(),
            binary().display()
        );
        let script = format!("#!/bin/sh\nexec unshare --mount --propagation private sh -c '{inside}' tenure \"$@\"\n");
        std::fs::write(&boot.program, script).unwrap();
        std::fs::set_permissions(&boot.program, std::fs::Permissions::from_mode(0o755)).unwrap();
        boot
    }

    pub fn id(&self) -> String {
        format!("00000000-0000-4000-8000-0000000000{:02}", self.number)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }
}

/// Kills every process of a server's: itself, then its keeper, which shall see nothing of the rest, then the rest.
pub fn kill_everything(server: &mut Server, traces: &Traces) {
    server.kill();
    let parsed = |line: &String| {
        let mut words = line.split(' ').skip(1);
        let pid: i32 = words.next().unwrap().parse().unwrap();
        (pid, words.next().is_some_and(|name| name.starts_with("tenure-keeper")))
    };
    let kill = |pid: i32| {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    };
    let all: Vec<(i32, bool)> = traces.processes().iter().map(parsed).collect();
    all.iter().filter(|(_, is_keeper)| *is_keeper).for_each(|(pid, _)| kill(*pid));
    assert!(eventually(PATIENCE, || {
        let left: Vec<(i32, bool)> = traces.processes().iter().map(parsed).collect();
        left.iter().filter(|(_, is_keeper)| !is_keeper).for_each(|(pid, _)| kill(*pid));
        left.is_empty()
    }));
}

/// Mounts the pool of a data directory elsewhere and removes the volume of this environment.
pub fn remove_volume(data_dir: &Path, environment: &str) {
    let script = "mount -o loop \"$1/pool.btrfs\" \"$1/pool\" && cd \"$1/pool\" && for owner in */*/owner; do \
        case $(readlink \"$owner\") in \"$2\":*) btrfs subvolume delete \"${owner%/owner}\" ;; esac; done";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(data_dir).arg(environment);
    let removed = command.output().unwrap();
    assert!(removed.status.success() && !removed.stdout.is_empty(), "{removed:?}");
}
