//! Copies a root tree, as `debootstrap` makes one.
//!
//! Modes, owners (where root copies), times, links, hard links inside of the tree, holes and `user.*` attributes are kept. Device
//! nodes, FIFOs, sockets and other file systems mounted in the tree are left out. Nothing is shared with the source, but for
//! extents that the file system itself shares until one side writes.

use super::TemplateError;
use super::beneath::{kind, open_dir_at, set_time, stat_nofollow};
use super::fit::Outcome;
use super::layer::is_kept_xattr;
use super::stage::Bounds;
use super::stream::{Hashed, Meter, copy_sparse};
use super::tree::{Attributes, DEPTH_MAX, Tree};
use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, Timespec, XattrFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Seek as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Longest list of names of attributes, and longest attribute.
const XATTR_MAX: usize = 64 * 1024;

/// Copies the tree at `source`, which must not hold `workshop`, where `tree` grows.
pub(super) fn copy(tree: &Tree, source: &Path, workshop: &Path, bounds: Bounds) -> Result<Outcome, TemplateError> {
    let real = |path: &Path| std::fs::canonicalize(path).map_err(TemplateError::io("find", path));
    let source = real(source)?;
    if real(workshop)?.starts_with(&source) {
        return Err(TemplateError::IntoItself { path: source });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(&source, flags, Mode::empty()).map_err(TemplateError::io("open", &source))?;
    let stat = rustix::fs::fstat(&dir).map_err(TemplateError::io("look at", &source))?;
    let mut copy = Copy {
        tree,
        source: source.clone(),
        device: stat.st_dev,
        meter: Meter::new(bounds),
        links: HashMap::new(),
        hash: Sha256::new(),
    };
    copy.dir_content(&dir, Path::new(""), DEPTH_MAX)?;
    copy.dir_itself(&dir, &stat, Path::new(""))?;
    Ok(Outcome { digest: format!("sha256:{}", hex::encode(copy.hash.finalize())), ..Outcome::default() })
}

struct Copy<'a> {
    tree: &'a Tree,
    source: PathBuf,
    device: u64,
    meter: Meter,
    /// Files with several names: where the first went, and how many are to come.
    links: HashMap<u64, (PathBuf, u64)>,
    hash: Sha256,
}

