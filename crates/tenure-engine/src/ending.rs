//! What follows when a session has ended: whoever is in flight is told, and its environment goes (TM-7, TM-8).

use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::Live;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::{Environment, EnvironmentEnd};
use tenure_session::{
    End, EnvironmentState, Failure, FailureContext, FailureType, Session, SessionId, TerminationReason, Timestamp,
    Trigger, Verdict, classify, verdict,
};
use tenure_store::{EndGuard, ExecLedgerState, ExecOutcome, SessionEnd, StreamTotal};

/// How often taking an environment down is tried again before a sweep or the next start is left to do it.
const DESTROY_TRIES: u32 = 5;

/// How long whoever follows a program may take to write down its end, once its environment is gone.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

/// How often the end of an environment is tried to be recorded while the store does not answer.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// An end that nobody asked for, with what failed.
pub(crate) struct Fault {
    pub reason: TerminationReason,
    pub trigger: Trigger,
    pub failure: Failure,
}

impl Fault {
    pub fn new(reason: TerminationReason, trigger: Trigger, kind: FailureType, cause: &str, details: String) -> Fault {
        let context = FailureContext { cause: cause.to_owned(), details: Some(details) };
        Fault { reason, trigger, failure: classify(kind, &context) }
    }
}

impl Engine {
    /// A session ended, and that is recorded: tells whoever is in flight, and takes its environment down beside.
    pub(crate) fn on_ended(&self, session: &Session) {
        let live = self.live().get(&session.id).unwrap_or_else(|| Arc::new(Live::of_ended(session)));
        live.ended.cancel();
        live.publish();
        if let Some(end) = &session.end {
            self.meters().ended(end.reason);
            tracing::info!(session = %session.id, reason = %end.reason, at = %end.at, "session ended");
        }
        let (engine, session) = (self.clone(), session.clone());
        tokio::spawn(async move { engine.tear_down(&session, &live).await });
    }

    /// Whether that came to its end; where it did not, the session is among the leftovers.
    async fn tear_down(&self, session: &Session, live: &Arc<Live>) -> bool {
        // Whoever is freezing, thawing or making the environment finishes first; their own work is over by the end.
        let _turn = live.turn.lock().await;
        let gone = match live.take_environment() {
            Some(environment) => {
                self.meters().environments.dec();
                // The last look, for what nobody saw it run into.
                let _ = self.observe(live, &*environment).await;
                self.destroy(&session.id, &*environment).await
            }
            None => self.discard_of(session).await,
        };
        let done = self.tear_down_record(session, gone).await && gone;
        if !done {
            self.live().leave(&session.id);
        }
        self.live().forget(&session.id, live);
        done
    }

