//! Subvolumes, snapshots and quota groups of btrfs through its ioctls, so that no process start is measured.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use super::check;

const fn request(direction: u64, number: u64, size: u64) -> u64 {
    direction << 30 | size << 16 | 0x94 << 8 | number
}

const WRITE: u64 = 1;
const READ: u64 = 2;
const SNAP_CREATE: u64 = request(WRITE, 23, 4096);
const SUBVOL_CREATE: u64 = request(WRITE, 24, 4096);
const SNAP_DESTROY: u64 = request(WRITE, 63, 4096);
const QUOTA_CTL: u64 = request(READ | WRITE, 40, 16);
const QGROUP_LIMIT: u64 = request(READ, 43, 48);
const READ_ONLY: u64 = 2;

#[repr(C)]
struct VolArgs {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

#[repr(C)]
struct LimitArgs {
    qgroup: u64,
    flags: u64,
    max_referenced: u64,
    rest: [u64; 3],
}

fn volume_call(parent: &Path, call: u64, source: i64, flags: u64, name: &str) -> io::Result<()> {
    let parent = File::open(parent)?;
    let mut args = VolArgs { fd: source, transid: 0, flags, unused: [0; 4], name: [0; 4040] };
    args.name.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
    // SAFETY: `args` is laid out as `btrfs_ioctl_vol_args_v2` and lives over the call.
    check(unsafe { libc::ioctl(parent.as_raw_fd(), call, &raw const args) }.into()).map(drop)
}

/// Makes a file system in `file` with the public tool. The default keeps metadata twice, which a file on a file system
/// that has its own journal does not gain from.
///
/// # Errors
/// When `mkfs.btrfs` is missing or fails.
pub fn make(file: &Path) -> io::Result<()> {
    let mut run = Command::new("mkfs.btrfs");
    let output = run.args(["-q", "-f", "--nodiscard", "-m", "single"]).arg(file).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// How use is accounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Not at all.
    Off,
    /// Whoever refers to an extent is charged for it.
    Classic,
    /// Whoever first wrote an extent is charged for it (6.7 and newer).
    Simple,
}

/// Turns quota accounting on.
///
/// # Errors
/// Those of the ioctl.
pub fn quota_enable(mount: &Path, quota: Quota) -> io::Result<()> {
    let dir = File::open(mount)?;
    let args: [u64; 2] = match quota {
        Quota::Off => return Ok(()),
        Quota::Classic => [1, 0],
        Quota::Simple => [4, 0],
    };
    // SAFETY: `args` is laid out as `btrfs_ioctl_quota_ctl_args` and lives over the call.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), QUOTA_CTL, &raw const args) }.into()).map(drop)
}

/// Makes an empty subvolume.
///
/// # Errors
/// Those of the ioctl.
pub fn subvolume_create(parent: &Path, name: &str) -> io::Result<()> {
    volume_call(parent, SUBVOL_CREATE, 0, 0, name)
}

/// Limits what the subvolume at `path` may refer to.
///
/// # Errors
/// Those of the ioctl; ENOTCONN without quotas.
pub fn limit(path: &Path, bytes: u64) -> io::Result<()> {
    let dir = File::open(path)?;
    // Group 0 stands for the group of the subvolume the descriptor is in; flag 1 for the limit on referenced bytes.
    let args = LimitArgs { qgroup: 0, flags: 1, max_referenced: bytes, rest: [0; 3] };
    // SAFETY: `args` is laid out as `btrfs_ioctl_qgroup_limit_args` and lives over the call.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), QGROUP_LIMIT, &raw const args) }.into()).map(drop)
}

/// Takes a snapshot of the subvolume at `source`.
///
/// # Errors
/// Those of the ioctl.
pub fn snapshot(source: &Path, parent: &Path, name: &str, read_only: bool) -> io::Result<()> {
    let from = File::open(source)?;
    let flags = if read_only { READ_ONLY } else { 0 };
    volume_call(parent, SNAP_CREATE, from.as_raw_fd().into(), flags, name)
}

/// Deletes a subvolume; its space comes back in the background.
///
/// # Errors
/// Those of the ioctl.
pub fn delete(parent: &Path, name: &str) -> io::Result<()> {
    volume_call(parent, SNAP_DESTROY, 0, 0, name)
}

/// Commits, and wakes the thread that frees deleted subvolumes.
///
/// # Errors
/// Those of the ioctl.
pub fn sync(mount: &Path) -> io::Result<()> {
    let dir = File::open(mount)?;
    // SAFETY: an open descriptor, no memory involved.
    check(unsafe { libc::ioctl(dir.as_raw_fd(), request(0, 8, 0)) }.into()).map(drop)
}
