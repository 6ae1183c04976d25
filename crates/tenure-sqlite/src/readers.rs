//! The connections that read, so that nobody who reads waits for whoever writes.

use crate::connection;
use crate::failure::Failure;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tenure_store::StoreError;

/// A few connections. Whoever comes takes a free one; where none is free, they queue at the next in turn.
pub(crate) struct Readers {
    connections: Vec<Mutex<Option<Connection>>>,
    turn: AtomicUsize,
}

impl Readers {
    /// Opens so many.
    pub fn open(path: &Path, count: usize) -> rusqlite::Result<Readers> {
        let one = |_| connection::reader(path).map(|connection| Mutex::new(Some(connection)));
        Ok(Readers { connections: (0..count).map(one).collect::<Result<_, _>>()?, turn: AtomicUsize::new(0) })
    }

    /// Reads with one of them.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        match self.take().as_ref() {
            Some(connection) => work(connection).map_err(|failure| failure.answer()),
            None => Err(StoreError::Unavailable("the store is closed".to_owned())),
        }
    }

    /// Closes them all.
    pub fn close(&self) {
        for connection in &self.connections {
            connection.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    fn take(&self) -> MutexGuard<'_, Option<Connection>> {
        for connection in &self.connections {
            if let Ok(free) = connection.try_lock() {
                return free;
            }
        }
        let next = self.turn.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        // A reader changes nothing, so one that panicked left nothing half done.
        self.connections[next].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
