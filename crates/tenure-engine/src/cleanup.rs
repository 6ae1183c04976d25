//! Clean-up by hand: whether a session is due for it, and a sweep, tried or done (CL-1).

use crate::call::Call;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::sweeper::{Sweep, Swept};
use serde_json::json;
use tenure_session::{CleanupCheck, Operation, Session, cleanup_check};

impl Engine {
    /// What a sweep would do with a session. Only reads: a limit that has passed is told and not recorded.
    pub async fn cleanup_check(&self, call: &Call, id: &str) -> Result<(Session, CleanupCheck), EngineError> {
        let session = self.find(call, id, Operation::CleanupCheck).await?;
        let check = cleanup_check(&session, &self.presence(&session), self.now());
        Ok((session, check))
    }

    /// Sweeps everything, leftovers included. Tried only, it changes nothing at all, the audit included.
    pub async fn cleanup_sweep(&self, call: &Call, sweep: Sweep) -> Result<Swept, EngineError> {
        self.admit_service(call, Operation::CleanupSweep)?;
        match sweep {
            Sweep::Dry => self.sweep_dry().await,
            Sweep::Real => {
                let (engine, call) = (self.clone(), call.clone());
                // Apart: what was swept is audited, also where nobody waits for it any more.
                self.apart(async move {
                    let swept = engine.sweep_all().await?;
                    let metadata = json!({
                        "sessions_checked": swept.checked,
                        "sessions_ended": swept.ended.len(),
                        "sessions_tidied": swept.tidied.len(),
                        "orphans": swept.orphans,
                        "left": swept.left,
                    });
                    engine.audit(draft::of_service(&call, Operation::CleanupSweep, engine.now(), metadata)).await?;
                    Ok(swept)
                })
                .await
            }
        }
    }
}
