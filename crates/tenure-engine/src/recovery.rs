//! A start: what became of every session while nobody looked, before the first request is served.

use crate::ending::Fault;
use crate::engine::Engine;
use crate::error::EngineError;
use serde_json::json;
use tenure_session::{FailureType, Session, State, TerminationReason, Trigger, Verdict, verdict};

/// Sessions that are looked at together.
const PAGE: u32 = 500;

/// What a start found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Sessions that live on.
    pub alive: u64,
    /// Sessions that ended: a limit had passed, or their environment was lost.
    pub ended: u64,
    /// Sessions that had ended, and of whose environment something was still written down.
    pub tidied: u64,
}

impl Engine {
    /// Brings what is stored in line with what is: to be called once, before the first request is served.
    pub async fn recover(&self) -> Result<Recovered, EngineError> {
        let mut recovered = Recovered::default();
        let mut after = None;
        loop {
            let page = self.store().session_unfinished(after.take(), PAGE).await?;
            for session in &page {
                self.recover_session(session, &mut recovered).await?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.id.clone()),
                _ => break,
            }
        }
        tracing::info!(?recovered, "recovered");
        Ok(recovered)
    }

    async fn recover_session(&self, session: &Session, recovered: &mut Recovered) -> Result<(), EngineError> {
        match verdict(session, &self.presence(session), self.now()) {
            Verdict::Gone(_) => {
                self.tear_down_record(session).await;
                recovered.tidied += 1;
            }
            Verdict::End(limit, at) => {
                self.expire(session, limit, at).await?;
                recovered.ended += 1;
            }
            Verdict::Proceed => match (session.state, &session.environment) {
                (State::Created | State::Initializing, _) => {
                    let reason = TerminationReason::FailedInit;
                    let details = "the service stopped while the environment was being made".to_owned();
                    let fault = Fault::new(reason, Trigger::Recovery, FailureType::Init, "interrupted", details);
                    self.fail(session, fault, json!({})).await?;
                    recovered.ended += 1;
                }
                (_, None) => recovered.alive += 1,
                (_, Some(environment)) => {
                    self.meters().environments_lost.inc();
                    let reason = TerminationReason::EnvironmentLost;
                    let details = "environments end with the service that made them".to_owned();
                    let fault =
                        Fault::new(reason, Trigger::Recovery, FailureType::Runtime, "environment_lost", details);
                    let evidence = json!({ "environment_id": environment.id, "generation": environment.generation });
                    self.fail(session, fault, evidence).await?;
                    recovered.ended += 1;
                }
            },
        }
        Ok(())
    }
}
