//! The sweeper: ends sessions that nobody visits, once their time has come. Requests notice by themselves; without it only the reclaiming waits (TM-6).

use crate::engine::Engine;
use crate::error::EngineError;
use std::time::Duration;
use tenure_session::{SessionId, Verdict, verdict};

/// Most sessions in one look at the store.
const BATCH: u32 = 500;

/// What one sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Sessions that were looked at: those whose stored deadline had passed.
    pub checked: u64,
    /// Those that it ended.
    pub ended: Vec<SessionId>,
}

impl Engine {
    /// Ends every session whose time has come. It costs what is due, and may be run by anybody at any time: each session ends once.
    pub async fn sweep(&self) -> Result<Swept, EngineError> {
        let mut swept = Swept::default();
        loop {
            let now = self.now();
            let due = self.store().session_due(now, BATCH).await?;
            for session in &due {
                swept.checked += 1;
                let presence = self.presence(session);
                match verdict(session, &presence, now) {
                    Verdict::End(limit, at) => {
                        let session = self.expire(session, limit, at).await?;
                        if session.end.is_some() {
                            swept.ended.push(session.id);
                        }
                    }
                    // It is worked in, or was: what is stored of that is brought up to date, so that it is not due again at the next look.
                    Verdict::Proceed => {
                        let at = if presence.working { Some(now) } else { presence.last_activity_at };
                        let at = at.unwrap_or(session.last_activity_at);
                        self.store().session_activity(&session.id, at, &session.last_activity).await?;
                    }
                    Verdict::Gone(_) => {}
                }
            }
            if due.len() < BATCH as usize {
                return Ok(swept);
            }
        }
    }

    /// Sweeps for as long as it is polled, about so often: never twice at the same distance, so that several do not keep step.
    pub async fn sweep_on(&self, every: Duration) {
        loop {
            let jitter = self.random::<1>().map_or(0, |[byte]| u64::from(byte));
            // Between three quarters and five quarters of it.
            let pause = every.mul_f64(0.75 + jitter as f64 / 512.0);
            tokio::time::sleep(pause).await;
            match self.sweep().await {
                Ok(swept) if swept.ended.is_empty() => {}
                Ok(swept) => tracing::info!(checked = swept.checked, ended = swept.ended.len(), "swept"),
                Err(error) => tracing::warn!(%error, chain = error.chain(), "a sweep broke off"),
            }
        }
    }
}
