//! Direct kernel calls that the trials measure: mounts here, loop devices, btrfs, clone3 and control groups beside it.
#![allow(unsafe_code)] // the calls measured have no safe counterpart in std

pub mod btrfs;
pub mod cgroup;
pub mod clone;
pub mod loopdev;
pub mod pool;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Turns the result of a kernel call into `io::Result`.
///
/// # Errors
/// `errno` when `result` is negative.
pub fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A path for the kernel.
///
/// # Errors
/// When the path holds a NUL.
pub fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Moves this process into a mount namespace of its own from which nothing reaches the host.
///
/// # Errors
/// Those of `unshare` and `mount`; needs CAP_SYS_ADMIN.
pub fn private_mounts() -> io::Result<()> {
    // SAFETY: flags only, no memory involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into())?;
    // SAFETY: the target is a NUL-terminated literal; source, type and data may be null for a change of propagation.
    let private = unsafe {
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null())
    };
    check(private.into()).map(drop)
}

/// Shows at `on` what is at `from`.
///
/// # Errors
/// Those of `mount`.
pub fn bind(from: &Path, on: &Path) -> io::Result<()> {
    let (from, on) = (c_path(from)?, c_path(on)?);
    let none = std::ptr::null();
    // SAFETY: two NUL-terminated paths that live over the call; type and data may be null for a bind.
    check(unsafe { libc::mount(from.as_ptr(), on.as_ptr(), none, libc::MS_BIND, none.cast()) }.into()).map(drop)
}

/// Takes away the mount at `on`.
///
/// # Errors
/// Those of `umount2`.
pub fn unmount(on: &Path) -> io::Result<()> {
    let on = c_path(on)?;
    // SAFETY: a NUL-terminated path that lives over the call.
    check(unsafe { libc::umount2(on.as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

/// Makes the caller's control groups the roots of what it sees.
///
/// # Errors
/// Those of `unshare`.
pub fn own_cgroup_view() -> io::Result<()> {
    // SAFETY: flags only, no memory involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}

/// A mount that is undone when dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts `source` of type `fstype` on `target`, which is made if missing.
    ///
    /// # Errors
    /// Those of `mount`.
    pub fn new(source: &Path, target: &Path, fstype: &str, options: &str) -> io::Result<Self> {
        std::fs::create_dir_all(target)?;
        let (source, on) = (c_path(source)?, c_path(target)?);
        let (fstype, options) = (CString::new(fstype)?, CString::new(options)?);
        // SAFETY: all five pointers are NUL-terminated strings that live over the call.
        let mounted = unsafe {
            libc::mount(source.as_ptr(), on.as_ptr(), fstype.as_ptr(), libc::MS_NOATIME, options.as_ptr().cast())
        };
        check(mounted.into())?;
        Ok(Self(target.to_owned()))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Unmounts now and reports the error that a drop would hide.
    ///
    /// # Errors
    /// Those of `umount2`.
    pub fn unmount(self) -> io::Result<()> {
        let path = c_path(&self.0)?;
        std::mem::forget(self);
        // SAFETY: a NUL-terminated path that lives over the call.
        check(unsafe { libc::umount2(path.as_ptr(), 0) }.into()).map(drop)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Ok(path) = c_path(&self.0) {
            // SAFETY: a NUL-terminated path that lives over the call.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// A detached copy of the mount at `path`, its ids shifted by the map of `userns`, attached at `target`.
///
/// # Errors
/// Those of `open_tree`, `mount_setattr` and `move_mount`.
pub fn bind_idmapped(path: &Path, target: &Path, userns: &File) -> io::Result<Mounted> {
    const CLONE: u32 = 1;
    const IDMAP: u64 = 0x0010_0000;
    std::fs::create_dir_all(target)?;
    let (from, on) = (c_path(path)?, c_path(target)?);
    let flags = CLONE | libc::O_CLOEXEC as u32;
    // SAFETY: a NUL-terminated path that lives over the call.
    let tree = check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, from.as_ptr(), flags) })?;
    // SAFETY: the kernel just gave this descriptor and nobody else has it.
    let tree = unsafe { OwnedFd::from_raw_fd(tree as i32) };
    let attr = MountAttr { set: IDMAP, clear: 0, propagation: 0, userns: userns.as_raw_fd() as u64 };
    let (empty, size) = (c"".as_ptr(), size_of::<MountAttr>());
    // SAFETY: `attr` is laid out as the kernel's `mount_attr` and lives over the call.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), empty, libc::AT_EMPTY_PATH, &raw const attr, size)
    })?;
    const FROM_EMPTY: u32 = 4;
    // SAFETY: an open descriptor and a NUL-terminated path that lives over the call.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), empty, libc::AT_FDCWD, on.as_ptr(), FROM_EMPTY)
    })?;
    Ok(Mounted(target.to_owned()))
}

/// Flushes the file system that holds `path`.
///
/// # Errors
/// Those of `syncfs`.
pub fn syncfs(path: &Path) -> io::Result<()> {
    let dir = File::open(path)?;
    // SAFETY: an open descriptor, no memory involved.
    check(unsafe { libc::syncfs(dir.as_raw_fd()) }.into()).map(drop)
}

/// Reserves `bytes` for `file` on disk.
///
/// # Errors
/// Those of `fallocate`.
pub fn preallocate(file: &File, bytes: u64) -> io::Result<()> {
    // SAFETY: an open descriptor, no memory involved.
    check(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes as i64) }.into()).map(drop)
}

/// Bytes that are free on the file system that holds `path`.
///
/// # Errors
/// Those of `statvfs`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = c_path(path)?;
    // SAFETY: `statvfs` holds integers only, for which zero is valid.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a NUL-terminated path and a struct that live over the call.
    check(unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) }.into())?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Makes files belong to `id` from here on while all capabilities stay, which `setfsuid` alone would take in part.
///
/// # Errors
/// Those of `capget` and `capset`.
pub fn as_fs_user(id: u32) -> io::Result<()> {
    const VERSION: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION, 0];
    let mut sets = [0_u32; 6];
    // SAFETY: header and sets are laid out as version 3 of the interface and live over the call.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) })?;
    // SAFETY: numbers only.
    unsafe {
        libc::setfsgid(id);
        libc::setfsuid(id);
    }
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

/// Takes the ids 0 of the user namespace the caller is in; until then it has those it came with, mapped or not.
///
/// # Errors
/// Those of `setresgid` and `setresuid`.
pub fn become_root_inside() -> io::Result<()> {
    // SAFETY: numbers only; the plain calls do not signal other threads, of which a cloned child has none.
    check(unsafe { libc::syscall(libc::SYS_setresgid, 0, 0, 0) })?;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) }).map(drop)
}

/// Whether the caller is root.
pub fn is_root() -> bool {
    // SAFETY: has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Lets this process, and those it starts, have as many files open as its hard limit allows.
///
/// # Errors
/// Those of `getrlimit` and `setrlimit`.
pub fn open_files_most() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` lives over the call.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }.into())?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into()).map(drop)
}
