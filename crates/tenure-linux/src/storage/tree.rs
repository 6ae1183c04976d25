//! Removing a tree that a tenant filled, with the rights of an ordinary user.
//!
//! It may be deeper than a path can say and deeper than there are descriptors or stack to follow it, and its directories may be locked to their
//! owner. So nothing descends: what lies in a directory of the top is moved up to the top, until the top is empty. Nobody else is at work in
//! the tree by then.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::path::Path;

/// Removes a directory with all it holds.
pub fn remove(path: &Path) -> io::Result<()> {
    let top = openat(CWD, path, FLAGS, Mode::empty())?;
    let mut moved = 0;
    loop {
        let names = entries(&top)?;
        if names.is_empty() {
            return std::fs::remove_dir(path);
        }
        for name in names {
            if !remove_file(&top, &name)? {
                lift(&top, &name, &mut moved)?;
                unlinkat(&top, &*name, AtFlags::REMOVEDIR)?;
            }
        }
    }
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Empties a directory of the top: its files are removed, its directories moved up.
fn lift(top: &OwnedFd, name: &CString, moved: &mut u64) -> io::Result<()> {
    chmodat(top, &**name, Mode::RWXU, AtFlags::empty())?;
    let dir = openat(top, &**name, FLAGS, Mode::empty())?;
    for inner in entries(&dir)? {
        if remove_file(&dir, &inner)? {
            continue;
        }
        // Moving a directory writes to it: the way up is stored there.
        chmodat(&dir, &*inner, Mode::RWXU, AtFlags::empty())?;
        while let Err(errno) = renameat_with(&dir, &*inner, top, moved.to_string(), RenameFlags::NOREPLACE) {
            if errno != Errno::EXIST {
                return Err(errno.into());
            }
            *moved += 1;
        }
        *moved += 1;
    }
    Ok(())
}

/// Whether it was no directory, and so is gone.
fn remove_file(dir: &OwnedFd, name: &CString) -> io::Result<bool> {
    match unlinkat(dir, &**name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn entries(dir: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// TM-8
    #[test]
    fn a_tree_is_removed_however_it_resists() {
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("top");
        // Names that the way up could take for its own, a link to what must stay, and a locked directory that is not empty.
        for name in ["a/b/0/c", "a/1", "0/0", "1"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
            std::fs::write(top.join(name).join("file"), "x").unwrap();
        }
        std::fs::write(home.path().join("stays"), "x").unwrap();
        std::os::unix::fs::symlink("../../stays", top.join("a/link")).unwrap();
        std::os::unix::fs::symlink("..", top.join("a/b/up")).unwrap();
        for locked in ["a/b/0", "a/b", "0"] {
            std::fs::set_permissions(top.join(locked), std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove(&top).unwrap();
        assert!(!top.exists() && home.path().join("stays").exists());
    }
}
