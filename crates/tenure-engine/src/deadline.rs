//! The hard deadline inside: each environment is told when its session's lifetime ends, and holds to it though nobody else is awake (TM-6).

use crate::engine::Engine;
use crate::live::Live;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::{Environment, EnvironmentError};
use tenure_session::Session;

/// How long an environment may take to hear it before the caller goes on.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is told again until it has heard.
const AGAIN: Duration = Duration::from_millis(500);

impl Engine {
    /// Tells an environment when it ends. One that does not hear is told again until it does: the time that was given is durable, and an agent that knows of
    /// less would end it too early.
    pub(crate) async fn deadline_tell(&self, session: &Session, live: &Arc<Live>, environment: &dyn Environment) {
        if let Err(error) = self.deadline_told(session, environment).await {
            tracing::warn!(session = %session.id, %error, "an environment was not told when it ends; telling it again");
            let (engine, session, live) = (self.clone(), session.clone(), live.clone());
            tokio::spawn(async move { engine.deadline_tell_again(&session, &live).await });
        }
    }

    async fn deadline_told(&self, session: &Session, environment: &dyn Environment) -> Result<(), EnvironmentError> {
        let deadline = self.timeline().boot_ms_at(session.lifetime_ends_at);
        let told = tokio::time::timeout(PATIENCE, environment.set_deadline(Some(deadline)));
        told.await.unwrap_or(Err(EnvironmentError::Timeout))
    }

    async fn deadline_tell_again(&self, session: &Session, live: &Live) {
        loop {
            tokio::select! {
                () = live.ended.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
            let _turn = live.turn.lock().await;
            // As it is by now: more may have been given meanwhile.
            let Ok(Some(session)) = self.store().session_get(&session.id).await else { continue };
            let Some(environment) = live.environment().filter(|_| session.end.is_none()) else { return };
            match self.deadline_told(&session, &*environment).await {
                Ok(()) => return tracing::info!(session = %session.id, "the environment knows when it ends"),
                Err(error) => tracing::debug!(session = %session.id, %error, "it does not hear yet"),
            }
        }
    }
}
