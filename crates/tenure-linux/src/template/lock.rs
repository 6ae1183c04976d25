//! Locks on the store and on versions: `flock`, so that they go with the process that held them.

use super::TemplateError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The name of each lock's file.
pub(super) const LOCK: &str = "lock";

/// Keeps a template's version from being removed, while open.
///
/// The lock belongs to the open file: a copy of the descriptor in another process keeps it too.
#[derive(Debug)]
pub struct Hold {
    file: File,
}

impl Hold {
    /// The bare descriptor, to be handed to whoever outlives this process.
    pub fn into_fd(self) -> OwnedFd {
        self.file.into()
    }
}

impl AsFd for Hold {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Takes the shared lock of the version in `dir`.
pub(super) fn hold(dir: &Path, reference: &str) -> Result<Hold, TemplateError> {
    let path = dir.join(LOCK);
    let gone = || TemplateError::NotFound { reference: reference.to_owned() };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(gone()),
        Err(error) => return Err(TemplateError::io("open", &path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {}
        // Only a removal takes the exclusive lock.
        Err(Errno::WOULDBLOCK) => return Err(gone()),
        Err(error) => return Err(TemplateError::io("lock", &path)(error)),
    }
    // Between the open and the lock a removal may have moved the version away.
    let ours = file.metadata().map_err(TemplateError::io("look at", &path))?;
    match std::fs::metadata(&path) {
        Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => Ok(Hold { file }),
        _ => Err(gone()),
    }
}

/// Takes the exclusive lock of the file `path`, made if need be, waiting for it.
pub(super) fn exclusive(path: &Path) -> Result<File, TemplateError> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(TemplateError::io("open", path))?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::INTR) => {}
            Err(error) => return Err(TemplateError::io("lock", path)(error)),
        }
    }
}

/// Takes the exclusive lock of the existing file `path`; `None` if somebody holds it.
pub(super) fn try_exclusive(path: &Path) -> Result<Option<File>, TemplateError> {
    let file = File::open(path).map_err(TemplateError::io("open", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(TemplateError::io("lock", path)(error)),
    }
}
