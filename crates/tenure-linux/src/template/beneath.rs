//! The system calls under the tree: each speaks of an open directory and a name in it, and follows no link it is not told to.

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Opens `path` below `root` for reading, if it is a regular file; links are followed as if `root` were the root.
pub(super) fn open_regular_in<F: AsFd>(root: F, path: &Path) -> rustix::io::Result<Option<File>> {
    // Not blocking: a FIFO must not keep us waiting.
    let file = match openat2(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY, ResolveFlags::IN_ROOT) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_file = kind(&rustix::fs::fstat(&file)?) == FileType::RegularFile;
    Ok(is_file.then(|| file.into()))
}

/// Opens what is at `path` below `root`, as `resolve` says.
pub(super) fn openat2<F: AsFd>(
    root: F,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    loop {
        let flags = flags | OFlags::CLOEXEC;
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve | ResolveFlags::NO_MAGICLINKS) {
            // Something was renamed meanwhile, anywhere on the host.
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Sets the time of the last change.
pub(super) fn set_time<F: AsFd>(file: F, time: Timespec) -> rustix::io::Result<()> {
    rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })
}

/// Opens the directory `name`, which must not be a link.
pub(super) fn open_dir_at<F: AsFd>(parent: F, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// What `name` is, itself.
pub(super) fn stat_nofollow<F: AsFd>(parent: F, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The kind of file.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A user, for the kernel.
pub(super) fn user(uid: u32) -> Option<Uid> {
    Some(Uid::from_raw(uid))
}

/// A group, for the kernel.
pub(super) fn group(gid: u32) -> Option<Gid> {
    Some(Gid::from_raw(gid))
}

/// Removes `name` and all below it, at most `depth` floors.
pub(super) fn remove_at<F: AsFd>(parent: F, name: &OsStr, depth: usize) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    }
    if depth == 0 {
        return Err(Errno::NAMETOOLONG);
    }
    clear_dir(&open_dir_at(&parent, name)?, depth - 1)?;
    rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
}

/// Removes all that is in a directory.
pub(super) fn clear_dir(dir: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            remove_at(dir, OsStr::from_bytes(name), depth)?;
        }
    }
    Ok(())
}
