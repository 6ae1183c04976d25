//! The root that an environment sees: an overlay of its volume over its template, and what is mounted on top of that.

use super::mounts::{DATA, FROZEN, Mount, PLAIN, bind, exists};
use super::order::NAMESPACE_LIMITS;
use super::step::{Failed, Named, Step};
use crate::storage::{UPPER, WORK};
use rustix::fs::{Mode, mkdir};
use rustix::io::Errno;
use std::path::Path;

/// Entries of `/proc` that show the environment, or nothing that matters. All others of this kernel are masked.
const PROC_SHOWN: [&str; 17] = [
    "cgroups", "cpuinfo", "filesystems", "loadavg", "meminfo", "mounts", "net", "self", "stat", "swaps", "sys", "sysvipc",
    "thread-self", "uptime", "version", "vmstat", "fs",
];
/// Entries of `/proc` that are shown and must not be written.
const PROC_READ_ONLY: [&str; 2] = ["sys", "fs"];
/// Devices that every environment has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Overlays the volume over the base. Both are paths in the calling process's mount namespace.
pub fn overlay(base: &Path, volume: &Path, in_user_namespace: bool) -> Step<Mount> {
    let (upper, work) = (volume.join(UPPER), volume.join(WORK));
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| Failed::new("overlay", "a path that is not UTF-8"));
    let (base, upper, work) = (text(base)?, text(&upper)?, text(&work)?);
    let mut options = vec![
        ("source", "tenure"),
        ("lowerdir", base.as_str()),
        ("upperdir", upper.as_str()),
        ("workdir", work.as_str()),
        // A volume then says by itself what it changes, which is what a snapshot takes.
        ("redirect_dir", "off"),
        ("metacopy", "off"),
        ("index", "off"),
    ];
    if in_user_namespace {
        options.push(("userxattr", ""));
        options.retain(|(key, _)| *key != "redirect_dir" && *key != "metacopy");
    }
    Mount::new("overlay", &options, PLAIN).step("overlay")
}

/// Mounts all that belongs on top of the root. The working directory is the new root; the old one is still there.
pub fn furnish(masked: &Masked, single_id: bool) -> Step<()> {
    Mount::new("proc", &[], DATA).step("proc")?.attach("proc").step("proc")?;
    limit_namespace()?;
    devices(single_id)?;
    system().step("sys")?;
    masked.apply().step("mask /proc")
}

/// Bounds what the kernel keeps for the users inside. The files act on the namespace of whoever opens them.
fn limit_namespace() -> Step<()> {
    for (name, value) in NAMESPACE_LIMITS {
        let file = format!("proc/sys/user/{name}");
        if exists(&file) {
            std::fs::write(&file, value.to_string()).step("limits of the user namespace")?;
        }
    }
    Ok(())
}

fn devices(single_id: bool) -> Step<()> {
    let tmpfs = |size| Mount::new("tmpfs", &[("mode", "0755"), ("size", size)], libc::MOUNT_ATTR_NOSUID);
    tmpfs("64k").step("dev")?.attach("dev").step("dev")?;
    for name in DEVICES {
        let inside = format!("dev/{name}");
        std::fs::File::create(&inside).step("device")?;
        bind(format!("/dev/{name}"), &inside, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC).step("device")?;
    }
    let links = [
        ("/proc/self/fd", "dev/fd"),
        ("/proc/self/fd/0", "dev/stdin"),
        ("/proc/self/fd/1", "dev/stdout"),
        ("/proc/self/fd/2", "dev/stderr"),
        ("pts/ptmx", "dev/ptmx"),
    ];
    for (target, link) in links {
        rustix::fs::symlink(target, link).step("device link")?;
    }
    for dir in ["dev/pts", "dev/shm", "dev/mqueue"] {
        mkdir(dir, Mode::from_raw_mode(0o755)).step("device directory")?;
    }
    let mut terminals = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if !single_id {
        terminals.push(("gid", "5"));
    }
    Mount::new("devpts", &terminals, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)
        .step("devpts")?
        .attach("dev/pts")
        .step("devpts")?;
    let shared = Mount::new("tmpfs", &[("mode", "1777"), ("size", "50%")], DATA).step("dev/shm")?;
    shared.attach("dev/shm").step("dev/shm")?;
    // A kernel without POSIX message queues has nothing to mount.
    if let Ok(queues) = Mount::new("mqueue", &[], DATA) {
        queues.attach("dev/mqueue").step("mqueue")?;
    }
    Ok(())
}

/// `/sys` has nothing of the host but how many processors it has, which language runtimes ask for.
fn system() -> Result<(), Errno> {
    const PROCESSORS: &str = "devices/system/cpu";
    let tmpfs = Mount::new("tmpfs", &[("mode", "0755"), ("size", "64k")], DATA)?;
    tmpfs.attach("sys")?;
    let mut path = "sys".to_owned();
    for part in PROCESSORS.split('/') {
        path = format!("{path}/{part}");
        mkdir(&path, Mode::from_raw_mode(0o755))?;
    }
    if exists(format!("/sys/{PROCESSORS}")) {
        bind(format!("/sys/{PROCESSORS}"), &path, DATA | libc::MOUNT_ATTR_RDONLY)?;
    }
    tmpfs.with(libc::MOUNT_ATTR_RDONLY).map(drop)
}

/// What of `/proc` is masked: read once, from the host's own `/proc`, since every environment runs on the same kernel.
#[derive(Debug, Clone)]
pub struct Masked {
    files: Vec<String>,
    dirs: Vec<String>,
}

impl Masked {
    /// Everything that is not meant to be shown.
    pub fn of_this_kernel() -> std::io::Result<Masked> {
        let mut masked = Masked { files: Vec::new(), dirs: Vec::new() };
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
            if is_process || PROC_SHOWN.contains(&name.as_str()) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => masked.dirs.push(format!("proc/{name}")),
                Ok(kind) if kind.is_file() => masked.files.push(format!("proc/{name}")),
                _ => {}
            }
        }
        Ok(masked)
    }

    fn apply(&self) -> Result<(), Errno> {
        for name in PROC_READ_ONLY {
            let path = format!("proc/{name}");
            if exists(&path) {
                bind(&path, &path, DATA | libc::MOUNT_ATTR_RDONLY)?;
            }
        }
        for file in &self.files {
            bind("dev/null", file, FROZEN | libc::MOUNT_ATTR_NOEXEC).or_else(ignore_missing)?;
        }
        let Some((first, others)) = self.dirs.split_first() else { return Ok(()) };
        let empty = Mount::new("tmpfs", &[("mode", "0555"), ("size", "4k")], FROZEN | libc::MOUNT_ATTR_NOEXEC)?;
        empty.attach(first)?;
        others.iter().try_for_each(|dir| Mount::copy_of(first)?.attach(dir).or_else(ignore_missing))
    }
}

/// An entry that the host's `/proc` has and a new one does not (it belongs to the host's network, say) needs no mask.
fn ignore_missing(errno: Errno) -> Result<(), Errno> {
    if errno == Errno::NOENT { Ok(()) } else { Err(errno) }
}
