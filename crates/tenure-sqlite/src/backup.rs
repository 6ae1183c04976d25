//! A copy of the database as it is at one instant, also while it is written to.

use crate::connection;
use crate::failure::Failure;
use crate::lock::DirectoryLock;
use crate::open::OpenError;
use rusqlite::OptionalExtension;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tenure_store::SignedHead;

/// How the names of copies that are being made end.
const COPY: &str = ".copy";

/// Copies what is committed into an empty file, flushed, where no store is open. Nobody opens one meanwhile.
///
/// [`OpenError::Locked`] where one is: [`tenure_store::Store::backup`] is what it does then.
pub fn backup(database: &Path, to: &Path) -> Result<(), OpenError> {
    let _lock = DirectoryLock::take(database)?;
    let at = |error| OpenError::Io { path: to.to_path_buf(), error };
    vacuum_into(database, to).map_err(|failure| OpenError::Sqlite(failure.to_string()))?;
    File::open(to).and_then(|file| file.sync_all()).map_err(at)
}

/// Whether a copy has the entry that this head signs, and so is one of the database that the head is of.
pub fn has_entry_of(copy: &Path, head: &SignedHead) -> Result<bool, OpenError> {
    let connection = connection::reader(copy)?;
    let mut select = connection.prepare("SELECT line_hash FROM audit WHERE position = ?1")?;
    let hash: Option<String> = select.query_row([head.position], |row| row.get(0)).optional()?;
    Ok(hash.as_deref() == Some(head.line_hash.to_string().as_str()))
}

/// A copy in a file beside the database that has no name any more. Readers and the writer go on meanwhile.
pub(crate) fn copy(database: &Path) -> Result<File, Failure> {
    static COPIES: AtomicU64 = AtomicU64::new(0);
    let name = format!("{}{COPY}", COPIES.fetch_add(1, Ordering::Relaxed));
    let path = Named(database.with_file_name(name));
    let mut options = OpenOptions::new();
    // Made before SQLite does, so that it is never readable by others.
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path.0).map_err(unwritten)?;
    vacuum_into(database, &path.0)?;
    Ok(file)
}

/// Removes copies that were being made when the last process died.
pub(crate) fn remove_copies(database: &Path) -> io::Result<()> {
    let Some(dir) = database.parent() else { return Ok(()) };
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(COPY) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A file that loses its name when this is dropped.
struct Named(PathBuf);

impl Drop for Named {
    fn drop(&mut self) {
        // What stays is removed by the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn vacuum_into(database: &Path, to: &Path) -> Result<(), Failure> {
    let to = to.to_str().ok_or_else(|| Failure::impossible("the copy's path is not UTF-8"))?;
    connection::copier(database)?.execute("VACUUM INTO ?1", [to])?;
    Ok(())
}

fn unwritten(error: io::Error) -> Failure {
    Failure::impossible(format!("the copy cannot be made: {error}"))
}
