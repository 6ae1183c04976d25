//! Programs that were started before this start of the service, or before a pause: found again, or settled (EN-4, EN-10).

use crate::ending::unseen;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::Live;
use crate::permit::Permit;
use crate::recovery::ASK_EVERY;
use crate::running::Held;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::Environment;
use tenure_environment::protocol::ExecState;
use tenure_session::{Operation, Session, SessionId, State};
use tenure_store::{ExecLedgerState, ExecRecord};

/// How long an agent may take to tell its programs.
const ASKED_FOR: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks an environment's agent for every program that the ledger does not know the end of. One that runs is followed from here on; the end of one
    /// that ended meanwhile is the agent's to tell; one that the agent does not know was never started, since it forgets only what was written down.
    pub(crate) async fn execs_find(
        &self,
        session: &Session,
        environment: &Arc<dyn Environment>,
    ) -> Result<(), EngineError> {
        let unsettled = self.store().exec_unsettled(&session.id).await?;
        let unknown: Vec<ExecRecord> =
            unsettled.into_iter().filter(|exec| self.running().get(&exec.id).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let asked = async { Ok::<_, EngineError>(environment.connect().await?.execs().await?) };
        let states = tokio::time::timeout(ASKED_FOR, asked).await.unwrap_or_else(|_| {
            let chain = "it did not tell its programs in time".to_owned();
            Err(EngineError::Unavailable { what: "the session's environment does not answer", chain })
        })?;
        let mut states: HashMap<String, ExecState> =
            states.into_iter().map(|state| (state.exec_id.clone(), state)).collect();
        for exec in unknown {
            let state = states.remove(exec.id.as_str());
            self.exec_find_again(session, environment, exec, state).await?;
        }
        Ok(())
    }

    /// Asks until the environment answers, or its session has ended.
    pub(crate) fn execs_find_later(&self, live: Arc<Live>, id: SessionId, environment: Arc<dyn Environment>) {
        live.programs_unasked();
        let engine = self.clone();
        tokio::spawn(async move {
            while !live.ended.is_cancelled() {
                tokio::time::sleep(ASK_EVERY).await;
                if engine.execs_find_now(&live, &id, &environment).await.is_ok_and(|asked| asked) {
                    break;
                }
            }
        });
    }

    /// Whether they were asked: those that stand still are not.
    async fn execs_find_now(
        &self,
        live: &Live,
        id: &SessionId,
        environment: &Arc<dyn Environment>,
    ) -> Result<bool, EngineError> {
        let _turn = live.turn.lock().await;
        let Some(session) = self.store().session_get(id).await?.filter(|now| now.state != State::Paused) else {
            return Ok(false);
        };
        self.execs_find(&session, environment).await?;
        live.programs_asked();
        Ok(true)
    }

    async fn exec_find_again(
        &self,
        session: &Session,
        environment: &Arc<dyn Environment>,
        exec: ExecRecord,
        state: Option<ExecState>,
    ) -> Result<(), EngineError> {
        match state {
            None => {
                let (stdout, stderr) = self.output_totals(&session.id, &exec.id).await;
                let (state, why) = match exec.state {
                    ExecLedgerState::Intended => (ExecLedgerState::Failed, "the service stopped before it was started"),
                    _ => (ExecLedgerState::Unknown, "its end was not seen"),
                };
                let outcome = unseen(state, self.now(), why, stdout, stderr);
                self.store().exec_settle(&exec.id, outcome, None).await?;
            }
            Some(ExecState { ended: Some(ended), .. }) => {
                let outcome = self.outcome(&ended);
                let ended_at = outcome.ended_at;
                self.store().exec_settle(&exec.id, outcome, None).await?;
                self.activity_store(&session.id, ended_at, Operation::ExecRun).await;
                if let Some(live) = self.live().get(&session.id) {
                    live.activity_stored(ended_at);
                    self.output_share_of_old(session, &live, ended.room_bytes).settle(ended.room_bytes);
                }
                environment.connect().await?.forget(exec.id.as_str()).await?;
            }
            Some(ExecState { ended: None, room_bytes, .. }) => {
                let attached = environment.connect().await?.attach(exec.id.as_str()).await?;
                let Some(live) = self.live().get(&session.id) else { return Ok(()) };
                // It goes on, whatever the limit says of new ones.
                let slot = live.exec_begins(|_| Ok::<(), EngineError>(())).ok();
                let (permit, _) = Permit::new(self.clone(), Operation::ExecRun, session.clone(), live);
                let record = ExecRecord {
                    state: ExecLedgerState::Started,
                    started_at: exec.started_at.or(Some(exec.created_at)),
                    ..exec
                };
                let (stdout, stderr) = self.output_totals(&session.id, &record.id).await;
                let printed_before = stdout.bytes + stderr.bytes;
                // An agent of the version before does not say.
                let room_bytes = room_bytes.unwrap_or(self.settings().exec_output_cap_bytes);
                let output = self.output_share_of_old(session, permit.live(), room_bytes);
                let held = Held { slot, output, printed_before };
                self.exec_follow(Arc::new(permit), held, environment.clone(), record, attached);
            }
        }
        Ok(())
    }
}
