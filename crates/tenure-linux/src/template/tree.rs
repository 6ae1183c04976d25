//! Writing a root tree without ever leaving it: every path is resolved by the kernel, inside of the tree's own root.
//!
//! Images bring their own symbolic links, and later layers write through earlier ones' (`lib/x`, where `lib -> usr/lib`). Such a
//! link leads where it would lead inside of the environment (`RESOLVE_IN_ROOT`), so the worst that a hostile one can do is to
//! damage its own tree. The last component is never followed.

use super::TemplateError;
use super::beneath::{clear_dir, group, kind, open_dir_at, open_regular_in, openat2, remove_at, stat_nofollow, user};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawMode, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Deepest path. Trees are copied and removed with one descriptor per floor.
pub(super) const DEPTH_MAX: usize = 256;
/// The same for removing: writing through a link may reach a little deeper.
const REMOVE_DEPTH_MAX: usize = DEPTH_MAX + 4;
/// The tenant's user and group number.
pub(super) const TENANT: u32 = 1000;

/// Mode and owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Attributes {
    /// Of something that root owns.
    pub(super) fn root(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0 }
    }

    /// Of something that the tenant owns.
    pub(super) fn tenant(mode: u32) -> Self {
        Self { mode, uid: TENANT, gid: TENANT }
    }
}

/// Whose the files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owners {
    /// As the source says: only root can.
    Kept,
    /// The caller's, who must be able to read them whatever the mode says.
    Callers,
}

/// A root tree that is being written.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
    owners: Owners,
}

