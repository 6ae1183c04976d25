//! A copy of the database as it is at one instant, also while a server writes to it.

use crate::open::OpenError;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Copies what is committed into a new file, flushed. Readers and the writer go on meanwhile; nothing is locked but for a moment.
///
/// [`OpenError::Sqlite`] where the database cannot be read, the new file is there already, or there is no room for it.
pub fn backup(database: &Path, to: &Path) -> Result<(), OpenError> {
    let at = |error| OpenError::Io { path: to.to_path_buf(), error };
    let target = to.to_str().ok_or_else(|| at(std::io::Error::other("not a path in UTF-8")))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.execute("VACUUM INTO ?1", [target])?;
    File::open(to).and_then(|file| file.sync_all()).map_err(at)
}
