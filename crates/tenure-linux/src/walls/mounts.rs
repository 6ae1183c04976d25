//! Mounts that are made as descriptors first and attached where they belong, so that nothing is ever mounted on the host.

use crate::sys;
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A mount that is attached nowhere yet; dropped, it is gone.
#[derive(Debug)]
pub struct Mount(pub OwnedFd);

/// No devices, no set-user-ID programs.
pub const PLAIN: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// Nor programs.
pub const DATA: u64 = PLAIN | libc::MOUNT_ATTR_NOEXEC;
/// Nor writing.
pub const FROZEN: u64 = PLAIN | libc::MOUNT_ATTR_RDONLY;

impl Mount {
    /// A copy of what is mounted at a path, without what is mounted below it.
    pub fn copy_of(path: impl AsRef<Path>) -> Result<Mount, Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, path.as_ref(), flags).map(Mount)
    }

    /// A new file system. Options without a value are flags.
    pub fn new(kind: &str, options: &[(&str, &str)], attributes: u64) -> Result<Mount, Errno> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            if value.is_empty() {
                fsconfig_set_flag(&context, *key)
            } else {
                fsconfig_set_string(&context, *key, *value)
            }?;
        }
        fsconfig_create(&context)?;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        sys::mount_setattr(&mount, attributes, None, false)?;
        Ok(Mount(mount))
    }

    /// Adds attributes, `MOUNT_ATTR_*`.
    pub fn with(self, attributes: u64) -> Result<Mount, Errno> {
        sys::mount_setattr(&self.0, attributes, None, false)?;
        Ok(self)
    }

    /// Shows its files with the IDs that a user namespace gives them.
    pub fn map_ids(&self, userns: BorrowedFd<'_>) -> Result<(), Errno> {
        sys::mount_setattr(&self.0, 0, Some(userns), false)
    }

    /// Attaches it at a path.
    pub fn attach(&self, path: impl AsRef<Path>) -> Result<(), Errno> {
        move_mount(self.0.as_fd(), "", CWD, path.as_ref(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    }
}

/// Binds a file or directory over another one, with attributes.
pub fn bind(from: impl AsRef<Path>, to: impl AsRef<Path>, attributes: u64) -> Result<(), Errno> {
    Mount::copy_of(from)?.with(attributes)?.attach(to)
}

/// Whether anything is there, links not followed.
pub fn exists(path: impl AsRef<Path>) -> bool {
    rustix::fs::statat(CWD, path.as_ref(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Leaves the host's mount namespace for a copy: what is mounted here is not seen there, what is unmounted there goes here too.
pub fn leave_host_namespace() -> Result<(), Errno> {
    #[allow(unsafe_code)]
    // SAFETY: the flag touches no memory and no descriptor; the callers have one thread.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }?;
    let slave = rustix::mount::MountPropagationFlags::DOWNSTREAM | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", slave)
}
