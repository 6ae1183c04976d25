//! The store as one service sees it: on a disk that is full from time to time, so that what is written then fails and what is read does not; and with IDs
//! that others took.

use crate::driver::Service;
use async_trait::async_trait;
use serde_json::Value;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tenure_session::*;
use tenure_sqlite::SqliteStore;
use tenure_store::*;

/// What a service has to put up with. What a test asks the store itself is answered as always.
#[derive(Default)]
pub struct Trouble {
    pub disk_is_full: AtomicBool,
    /// How many of the next session IDs others took.
    pub ids_taken: AtomicU64,
}

impl Trouble {
    fn refuses(&self, method: &str) -> bool {
        let reads = ["_get", "_list", "_unfinished", "_unsettled", "_due"].iter().any(|end| method.ends_with(end));
        self.disk_is_full.load(Ordering::SeqCst) && !reads
    }

    fn takes_id(&self) -> bool {
        let one_less = |taken: u64| taken.checked_sub(1);
        self.ids_taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

/// A real store in trouble, for a service that may be over.
pub struct Troubled {
    pub inner: Arc<SqliteStore>,
    pub by: Service,
    pub trouble: Arc<Trouble>,
}

/// How a call is answered: by the real store, but for the one that makes a session.
macro_rules! answered {
    ($store:ident.session_create($create:ident)) => {
        match $store.trouble.takes_id() {
            true => Ok(SessionCreated::IdTaken),
            false => $store.inner.session_create($create).await,
        }
    };
    ($store:ident.$method:ident($($name:ident),*)) => {
        $store.inner.$method($($name),*).await
    };
}

macro_rules! troubled {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Troubled {
            $(
                async fn $method(&self, $($name: $type),*) -> Result<$answer, StoreError> {
                    self.by.hears().await;
                    match self.trouble.refuses(stringify!($method)) {
                        true => Err(StoreError::Full("there is no room".to_owned())),
                        false => answered!(self.$method($($name),*)),
                    }
                }
            )+
        }
    };
}
every_store_method!(troubled);
