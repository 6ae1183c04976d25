//! The lock on the data directory: one server at a time, held for as long as its process lives (TR-7).

use crate::failure::{Code, Failure};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The lock. Dropping it lets the next server in.
pub struct DataLock {
    _file: File,
}

/// Takes the lock, or says who has it.
pub fn take(data_dir: &Path) -> Result<DataLock, Failure> {
    let path = data_dir.join("server.lock");
    let refused = |error: std::io::Error| {
        Failure::new(Code::Unavailable, format!("cannot use the data directory {}: {error}", data_dir.display()))
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Only to say who it is.
            let _ = file.read_to_string(&mut pid);
            let who = match pid.trim() {
                "" => String::new(),
                pid => format!(" (process {pid})"),
            };
            let message = format!("another server{who} uses the data directory {}", data_dir.display());
            return Err(Failure::new(Code::Unavailable, message)
                .hint("one process owns a data directory; choose another with --data-dir"));
        }
        Err(TryLockError::Error(error)) => return Err(refused(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(refused)?;
    Ok(DataLock { _file: file })
}