impl Copy<'_> {
    fn dir_content(&mut self, dir: &OwnedFd, path: &Path, depth: usize) -> Result<(), TemplateError> {
        if depth == 0 {
            return Err(TemplateError::TooLarge { limit: DEPTH_MAX as u64, unit: "directories inside of one another" });
        }
        for name in self.names(dir, path)? {
            let inner = path.join(&name);
            let Some(stat) = stat_nofollow(dir, &name).map_err(self.io("look at", &inner))? else {
                continue;
            };
            self.meter.entry()?;
            match kind(&stat) {
                FileType::Directory => {
                    let inner_dir = open_dir_at(dir, &name).map_err(self.io("open", &inner))?;
                    self.tree.dir(&inner, Attributes::root(0o700))?;
                    // What is mounted there belongs to another tree.
                    if stat.st_dev == self.device {
                        self.dir_content(&inner_dir, &inner, depth - 1)?;
                    }
                    self.dir_itself(&inner_dir, &stat, &inner)?;
                }
                FileType::RegularFile => self.file(dir, &name, &inner)?,
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(dir, &name, Vec::new()).map_err(self.io("read", &inner))?;
                    self.record(b"link", &inner, &stat);
                    self.field(target.as_bytes());
                    self.tree.symlink(&inner, target.as_bytes(), stat.st_uid, stat.st_gid)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The names in a directory, sorted: the digest depends on their order.
    fn names(&self, dir: &OwnedFd, path: &Path) -> Result<Vec<OsString>, TemplateError> {
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(self.io("read", path))? {
            let entry = entry.map_err(self.io("read", path))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Gives a directory its attributes, once its content is there.
    fn dir_itself(&mut self, dir: &OwnedFd, stat: &Stat, path: &Path) -> Result<(), TemplateError> {
        self.record(b"dir", path, stat);
        let made = self.tree.dir(path, attributes(stat))?;
        copy_xattrs(dir, &made);
        set_time(&made, changed(stat)).map_err(self.io("set the time of", path))
    }

    fn file(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), TemplateError> {
        // Not blocking: it may have become a FIFO since it was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file: File = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(self.io("open", path))?.into();
        let stat = rustix::fs::fstat(&file).map_err(self.io("look at", path))?;
        if kind(&stat) != FileType::RegularFile {
            return Ok(());
        }
        if let Some(first) = self.first_name(&stat) {
            self.record(b"name", path, &stat);
            self.field(first.as_os_str().as_bytes());
            return self.tree.hard_link(path, &first);
        }
        let (tree, meter) = (self.tree, &self.meter);
        let digest = tree.file(path, attributes(&stat), |copy| {
            let digest = copy_content(&mut file, copy, meter)
                .map_err(|error| meter.refusal(error, TemplateError::io("copy", &self.source.join(path))))?;
            copy_xattrs(&file, &*copy);
            set_time(&*copy, changed(&stat)).map_err(tree.io("set the time of", path))?;
            Ok(digest)
        })?;
        if stat.st_nlink > 1 {
            self.links.insert(stat.st_ino, (path.to_owned(), stat.st_nlink as u64 - 1));
        }
        self.record(b"file", path, &stat);
        self.field(digest.as_bytes());
        Ok(())
    }

    /// Under which name the file was copied already. All files are of one device, so its number says which it is.
    fn first_name(&mut self, stat: &Stat) -> Option<PathBuf> {
        let (first, left) = self.links.get_mut(&stat.st_ino)?;
        *left -= 1;
        let (first, left) = (first.clone(), *left);
        if left == 0 {
            self.links.remove(&stat.st_ino);
        }
        Some(first)
    }

    /// Times are not part of the digest: the same tree made twice is the same.
    fn record(&mut self, what: &[u8], path: &Path, stat: &Stat) {
        self.field(what);
        self.field(path.as_os_str().as_bytes());
        for number in [stat.st_mode & 0o7777, stat.st_uid, stat.st_gid] {
            self.hash.update(number.to_be_bytes());
        }
    }

    fn field(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    fn io<E: Into<std::io::Error>>(
        &self,
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> TemplateError + use<E> {
        let path = self.source.join(path);
        move |error| TemplateError::Io { action, path, source: error.into() }
    }
}

fn changed(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ }
}

fn attributes(stat: &Stat) -> Attributes {
    Attributes { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid }
}

/// Copies what is in a file, sharing its extents where the file system can. Answers its digest, of what the copy holds.
fn copy_content(source: &mut File, copy: &mut File, meter: &Meter) -> std::io::Result<String> {
    if rustix::fs::ioctl_ficlone(&*copy, &*source).is_ok() {
        meter.wrote(copy.metadata()?.len())?;
    } else {
        copy_sparse(source, copy, meter)?;
    }
    copy.rewind()?;
    Ok(Hashed::new(copy).finish()?.0)
}

fn copy_xattrs<F: AsFd, T: AsFd>(from: F, to: T) {
    let copy = || -> Result<(), Errno> {
        let mut names = vec![0; XATTR_MAX];
        let length = rustix::fs::flistxattr(&from, &mut names[..])?;
        for name in names[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok()) {
            if is_kept_xattr(name) {
                let mut value = vec![0; XATTR_MAX];
                let length = rustix::fs::fgetxattr(&from, name, &mut value[..])?;
                rustix::fs::fsetxattr(&to, name, &value[..length], XattrFlags::empty())?;
            }
        }
        Ok(())
    };
    // A file system without attributes is no reason to refuse a tree.
    let _ = copy();
}
