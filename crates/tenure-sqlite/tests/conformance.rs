//! What every store must pass, tried on a file and in memory.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;
use tempfile::TempDir;
use tenure_sqlite::{SqliteOptions, SqliteStore};
use tenure_store::Store;

mod file {
    use super::*;

    async fn new_store() -> (Arc<dyn Store>, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteOptions::new(directory.path().join("tenure.db"))).unwrap();
        (Arc::new(store), directory)
    }

    tenure_store::store_conformance!(new_store());
}

/// TR-9
mod memory {
    use super::*;

    async fn new_store() -> (Arc<dyn Store>, ()) {
        (Arc::new(SqliteStore::in_memory().unwrap()), ())
    }

    tenure_store::store_conformance!(new_store());
}
