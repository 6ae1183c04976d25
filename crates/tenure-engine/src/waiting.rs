//! Requests under the same idempotency key, one after another: the second waits for the first's answer (LC-6).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tenure_session::UserId;
use tokio::sync::OwnedMutexGuard;

type Key = (UserId, String);

/// Who waits for whom.
#[derive(Default)]
pub(crate) struct Waiting {
    keys: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
}

/// The turn of one request under its key; the next one's begins when this is dropped.
pub(crate) struct Turn {
    keys: Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>,
    key: Key,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Waiting {
    /// Waits until no other request under this key is being answered.
    pub async fn turn(&self, user: &UserId, key: &str) -> Turn {
        // There before it waits: who stops waiting leaves nothing in the table.
        let mut turn = Turn { keys: self.keys.clone(), key: (user.clone(), key.to_owned()), guard: None };
        let lock = turn.lock();
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Turn {
    fn lock(&self) -> Arc<tokio::sync::Mutex<()>> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.entry(self.key.clone()).or_default().clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // The table's own is the only one left: nobody waits.
        if keys.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            keys.remove(&self.key);
        }
    }
}
