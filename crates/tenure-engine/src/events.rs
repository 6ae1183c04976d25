//! Following a session's status (ST-2).

use crate::call::Call;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::permit::Permit;
use crate::session::StatusView;
use tenure_session::{Operation, status};
use tokio::sync::watch;

/// Follows one session: its status now, then each time it changes, the last time when it has ended.
pub struct Events {
    engine: Engine,
    permit: Permit,
    changed: watch::Receiver<u64>,
    told: Option<String>,
    over: bool,
}

impl Engine {
    /// Follows a session.
    pub async fn session_events(&self, call: &Call, id: &str) -> Result<Events, EngineError> {
        let permit = self.admit(call, id, Operation::SessionEvents).await?;
        let changed = permit.live().changed.subscribe();
        Ok(Events { engine: self.clone(), permit, changed, told: None, over: false })
    }
}

impl Events {
    /// The next status; `None` after the last. Only what a user sees is told, and only when it is another than before.
    pub async fn next(&mut self) -> Result<Option<StatusView>, EngineError> {
        while !self.over {
            self.changed.mark_unchanged();
            let id = &self.permit.session().id;
            let session = self.engine.store().session_get(id).await?;
            let session = session.ok_or_else(|| EngineError::Internal("a session vanished".to_owned()))?;
            let status = status(&session, &self.engine.presence(&session), self.engine.now());
            self.over = session.end.is_some();
            let seen =
                format!("{:?} {:?} {} {}", session.state, session.phase(), status.message, status.environment_ready);
            if self.told.as_ref() != Some(&seen) {
                self.told = Some(seen);
                return Ok(Some(StatusView { session, status, observation: None }));
            }
            if !self.over {
                tokio::select! {
                    _ = self.changed.changed() => {}
                    // The session's end, or a limit that passes and that nobody else notices.
                    _ = self.permit.ended() => {}
                }
            }
        }
        Ok(None)
    }
}
