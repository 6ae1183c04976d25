//! The keys that are good now, by the digest of their secret.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use tenure_session::KeyId;
use tenure_store::KeyRecord;
use tokio::sync::{MutexGuard, watch};

/// Every key, as it is stored. Few, and asked for by every request: so they are all here.
pub(crate) struct KeyRing {
    by_digest: RwLock<HashMap<String, KeyRecord>>,
    changed: watch::Sender<u64>,
    turn: tokio::sync::Mutex<()>,
}

impl KeyRing {
    pub fn new(keys: Vec<KeyRecord>) -> KeyRing {
        let by_digest = keys.into_iter().map(|key| (key.digest.clone(), key)).collect();
        KeyRing { by_digest: RwLock::new(by_digest), changed: watch::Sender::new(0), turn: tokio::sync::Mutex::new(()) }
    }

    /// Held while a key is changed in the store and here: what comes last there comes last here.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The key whose secret has this digest, revoked or not.
    pub fn get(&self, digest: &str) -> Option<KeyRecord> {
        self.by_digest.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// The key of this name, revoked or not.
    pub fn by_id(&self, id: &KeyId) -> Option<KeyRecord> {
        self.by_digest.read().unwrap_or_else(PoisonError::into_inner).values().find(|key| key.id == *id).cloned()
    }

    /// Takes a key as it is now; what it was before is forgotten.
    pub fn put(&self, key: KeyRecord) {
        let mut by_digest = self.by_digest.write().unwrap_or_else(PoisonError::into_inner);
        by_digest.retain(|_, other| other.id != key.id);
        by_digest.insert(key.digest.clone(), key);
        drop(by_digest);
        self.changed.send_modify(|version| *version += 1);
    }

    /// Moves whenever a key changes: what runs on one looks at it again then.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
