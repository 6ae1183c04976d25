//! The time in which the service was down: it counts against nobody who could not have done anything about it (GV-7).
//!
//! It begins at the last sign of life that was stored, and ends with the start. The signs come more often than once a second, so that it is never taken to
//! be longer than it was by more than that.

use crate::engine::Engine;
use crate::error::EngineError;
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::time::Duration;
use tenure_session::{Timestamp, Trigger};
use tenure_store::{AuditDraft, SessionsShift, Store};

/// How often a sign of life is stored.
const SIGN_EVERY: Duration = Duration::from_millis(500);
/// Sessions whose activity is stored together.
const TOGETHER: usize = 256;

/// Moves what ran out between the last sign of life and the start.
pub(crate) async fn make_good(store: &dyn Store, from: Timestamp, until: Timestamp) -> Result<(), EngineError> {
    let entry = AuditDraft {
        session_id: None,
        at: until,
        old_state: None,
        new_state: None,
        trigger: Trigger::Recovery,
        actor: "system".to_owned(),
        action: "sessions_shift".to_owned(),
        reason: Some("the service was down".to_owned()),
        metadata: json!({}),
    };
    let moved = store.sessions_shift(SessionsShift { from, until, entry }).await?;
    if moved > 0 {
        tracing::warn!(sessions = moved, %from, %until, "leases and idle limits that ran out while the service was down were moved");
    }
    Ok(())
}

impl Engine {
    /// Stores that the service lives now, and which sessions are at work, so that none is taken for idle that was at work when the service died (GV-3).
    pub async fn sign_of_life(&self) -> Result<(), EngineError> {
        let now = self.now();
        let working = stream::iter(self.live().work_goes_on(now));
        working
            .for_each_concurrent(TOGETHER, async |(id, operation)| self.activity_store(&id, now, operation).await)
            .await;
        Ok(self.store().clock_put(self.timeline().anchor()).await?)
    }

    /// Stores signs of life for as long as it is polled: to be run beside everything else from the start on.
    pub async fn show_life(&self) {
        loop {
            if let Err(error) = self.sign_of_life().await {
                tracing::warn!(%error, chain = error.chain(), "no sign of life was stored");
            }
            tokio::time::sleep(SIGN_EVERY).await;
        }
    }
}
