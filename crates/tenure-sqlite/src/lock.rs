//! One process owns a data directory (TR-7): a lock on a file beside the database.

use crate::open::OpenError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Held as long as it lives. The kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct DirectoryLock(File);

impl DirectoryLock {
    /// Takes the lock of the directory that this database is in, and writes down who holds it.
    pub fn take(database: &Path) -> Result<DirectoryLock, OpenError> {
        let path = database.with_file_name("lock");
        let at = |error| OpenError::Io { path: path.clone(), error };
        // Not cut before it is ours: what is in it names the holder.
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(at)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { pid: holder(&mut file) }),
            Err(TryLockError::Error(error)) => return Err(at(error)),
        }
        file.set_len(0).map_err(at)?;
        writeln!(file, "{}", std::process::id()).map_err(at)?;
        Ok(DirectoryLock(file))
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // By name: a child that inherited the descriptor would hold it on otherwise.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the data directory's lock is let go of when the process ends");
        }
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
