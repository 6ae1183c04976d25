//! The pool: one preallocated file with btrfs in it, in which every environment's volume is a subvolume.
//!
//! ```text
//! <data dir>/pool.btrfs      the file; its size is taken from the host at once, so that a full host harms nobody inside
//! <data dir>/pool.lock       held while the pool is made or mounted
//! <data dir>/pool/           where it is mounted, in the keeper's own mount namespace and nowhere else
//!   <instance uuid>/         a plain directory
//!     <berth>/               a subvolume with a quota: upper/, work/
//! ```
//!
//! Nobody has to unmount it: the mount goes with the last namespace that holds it, and the loop device with the mount.

use super::{btrfs, loopdev};
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::mount::{MountFlags, mount};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Less than this is no use: btrfs itself wants 109 MiB.
pub const SIZE_MIN: u64 = 256 * MIB;
/// The part of the pool, one in so many, that is kept for those who are inside already.
const LOW_WATER: u64 = 20;
const SIZE_DEFAULT_MAX: u64 = 32 << 30;

/// Why there is no pool.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The host has no room for it.
    #[error("the storage pool needs {wanted} bytes at {path}, {free} are free")]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// Its size.
        wanted: u64,
        /// What is free there.
        free: u64,
    },
    /// `mkfs.btrfs` is missing or failed.
    #[error("mkfs.btrfs: {0}; install btrfs-progs")]
    Mkfs(String),
    /// The kernel refused something.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

trait What<T> {
    fn what(self, what: &'static str) -> Result<T, PoolError>;
}

impl<T, E: Into<io::Error>> What<T> for Result<T, E> {
    fn what(self, what: &'static str) -> Result<T, PoolError> {
        self.map_err(|error| PoolError::Io { what, error: error.into() })
    }
}

/// Mounts the data directory's pool in the calling process's mount namespace; makes it first where there is none. Returns where it is.
pub fn mount_pool(data_dir: &Path, size_bytes: Option<u64>) -> Result<PathBuf, PoolError> {
    let lock = File::create(data_dir.join("pool.lock")).what("open pool.lock")?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).what("lock pool.lock")?;
    let file = data_dir.join("pool.btrfs");
    if !is_there(data_dir) {
        make(&file, size_bytes)?;
    }
    let point = data_dir.join("pool");
    std::fs::create_dir_all(&point).what("make the mount point")?;
    let device = loopdev::attach(&file).what("attach a loop device")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    // Discarding would punch holes into the file, and undo that its size was taken from the host at once.
    mount(&device.path, &point, c"btrfs", flags, Some(c"nodiscard")).what("mount the pool")?;
    let root = File::open(&point).what("open the pool")?;
    // The mark is made last: a crash before it only means that quotas are switched on once more.
    if !point.join(".quota").exists() {
        btrfs::quota_enable(&root).what("switch quotas on")?;
        File::create(point.join(".quota")).what("mark the pool")?;
    }
    Ok(point)
}

/// Whether the data directory has a pool.
pub fn is_there(data_dir: &Path) -> bool {
    data_dir.join("pool.btrfs").exists()
}

/// Limits may promise more than there is. While there is too little, nobody new comes in, so that those inside keep what is left.
pub fn refuse_when_full(dir: &Path) -> io::Result<()> {
    let stat = rustix::fs::statvfs(dir)?;
    if stat.f_bavail < stat.f_blocks / LOW_WATER {
        let free = stat.f_bavail * stat.f_frsize;
        return Err(io::Error::new(
            io::ErrorKind::StorageFull,
            format!("the storage pool is full: {free} bytes are left"),
        ));
    }
    Ok(())
}

/// Frees the space of removed volumes, as far as that can be done in this time. While nobody does this, and nothing keeps the pool mounted for long, the
/// kernel gets to none of it: the pool fills up, and each removed volume makes the next mount slower. One does it for all.
pub fn settle(point: &Path, patience: Duration) -> io::Result<()> {
    let root = File::open(point)?;
    if !btrfs::has_removed(&root)? || rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    settle_all(point, patience)
}

/// As [`settle`], whoever else is at it; returns when the space can be had.
pub fn settle_all(point: &Path, patience: Duration) -> io::Result<()> {
    let root = File::open(point)?;
    btrfs::sync(&root)?;
    let until = Instant::now() + patience;
    while btrfs::has_removed(&root)? && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    // What the cleaner freed can be had after a commit.
    btrfs::sync(&root)
}

fn make(file: &Path, size_bytes: Option<u64>) -> Result<(), PoolError> {
    let free = free_bytes(file.parent().unwrap_or(Path::new("/"))).what("ask for free space")?;
    let wanted = size_bytes.unwrap_or((free / 4).min(SIZE_DEFAULT_MAX)).max(SIZE_MIN) / MIB * MIB;
    if wanted > free {
        return Err(PoolError::NoRoom { path: file.into(), wanted, free });
    }
    let unfinished = file.with_extension("unfinished");
    let open = create_private(&unfinished).what("make the pool file")?;
    rustix::fs::fallocate(&open, FallocateFlags::empty(), 0, wanted).what("preallocate the pool file")?;
    let made = Command::new("mkfs.btrfs")
        .args(["--quiet", "--nodiscard", "--metadata", "single", "--data", "single", "--label", "tenure"])
        .arg(&unfinished)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .map_err(|error| PoolError::Mkfs(error.to_string()))?;
    if !made.status.success() {
        return Err(PoolError::Mkfs(String::from_utf8_lossy(&made.stderr).trim().to_owned()));
    }
    open.sync_all().what("sync the pool file")?;
    std::fs::rename(&unfinished, file).what("name the pool file")
}

fn create_private(file: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(file)
}

/// What is free for us in the file system of a directory.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail * stat.f_frsize)
}
