//! Connections, and the settings that each of them has.

use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long `sqlite3` in somebody's hand may hold the database before a change fails for it.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the database is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In this file.
    File(PathBuf),
    /// In the memory of one connection, and gone with it.
    Memory,
}

impl Place {
    /// The connection that writes.
    pub fn writer(&self) -> rusqlite::Result<Connection> {
        let connection = match self {
            Place::File(path) => open(path)?,
            Place::Memory => Connection::open_in_memory()?,
        };
        connection.busy_timeout(BUSY_TIMEOUT)?;
        if let Place::File(_) = self {
            connection.pragma_update(None, "journal_mode", "WAL")?;
        }
        // What was acknowledged survives a power cut: the WAL is flushed by each commit.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "recursive_triggers", true)?;
        // What was purged is overwritten, and not only forgotten.
        connection.pragma_update(None, "secure_delete", true)?;
        // 16 MiB of WAL between two checkpoints: each rewrites the pages that changed, however often they did.
        connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        connection.pragma_update(None, "cache_size", -32_768)?;
        // What a savepoint needs to be undone stays in memory. In a file, each change of a group writes every page that it touches once more.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(128);
        Ok(connection)
    }
}

/// A connection that only reads a database file.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -8192)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A connection that copies a database file.
pub(crate) fn copier(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// The database is this process's alone, and the index of its log in memory. In a file that is mapped, as SQLite has it otherwise, a write that the disk
/// refuses is no error but a signal, which ends the process: where the disk is full, or was mounted read-only after an error.
///
/// Each connection is used by one thread at a time, so SQLite need not lock it. The file was made before.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags_and_vfs(path, flags, "unix-excl")
}
