//! A few environments per template that are made ahead of time, so that a session need not wait for the walls.
//!
//! A pooled environment has run nobody's code, is given away once, and is never taken back. Those of a template's older version are taken down when a
//! newer one is asked for. An empty pool costs nothing but the wait: the environment is then made cold. It is filled while nobody waits for an environment:
//! to make one more takes the processors from whoever does.

use crate::environment::Unbound;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// For how long nobody must have waited.
const CALM: Duration = Duration::from_millis(5);
/// It is filled after so long, whoever waits.
const FILLED_AFTER: Duration = Duration::from_secs(1);

/// What waits, by template.
#[derive(Default)]
pub struct Pool {
    /// How many wait per template.
    wanted: usize,
    shelves: Mutex<HashMap<String, Shelf>>,
    /// How many wait for an environment now.
    wait: watch::Sender<usize>,
}

/// Somebody waits for an environment, until this is dropped.
pub struct Waits<'a>(&'a Pool);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.wait.send_modify(|wait| *wait -= 1);
    }
}

/// What waits of one template.
#[derive(Default)]
struct Shelf {
    /// The version, as `name@version`.
    reference: String,
    waiting: Vec<Unbound>,
    /// How many are being made.
    coming: usize,
}

/// What a look at the shelf gave.
pub struct Taken {
    /// One that was ready.
    pub ready: Option<Unbound>,
    /// How many have to be made, now that this one is gone; each is to be reported by [`Pool::put`] or [`Pool::failed`].
    pub missing: usize,
    /// Of an older version, to be taken down.
    pub outdated: Vec<Unbound>,
}

impl Pool {
    /// A pool that keeps so many per template.
    pub fn new(wanted: usize) -> Pool {
        Pool { wanted, ..Pool::default() }
    }

    /// Somebody waits for an environment.
    pub fn wait(&self) -> Waits<'_> {
        self.wait.send_modify(|wait| *wait += 1);
        Waits(self)
    }

    /// Returns when it is time to fill it.
    pub async fn calm(&self) {
        let calm = async {
            loop {
                // The sender is here, so it cannot be gone.
                let _ = self.wait.subscribe().wait_for(|wait| *wait == 0).await;
                tokio::time::sleep(CALM).await;
                if *self.wait.borrow() == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(FILLED_AFTER, calm).await;
    }

    /// Takes one of this template's version, if one is ready.
    pub fn take(&self, name: &str, reference: &str) -> Taken {
        let mut shelves = self.lock();
        let shelf = shelves.entry(name.to_owned()).or_default();
        let mut outdated = Vec::new();
        if shelf.reference != reference {
            outdated = std::mem::take(&mut shelf.waiting);
            reference.clone_into(&mut shelf.reference);
        }
        let ready = loop {
            match shelf.waiting.pop() {
                Some(unbound) if unbound.is_alive() => break Some(unbound),
                Some(_dead) => {}
                None => break None,
            }
        };
        let missing = self.wanted.saturating_sub(shelf.waiting.len() + shelf.coming);
        shelf.coming += missing;
        Taken { ready, missing, outdated }
    }

    /// Puts one on its shelf. It comes back if nobody wants it any more.
    pub fn put(&self, name: &str, reference: &str, unbound: Unbound) -> Option<Unbound> {
        let mut shelves = self.lock();
        let Some(shelf) = shelves.get_mut(name) else { return Some(unbound) };
        shelf.coming = shelf.coming.saturating_sub(1);
        if shelf.reference != reference || shelf.waiting.len() >= self.wanted {
            return Some(unbound);
        }
        shelf.waiting.push(unbound);
        None
    }

    /// One that was to be made could not be.
    pub fn failed(&self, name: &str) {
        if let Some(shelf) = self.lock().get_mut(name) {
            shelf.coming = shelf.coming.saturating_sub(1);
        }
    }

    /// How many wait, of one template.
    pub fn waiting(&self, name: &str) -> usize {
        self.lock().get(name).map_or(0, |shelf| shelf.waiting.iter().filter(|unbound| unbound.is_alive()).count())
    }

    /// Empties one template's shelf, or all, so that nothing holds the template any more.
    pub fn drain(&self, name: Option<&str>) -> Vec<Unbound> {
        let mut shelves = self.lock();
        match name {
            Some(name) => shelves.remove(name).map(|shelf| shelf.waiting).unwrap_or_default(),
            None => shelves.drain().flat_map(|(_, shelf)| shelf.waiting).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Shelf>> {
        // Nothing that holds it can panic halfway through a change.
        self.shelves.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    /// Whoever waits for an environment is not held up by one that nobody waits for.
    #[tokio::test]
    async fn a_pool_is_filled_while_nobody_waits() {
        let pool = Pool::new(1);
        let (first, second) = (pool.wait(), pool.wait());
        let mut calm = pin!(pool.calm());
        for waits in [first, second] {
            assert!(tokio::time::timeout(4 * CALM, &mut calm).await.is_err());
            drop(waits);
        }
        tokio::time::timeout(Duration::from_secs(20), calm).await.unwrap();
    }
}
