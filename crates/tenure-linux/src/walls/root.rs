//! The root that an environment sees: an overlay of its volume over its template, and what is mounted on top of that.

use super::mounts::{DATA, FROZEN, Mount, PLAIN, bind, exists};
use super::order::{NAMESPACE_LIMITS, Order};
use super::step::{Failed, Named, Step};
use crate::storage::{UPPER, WORK};
use rustix::fs::{Mode, OFlags, mkdir, openat};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Entries of `/proc` that show the environment, or nothing that matters. All others of this kernel are masked.
const PROC_SHOWN: [&str; 16] = [
    "cgroups",
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "mounts",
    "net",
    "self",
    "stat",
    "swaps",
    "sys",
    "sysvipc",
    "thread-self",
    "uptime",
    "version",
    "vmstat",
];
/// Entries of `/proc` that are shown and must not be written.
const PROC_READ_ONLY: [&str; 1] = ["sys"];
/// Devices that every environment has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The template, the volume and, where it is wanted, the host's `/usr`: with the IDs that the user namespace gives them, or with their own.
pub fn layers(order: &Order, volume: &Path, userns: Option<BorrowedFd<'_>>) -> Step<Vec<Mount>> {
    let layer = |from: &Path, attributes: u64, name: &'static str| -> Step<Mount> {
        let mount = Mount::copy_of(from).step(name)?.with(attributes).step(name)?;
        userns.map_or(Ok(()), |userns| map_ids(&mount, userns)).step("map IDs")?;
        Ok(mount)
    };
    let mut made = vec![layer(&order.base, FROZEN, "template")?, layer(volume, PLAIN, "volume")?];
    if order.host_usr {
        made.push(layer(Path::new("/usr"), FROZEN, "/usr")?);
    }
    Ok(made)
}

/// Not every file system can show other IDs; its files then belong to nobody inside, and are readable as for any stranger.
fn map_ids(mount: &Mount, userns: BorrowedFd<'_>) -> Result<(), Errno> {
    match mount.map_ids(userns) {
        Err(Errno::INVAL) => Ok(()),
        result => result,
    }
}

/// Overlays the volume over the base. In the user namespace, as user 0 inside: mounted from outside over layers with mapped IDs, the kernel cannot make
/// its work directory, and gives a root that is silently read-only.
pub fn overlay(base: &Path, volume: &Path) -> Step<Mount> {
    let (upper, work) = (volume.join(UPPER), volume.join(WORK));
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).ok_or_else(|| Failed::new("overlay", "a path that is not UTF-8"))
    };
    let (base, upper, work) = (text(base)?, text(&upper)?, text(&work)?);
    let options = [
        ("source", "tenure"),
        ("lowerdir", base.as_str()),
        ("upperdir", upper.as_str()),
        ("workdir", work.as_str()),
        ("userxattr", ""),
        // A volume then says by itself what it changes, which is what a snapshot takes.
        ("index", "off"),
    ];
    let mount = Mount::new("overlay", &options, PLAIN).step("overlay")?;
    // Without room for its work directory the kernel says nothing, and gives one that cannot be written.
    let flags = rustix::fs::fstatvfs(&mount.0).step("overlay")?.f_flag;
    if flags.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Err(Failed::new("overlay", "it is read-only: there is no room in the volume, or no right to it"));
    }
    Ok(mount)
}

/// Mounts all that belongs on top of the root. The working directory is the new root; the old one is still there.
pub fn furnish(masked: &Masked, single_id: bool) -> Step<()> {
    Mount::new("proc", &[], DATA).step("proc")?.attach("proc").step("proc")?;
    // Opened while it can be written; used last, since even a mount that is not attached yet counts as a namespace.
    let limits = File::open("proc/sys/user").step("limits of the user namespace")?;
    devices(single_id)?;
    system().step("sys")?;
    masked.apply().step("mask /proc")?;
    limit_namespace(&limits)
}

/// Bounds what the kernel keeps for the users inside. The files act on the namespace of whoever opens them.
fn limit_namespace(directory: &File) -> Step<()> {
    for (name, value) in NAMESPACE_LIMITS {
        match openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => Ok(0),
            opened => opened.and_then(|file| rustix::io::write(file, value.to_string().as_bytes())),
        }
        .step("limits of the user namespace")?;
    }
    Ok(())
}

fn devices(single_id: bool) -> Step<()> {
    let tmpfs = |size| Mount::new("tmpfs", &[("mode", "0755"), ("size", size)], libc::MOUNT_ATTR_NOSUID);
    tmpfs("64k").step("dev")?.attach("dev").step("dev")?;
    for name in DEVICES {
        let inside = format!("dev/{name}");
        File::create(&inside).step("device")?;
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
            // As a device it reads as empty.
            bind("dev/null", file, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY)
                .or_else(ignore_missing)?;
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