    /// Ends whatever there is of an environment that nobody here has a handle of. Whether nothing is left.
    pub(crate) async fn discard_of(&self, session: &Session) -> bool {
        let Some(environment) = session.environment.as_ref().filter(|record| record.state != EnvironmentState::Gone)
        else {
            return true;
        };
        let Ok(id) = environment.id.as_str().parse() else { return true };
        match self.driver().discard(&id).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(session = %session.id, environment = %id, %error, "what is left of an environment was not taken down");
                false
            }
        }
    }

    /// A start or a sweep found a session that has ended, and of whose environment something was still written down. Whether nothing is left of it.
    pub(crate) async fn tear_down_found(&self, session: &Session) -> bool {
        self.tear_down(session, &Arc::new(Live::of_ended(session))).await
    }

    /// Writes down that an ended session's programs are over, and its environment gone. What is not gone a sweep or the next start looks after.
    async fn tear_down_record(&self, session: &Session, gone: bool) -> bool {
        let recorded = async {
            self.execs_settle(session, "the session ended").await?;
            if let Some(environment) = session.environment.as_ref().filter(|_| gone) {
                let (generation, now) = (environment.generation, self.now());
                let gone = EnvironmentState::Gone;
                self.store().session_environment(&session.id, generation, gone, now, None).await?;
            }
            Ok::<(), EngineError>(())
        };
        let recorded = recorded.await;
        if let Err(error) = &recorded {
            tracing::error!(session = %session.id, %error, chain = error.chain(), "what became of an environment was not recorded");
        }
        recorded.is_ok()
    }

    /// Takes an environment down: SIGTERM, after the grace SIGKILL, and everything it holds of the host. Whether nothing is left.
    pub(crate) async fn destroy(&self, id: &SessionId, environment: &dyn Environment) -> bool {
        let grace = Duration::from_millis(self.settings().grace_ms);
        for attempt in 1..=DESTROY_TRIES {
            match environment.destroy(grace).await {
                Ok(_) => return true,
                Err(error) => {
                    tracing::error!(session = %id, environment = %environment.id(), attempt, %error, "an environment was not taken down");
                    tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
                }
            }
        }
        false
    }

    /// Watches an environment: its end while its session lives is the session's.
    pub(crate) fn watch_environment(&self, session: &Session, environment: Arc<dyn Environment>) {
        let (engine, id) = (self.clone(), session.id.clone());
        tokio::spawn(async move {
            let end = environment.wait_end().await;
            let live = engine.live().get(&id);
            // Only what the kernel counted is said to be its doing.
            let seen = match live {
                Some(live) => engine.observe(&live, &*environment).await.ok(),
                None => None,
            };
            let oom_kills = seen.and_then(|seen| seen.oom_kills).unwrap_or(0);
            let cause = match end {
                EnvironmentEnd::Killed(9) if oom_kills > 0 => "oom_killed",
                EnvironmentEnd::Killed(_) | EnvironmentEnd::Exited(_) | EnvironmentEnd::Unknown => "environment_died",
            };
            while let Err(error) = engine.environment_ended(&id, end, cause).await {
                tracing::error!(session = %id, %error, chain = error.chain(), "the end of an environment was not recorded");
                if !matches!(error, EngineError::Unavailable { .. }) {
                    break;
                }
                tokio::time::sleep(RECORD_AGAIN).await;
            }
        });
    }

    async fn environment_ended(&self, id: &SessionId, end: EnvironmentEnd, cause: &str) -> Result<(), EngineError> {
        let Some(session) = self.store().session_get(id).await? else { return Ok(()) };
        match verdict(&session, &self.presence(&session), self.now()) {
            Verdict::Gone(_) => Ok(()),
            // Its agent ended it, at its deadline.
            Verdict::End(limit, at) => self.expire(&session, limit, at).await.map(drop),
            Verdict::Proceed => {
                let (reason, details) =
                    (TerminationReason::FailedRuntime, format!("the environment's first process: {end:?}"));
                let fault = Fault::new(reason, Trigger::Error, FailureType::Runtime, cause, details);
                self.fail(&session, fault, json!({ "environment_end": end })).await.map(drop)
            }
        }
    }

    /// Ends a session by a failure.
    pub(crate) async fn fail(&self, session: &Session, fault: Fault, metadata: Value) -> Result<Session, EngineError> {
        let now = self.now();
        let end = End { at: now, reason: fault.reason, detail: None, failure: Some(fault.failure) };
        let entry = draft::ended(session, &end, now, fault.trigger, "system", metadata);
        self.end(SessionEnd { id: session.id.clone(), end, at: now, guard: EndGuard::Always, entry }).await
    }

    /// Settles what is left in the ledger of a session whose environment is gone. How those programs ended nobody saw, only that they did.
    pub(crate) async fn execs_settle(&self, session: &Session, why: &str) -> Result<(), EngineError> {
        let now = self.now();
        for exec in self.store().exec_unsettled(&session.id).await? {
            // Whoever follows it may have seen how it ended, and is writing that down.
            if let Some(running) = self.running().get(&exec.id) {
                let _ = tokio::time::timeout(SETTLED_WITHIN, running.ended()).await;
            }
            let state = match session.end.as_ref().map(|end| end.reason) {
                // Nobody watched while it was lost.
                Some(TerminationReason::EnvironmentLost) | None => ExecLedgerState::Unknown,
                Some(_) => match exec.state {
                    ExecLedgerState::Started => ExecLedgerState::Killed,
                    _ => ExecLedgerState::Unknown,
                },
            };
            let (stdout, stderr) = self.output_totals(&session.id, &exec.id).await;
            let outcome = unseen(state, now, why, stdout, stderr);
            self.store().exec_settle(&exec.id, outcome, None).await?;
        }
        Ok(())
    }
}

/// An end that nobody saw: no code, no signal, no duration.
pub(crate) fn unseen(
    state: ExecLedgerState,
    at: Timestamp,
    why: &str,
    stdout: StreamTotal,
    stderr: StreamTotal,
) -> ExecOutcome {
    ExecOutcome {
        state,
        ended_at: at,
        exit_code: None,
        signal: None,
        timed_out: false,
        oom_killed: false,
        error: Some(why.to_owned()),
        stdout,
        stderr,
        duration_ms: None,
    }
}
