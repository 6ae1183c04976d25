//! Why SQLite did not do something, and what that is to whoever asked the store.

use rusqlite::ErrorCode;
use tenure_store::StoreError;

/// What stops a read or a change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// SQLite did not do it.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    /// What is stored, or was to be stored, cannot be.
    #[error("{0}")]
    Impossible(String),
    /// No page ended at this cursor.
    #[error("no page ended at the cursor {0:?}")]
    Cursor(String),
}

impl Failure {
    /// What is stored, or was to be stored, cannot be.
    pub fn impossible(why: impl std::fmt::Display) -> Failure {
        Failure::Impossible(why.to_string())
    }

    /// Whether the file itself could not be read or written: nothing that the connection believes of it is sure then.
    pub fn is_io(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen))
    }

    /// Whether the connection is of no more use: the file failed under it, or it was opened when nothing could be written and stays like that.
    pub fn outlives_its_connection(&self) -> bool {
        self.is_io() || matches!(self.code(), Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
    }

    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        self.code() == Some(ErrorCode::DiskFull)
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Failure::Sql(error) => error.sqlite_error_code(),
            Failure::Impossible(_) | Failure::Cursor(_) => None,
        }
    }

    /// What the store answers.
    pub fn answer(&self) -> StoreError {
        if let Failure::Cursor(cursor) = self {
            return StoreError::Cursor(cursor.clone());
        }
        let text = self.to_string();
        match self.code() {
            Some(ErrorCode::DiskFull) => StoreError::Full(text),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::ReadOnly
                | ErrorCode::OperationInterrupted
                | ErrorCode::OperationAborted
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::FileLockingProtocolFailed,
            ) => StoreError::Unavailable(text),
            // The schema's guards, a damaged file, and what is our own mistake. The codes are SQLite's, and more may come.
            Some(_) | None => StoreError::Corrupt(text),
        }
    }
}