impl Tree {
    /// Makes the directory `path` and opens it as a tree.
    pub(super) fn create(path: &Path) -> Result<Self, TemplateError> {
        rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o755)).map_err(TemplateError::io("create", path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(TemplateError::io("open", path))?;
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o755)).map_err(TemplateError::io("set the mode of", path))?;
        let owners = if rustix::process::geteuid().is_root() { Owners::Kept } else { Owners::Callers };
        Ok(Self { root, path: path.to_owned(), owners })
    }

    /// Makes the directory `path`, or gives an existing one these attributes. Anything else of that name goes.
    pub(super) fn dir(&self, path: &Path, attributes: Attributes) -> Result<OwnedFd, TemplateError> {
        let dir = self.dir_raw(path).map_err(self.io("create", path))?;
        self.set_attributes(&dir, attributes, 0o700).map_err(self.io("set owner and mode of", path))?;
        Ok(dir)
    }

    fn dir_raw(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let Some(name) = path.file_name() else {
            return self.open_dir(path);
        };
        let parent = self.parent(path)?;
        match stat_nofollow(&parent, name)? {
            Some(stat) if kind(&stat) == FileType::Directory => {}
            Some(_) => {
                rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700))?;
            }
            None => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700))?,
        }
        open_dir_at(&parent, name)
    }

    /// Makes the file `path` with what `write` puts into it. Anything of that name goes first.
    pub(super) fn file<T>(
        &self,
        path: &Path,
        attributes: Attributes,
        write: impl FnOnce(&mut File) -> Result<T, TemplateError>,
    ) -> Result<T, TemplateError> {
        let mut file = self.new_file(path).map_err(self.io("create", path))?;
        let written = write(&mut file)?;
        self.set_attributes(&file, attributes, 0o400).map_err(self.io("set owner and mode of", path))?;
        Ok(written)
    }

    fn new_file(&self, path: &Path) -> rustix::io::Result<File> {
        let (parent, name) = self.vacate(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// Makes the file `path` with these bytes.
    pub(super) fn file_with(&self, path: &Path, attributes: Attributes, bytes: &[u8]) -> Result<(), TemplateError> {
        self.file(path, attributes, |file| file.write_all(bytes).map_err(self.io("write", path)))
    }

    /// Makes the symbolic link `path`. Anything of that name goes first.
    pub(super) fn symlink(&self, path: &Path, target: &[u8], uid: u32, gid: u32) -> Result<(), TemplateError> {
        let make = || {
            let (parent, name) = self.vacate(path)?;
            rustix::fs::symlinkat(OsStr::from_bytes(target), &parent, name)?;
            match self.owners {
                Owners::Kept => rustix::fs::chownat(&parent, name, user(uid), group(gid), AtFlags::SYMLINK_NOFOLLOW),
                Owners::Callers => Ok(()),
            }
        };
        make().map_err(self.io("create the symbolic link", path))
    }

    /// Makes `path` another name of the file `existing`. Anything of that name goes first. A directory has no second name (EPERM).
    pub(super) fn hard_link(&self, path: &Path, existing: &Path) -> Result<(), TemplateError> {
        let make = || {
            let name = existing.file_name().ok_or(Errno::PERM)?;
            let parent = self.existing_parent(existing)?;
            let target = stat_nofollow(&parent, name)?.ok_or(Errno::NOENT)?;
            if kind(&target) == FileType::Directory {
                return Err(Errno::PERM);
            }
            let (new_parent, new_name) = (self.parent(path)?, path.file_name().ok_or(Errno::INVAL)?);
            let there = stat_nofollow(&new_parent, new_name)?;
            if there.is_some_and(|there| (there.st_dev, there.st_ino) == (target.st_dev, target.st_ino)) {
                return Ok(());
            }
            remove_at(&new_parent, new_name, REMOVE_DEPTH_MAX)?;
            rustix::fs::linkat(&parent, name, &new_parent, new_name, AtFlags::empty())
        };
        make().map_err(self.io("create the hard link", path))
    }

    /// Opens `path` for reading, if it is a regular file; links are followed inside of the tree.
    pub(super) fn read(&self, path: &Path) -> Result<Option<File>, TemplateError> {
        open_regular_in(&self.root, path).map_err(self.io("open", path))
    }

    /// Whether something is at `path`, which is not followed.
    pub(super) fn kind_of(&self, path: &Path) -> Result<Option<FileType>, TemplateError> {
        let look = || match path.file_name() {
            None => Ok(Some(FileType::Directory)),
            Some(name) => match self.existing_parent(path) {
                Ok(parent) => Ok(stat_nofollow(&parent, name)?.as_ref().map(kind)),
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
                Err(error) => Err(error),
            },
        };
        look().map_err(self.io("look at", path))
    }

    /// Removes `path` and all below it. Unlike everything else this follows no link on the way: a whiteout speaks of one very place.
    pub(super) fn remove(&self, path: &Path) -> Result<(), TemplateError> {
        let remove = || {
            let name = path.file_name().ok_or(Errno::BUSY)?;
            match self.open_real_dir(path.parent().unwrap_or(Path::new(""))) {
                Ok(parent) => remove_at(&parent, name, REMOVE_DEPTH_MAX),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(error) => Err(error),
            }
        };
        remove().map_err(self.io("remove", path))
    }

    /// Removes all that is in the directory `path`, if it is one. Follows no link.
    pub(super) fn clear(&self, path: &Path) -> Result<(), TemplateError> {
        let clear = || match self.open_real_dir(path) {
            Ok(dir) => clear_dir(&dir, REMOVE_DEPTH_MAX),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error),
        };
        clear().map_err(self.io("clear", path))
    }

    /// Writes all of the tree to the disk.
    pub(super) fn sync(&self) -> Result<(), TemplateError> {
        rustix::fs::syncfs(&self.root).map_err(TemplateError::io("write to disk", &self.path))
    }

    /// Gives an open file or directory its owner and its mode; in this order, since a new owner takes setuid away.
    fn set_attributes<F: AsFd>(&self, fd: F, attributes: Attributes, callers: u32) -> rustix::io::Result<()> {
        let Attributes { mode, uid, gid } = attributes;
        let mode = match self.owners {
            Owners::Kept => {
                rustix::fs::fchown(&fd, user(uid), group(gid))?;
                mode
            }
            Owners::Callers => mode | callers,
        };
        rustix::fs::fchmod(&fd, Mode::from_raw_mode((mode & 0o7777) as RawMode))
    }

    /// Frees the name `path`; answers its directory and the last component.
    fn vacate<'p>(&self, path: &'p Path) -> rustix::io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let parent = self.parent(path)?;
        remove_at(&parent, name, REMOVE_DEPTH_MAX)?;
        Ok((parent, name))
    }

    /// The directory of `path`, made if missing.
    fn parent(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        self.open_dir_all(path.parent().unwrap_or(Path::new("")))
    }

    fn existing_parent(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        self.open_dir(path.parent().unwrap_or(Path::new("")))
    }

    fn open_dir_all(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        match self.open_dir(path) {
            Err(Errno::NOENT) => {}
            done => return done,
        }
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = self.parent(path)?;
        // EEXIST: a link that leads nowhere. What it means to write through it is anybody's guess, so it is an error.
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
        let dir = open_dir_at(&parent, name)?;
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o755))?;
        Ok(dir)
    }

    /// Opens a directory. Links on the way are followed inside of the tree.
    fn open_dir(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        match self.open_real_dir(path) {
            Err(Errno::LOOP) => {}
            done => return done,
        }
        let dir = openat2(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY, ResolveFlags::IN_ROOT)?;
        // Through links a path can lead deeper than it is long, again and again.
        let real =
            rustix::fs::readlink(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&dir)), Vec::new())?;
        let floors = real.as_bytes().iter().filter(|byte| **byte == b'/').count();
        if floors > DEPTH_MAX + self.path.components().count() { Err(Errno::NAMETOOLONG) } else { Ok(dir) }
    }

    fn open_real_dir(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        if !path.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(Errno::INVAL);
        }
        if path.components().count() >= DEPTH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY, resolve)
    }

    /// For `map_err`: says what was tried, and on what inside of the tree.
    pub(super) fn io<E: Into<std::io::Error>>(
        &self,
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> TemplateError + use<E> {
        let path = self.path.join(path);
        move |error| TemplateError::Io { action, path, source: error.into() }
    }
}
