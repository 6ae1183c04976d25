//! The store as one service sees it, on a disk that is full from time to time: what is written then fails, and what is read does not.

use crate::driver::Service;
use async_trait::async_trait;
use serde_json::Value;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenure_session::*;
use tenure_sqlite::SqliteStore;
use tenure_store::*;

/// A real store behind a disk that may be full, for a service that may be over.
pub struct Full {
    pub inner: Arc<SqliteStore>,
    pub by: Service,
    pub is_full: Arc<AtomicBool>,
}

impl Full {
    fn refuses(&self, method: &str) -> bool {
        let reads = ["_get", "_list", "_unfinished", "_unsettled", "_due"].iter().any(|end| method.ends_with(end));
        self.is_full.load(Ordering::SeqCst) && !reads
    }
}

macro_rules! full {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Full {
            $(
                async fn $method(&self, $($name: $type),*) -> Result<$answer, StoreError> {
                    self.by.hears().await;
                    match self.refuses(stringify!($method)) {
                        true => Err(StoreError::Full("there is no room".to_owned())),
                        false => self.inner.$method($($name),*).await,
                    }
                }
            )+
        }
    };
}
every_store_method!(full);
