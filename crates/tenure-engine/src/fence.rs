//! The fence of a session: whoever takes its lease shuts out what was let in before, and waits until it is out (LS-7).
//!
//! ```text
//!  permit, let in at token n ─► enter(n) ─► acts ─► leaves
//!  takeover: stored ─► raise(n + 1): nobody of n enters any more, who waits inside is cancelled ─┬─► all of n are out ─► answered
//!                                                                                                └─► not in time ─► refused: to be taken over again
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tenure_session::LeaseToken;
use tokio::sync::watch;

/// How long a takeover waits for what cannot be broken off. Behind an agent that hangs for longer it is not answered as done.
const PATIENCE: Duration = Duration::from_secs(10);

/// The fence of one session.
pub(crate) struct Fence {
    state: watch::Sender<State>,
}

struct State {
    /// The highest token that was given.
    token: LeaseToken,
    /// How many act that were let in when this was the highest token.
    inside: BTreeMap<LeaseToken, u32>,
}

impl Fence {
    /// As it stands where this is the highest token that was given.
    pub fn new(token: LeaseToken) -> Fence {
        Fence { state: watch::Sender::new(State { token, inside: BTreeMap::new() }) }
    }

    /// Whether a higher token was given since.
    pub fn is_above(&self, token: LeaseToken) -> bool {
        self.state.borrow().token > token
    }

    /// Begins to act, for somebody who was let in at this token. `None` where a higher one was given since.
    pub fn enter(self: &Arc<Fence>, token: LeaseToken) -> Option<Inside> {
        let mut entered = false;
        self.state.send_if_modified(|state| {
            entered = state.token <= token;
            if entered {
                *state.inside.entry(token).or_default() += 1;
            }
            // Nobody waits for somebody to enter.
            false
        });
        entered.then(|| Inside { fence: self.clone(), token })
    }

    /// Waits until a higher token is given, and says which.
    pub async fn raised_above(&self, token: LeaseToken) -> LeaseToken {
        let mut state = self.state.subscribe();
        let higher = state.wait_for(|state| state.token > token).await.map(|state| state.token);
        match higher {
            Ok(higher) => higher,
            // The sender is here, so it cannot be gone.
            Err(_) => std::future::pending().await,
        }
    }

    /// A token was given, and that is stored: nobody of a lower one enters any more. Returns when all that were inside are out, or that they are not.
    #[must_use]
    pub async fn raise(&self, token: LeaseToken) -> bool {
        self.raise_within(token, PATIENCE).await
    }

    async fn raise_within(&self, token: LeaseToken, patience: Duration) -> bool {
        self.state.send_modify(|state| state.token = state.token.max(token));
        let mut state = self.state.subscribe();
        let all_out = state.wait_for(|state| state.inside.range(..token).next().is_none());
        tokio::time::timeout(patience, all_out).await.is_ok()
    }
}

/// Somebody acts.
pub(crate) struct Inside {
    fence: Arc<Fence>,
    token: LeaseToken,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.fence.state.send_if_modified(|state| {
            if let Some(count) = state.inside.get_mut(&self.token) {
                *count -= 1;
                if *count == 0 {
                    state.inside.remove(&self.token);
                }
            }
            state.token > self.token
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    const T: fn(u64) -> LeaseToken = LeaseToken;

    /// LS-7
    #[tokio::test]
    async fn who_takes_the_lease_waits_until_the_last_holder_is_out() {
        let fence = Arc::new(Fence::new(T(1)));
        let inside = fence.enter(T(1)).unwrap();
        let raised = Arc::new(AtomicBool::new(false));
        let raising = tokio::spawn({
            let (fence, raised) = (fence.clone(), raised.clone());
            async move {
                assert!(fence.raise(T(2)).await);
                raised.store(true, Ordering::SeqCst);
            }
        });
        assert_eq!(fence.raised_above(T(1)).await, T(2));
        assert!(fence.enter(T(1)).is_none(), "nobody of an older token enters");
        assert!(fence.enter(T(2)).is_some());
        tokio::task::yield_now().await;
        assert!(!raised.load(Ordering::SeqCst), "somebody of the older token is inside");
        drop(inside);
        raising.await.unwrap();
        assert!(fence.is_above(T(1)) && !fence.is_above(T(2)));
    }

    /// LS-7
    #[tokio::test]
    async fn a_fence_never_comes_down() {
        let fence = Arc::new(Fence::new(T(5)));
        assert!(fence.raise(T(3)).await);
        assert!(fence.enter(T(4)).is_none() && fence.enter(T(5)).is_some());
    }

    /// LS-7
    #[tokio::test]
    async fn what_hangs_is_not_waited_for_for_ever() {
        let fence = Arc::new(Fence::new(T(1)));
        let inside = fence.enter(T(1)).unwrap();
        assert!(!fence.raise_within(T(2), Duration::from_millis(5)).await, "it is inside");
        assert!(!fence.raise_within(T(3), Duration::from_millis(5)).await, "it still is");
        assert!(fence.enter(T(1)).is_none());
        drop(inside);
        assert!(fence.raise_within(T(4), Duration::from_millis(5)).await);
    }
}
