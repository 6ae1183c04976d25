//! A start: what became of every session while nobody looked. Each is looked at before its first request is served; the others need not wait (EN-10).
//!
//! ```text
//!  every unfinished session: pending ─► verdict ─► ended or past a limit: its environment goes, what is stored is tidied
//!                                          └─► lives ─► adopt ─► alive, frozen: freezer, programs and watch are put in line; idle by now?
//!                                                         ├─► silent: recovering, asked again, at last killed, which is proof
//!                                                         └─► ended, lost: environment_lost, with the proof
//!  what runs and belongs to no living session: discarded
//! ```

use crate::ending::Fault;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::Live;
use crate::remake::Remade;
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::{Adopt, Adopted, Environment, EnvironmentId, Generation};
use tenure_session::{
    EnvironmentState, FailureType, Session, SessionEnvironment, State, TerminationReason, Trigger, Verdict, verdict,
};
use tokio::time::Instant;

/// Sessions that are read together.
const PAGE: u32 = 500;
/// Sessions that are looked at together.
const TOGETHER: usize = 16;
/// How long an agent may take to prove itself before its environment is called silent.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often an agent is asked again that says nothing, or not what it was asked for.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(500);

/// What a start has to look after.
pub struct Recovery {
    engine: Engine,
    unfinished: Vec<Session>,
    found: Vec<EnvironmentId>,
}

/// What a start found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Sessions that live on.
    pub alive: u64,
    /// Sessions whose environment was made again over its files, after the host had booted.
    pub remade: u64,
    /// Sessions that live, and whose environment has not answered yet.
    pub recovering: u64,
    /// Sessions that ended: a limit had passed, or their environment was lost.
    pub ended: u64,
    /// Sessions that had ended, and of whose environment something was still there or written down.
    pub tidied: u64,
    /// Environments of nobody, which were taken down.
    pub orphans: u64,
}

/// What became of one session.
enum Outcome {
    Alive,
    Remade,
    Recovering,
    Ended,
    Tidied,
}

/// What came of one more look at an environment.
enum Again {
    /// Its session goes on with it, or has ended.
    Settled,
    /// It lives, and says nothing.
    Silent(Arc<dyn Environment>),
    /// It could not be made again, for this reason.
    Unmade(String),
    /// Nothing could be found out.
    Unknown,
}

impl Engine {
    /// Finds out what has to be looked after. From then on requests can be served: those on a session that nobody has looked at yet wait for that.
    pub async fn recovery(&self) -> Result<Recovery, EngineError> {
        // Before anything new is made, so that nothing new is taken for an orphan.
        let found = self.driver().known().await?;
        let mut unfinished: Vec<Session> = Vec::new();
        loop {
            let after = unfinished.last().map(|session| session.id.clone());
            let page = self.store().session_unfinished(after, PAGE).await?;
            let full = page.len() == PAGE as usize;
            unfinished.extend(page);
            if !full {
                break;
            }
        }
        for session in unfinished.iter().filter(|session| session.end.is_none()) {
            self.live().begin_pending(session, self.now());
        }
        Ok(Recovery { engine: self.clone(), unfinished, found })
    }

    /// Looks after everything, and returns when that is done.
    pub async fn recover(&self) -> Result<Recovered, EngineError> {
        Ok(self.recovery().await?.run().await)
    }
}

impl Recovery {
    /// Looks after everything. What cannot be found out now is said in the log, and stays as it is until the next start.
    pub async fn run(self) -> Recovered {
        let Recovery { engine, unfinished, found } = self;
        let owned: HashSet<String> = unfinished
            .iter()
            .filter_map(|session| session.environment.as_ref())
            .map(|record| record.id.to_string())
            .collect();
        let mut recovered = Recovered::default();
        let looks = stream::iter(unfinished).map(|session| {
            let engine = engine.clone();
            async move { engine.look_at(&session).await }
        });
        let mut looks = std::pin::pin!(looks.buffer_unordered(TOGETHER));
        while let Some(outcome) = looks.next().await {
            match outcome {
                Outcome::Alive => recovered.alive += 1,
                Outcome::Remade => recovered.remade += 1,
                Outcome::Recovering => recovered.recovering += 1,
                Outcome::Ended => recovered.ended += 1,
                Outcome::Tidied => recovered.tidied += 1,
            }
        }
        for orphan in found.iter().filter(|id| !owned.contains(id.as_str())) {
            tracing::warn!(environment = %orphan, "an environment of nobody is taken down");
            match engine.driver().discard(orphan).await {
                Ok(()) => recovered.orphans += 1,
                Err(error) => tracing::error!(environment = %orphan, %error, "it was not taken down"),
            }
        }
        tracing::info!(?recovered, "recovered");
        recovered
    }
}

impl Engine {
    async fn look_at(&self, session: &Session) -> Outcome {
        let live = self.live().get(&session.id);
        let outcome = self.look_at_now(session).await.unwrap_or_else(|error| {
            tracing::error!(session = %session.id, %error, chain = error.chain(), "what became of a session was not found out");
            Outcome::Recovering
        });
        // Also where it has ended by this, and is forgotten: whoever waits for it holds it.
        if let Some(live) = live {
            live.looked_at();
        }
        outcome
    }

    async fn look_at_now(&self, session: &Session) -> Result<Outcome, EngineError> {
        match verdict(session, &self.presence(session), self.now()) {
            Verdict::Gone(_) => {
                self.tear_down_found(session).await;
                Ok(Outcome::Tidied)
            }
            Verdict::End(limit, at) => self.expire(session, limit, at).await.map(|_| Outcome::Ended),
            // As far as is known: a session may be at work until its programs were asked, and then does not end for being idle.
            Verdict::Proceed => match (session.state, &session.environment) {
                (State::Created | State::Initializing, _) => {
                    let reason = TerminationReason::FailedInit;
                    let details = "the service stopped while the environment was being made".to_owned();
                    let fault = Fault::new(reason, Trigger::Recovery, FailureType::Init, "interrupted", details);
                    self.fail(session, fault, json!({})).await.map(|_| Outcome::Ended)
                }
                (_, None) => {
                    self.live().take_up(session, self.now()).programs_asked();
                    Ok(self.alive_or_idle(session).await)
                }
                (_, Some(environment)) => match self.adopt(session, environment).await? {
                    Outcome::Alive => Ok(self.alive_or_idle(session).await),
                    outcome => Ok(outcome),
                },
            },
        }
    }

    /// What has no program any more may have been idle for too long.
    async fn alive_or_idle(&self, session: &Session) -> Outcome {
        match self.still_admitted(&session.id).await {
            Err(EngineError::Gone { .. }) => Outcome::Ended,
            Ok(_) | Err(_) => Outcome::Alive,
        }
    }

    async fn adopt(&self, session: &Session, record: &SessionEnvironment) -> Result<Outcome, EngineError> {
        let silent = match self.driver().adopt(adoption(record)?).await {
            Ok(Adopted::Alive(environment) | Adopted::Frozen(environment)) => {
                match self.adopted(session, environment).await {
                    Ok(()) => return Ok(Outcome::Alive),
                    Err(error) => {
                        tracing::error!(session = %session.id, %error, chain = error.chain(), "an environment was not taken over; trying again");
                        None
                    }
                }
            }
            Ok(Adopted::Ended(end)) => {
                let evidence = format!("its first process had ended: {end:?}");
                return self.environment_lost(session, record, evidence).await.map(|()| Outcome::Ended);
            }
            Ok(Adopted::Lost { evidence }) => {
                return self.environment_lost(session, record, evidence).await.map(|()| Outcome::Ended);
            }
            Ok(Adopted::Survived { generation, evidence }) => {
                self.environment_is(session, record, EnvironmentState::Recovering).await?;
                match self.remake(session, generation, &evidence).await {
                    Remade::Settled => return Ok(Outcome::Remade),
                    Remade::NoFiles => {
                        let evidence = without_files(&evidence);
                        return self.environment_lost(session, record, evidence).await.map(|()| Outcome::Ended);
                    }
                    Remade::Later(why) => {
                        tracing::error!(session = %session.id, why, "an environment is not made again yet; trying again");
                    }
                }
                None
            }
            Ok(Adopted::Silent(environment)) => Some(environment),
            // Nothing could be found out: nothing is concluded.
            Err(error) => {
                tracing::error!(session = %session.id, %error, "an environment could not be looked at; asking again");
                None
            }
        };
        // In its own life only: another one that was begun is recovering already.
        let recorded = self.environment_is(session, record, EnvironmentState::Recovering).await;
        let (engine, session) = (self.clone(), session.clone());
        tokio::spawn(async move { engine.adopt_in_time(&session, silent).await });
        recorded.map(|()| Outcome::Recovering)
    }

    /// It lives, with proof: its freezer, its programs and its watch are put in line with what is stored.
    async fn adopted(&self, session: &Session, environment: Arc<dyn Environment>) -> Result<(), EngineError> {
        let live = self.live().take_up(session, self.now());
        let _turn = live.turn.lock().await;
        self.adopted_in_turn(session, &live, environment).await
    }

    /// As `adopted`, by whoever has the session's turn.
    pub(crate) async fn adopted_in_turn(
        &self,
        session: &Session,
        live: &Arc<Live>,
        environment: Arc<dyn Environment>,
    ) -> Result<(), EngineError> {
        // It may have ended while its environment was waited for; whoever ended it had no handle to take it down by.
        let Some(session) = &self.store().session_get(&session.id).await?.filter(|now| now.end.is_none()) else {
            self.live().forget(&session.id, live);
            self.destroy(&session.id, &*environment).await;
            return Ok(());
        };
        let paused = session.state == State::Paused;
        if paused {
            environment.freeze().await?;
        } else {
            environment.thaw().await?;
        }
        // Frozen programs are asked when they are thawed. First, so that nothing is begun twice where it does not answer and is asked again.
        if !paused {
            self.execs_find(session, &environment).await?;
        }
        live.set_environment(environment.clone());
        live.programs_asked();
        // More time that was given, and that it was not told of.
        self.deadline_tell(session, live, &*environment).await;
        if let Some(record) = &session.environment {
            let state = if paused { EnvironmentState::Frozen } else { EnvironmentState::Ready };
            if self.is_being_remade(session).await? {
                self.life_begun(session, &*environment, state).await?;
            } else {
                // By a resume that was recorded before the service died.
                if !paused {
                    self.start_command_if_owed(session).await?;
                }
                if record.state != state {
                    self.environment_is(session, record, state).await?;
                }
            }
        }
        self.meters().environments.inc();
        self.watch_environment(session, environment.clone());
        live.publish();
        tracing::info!(session = %session.id, environment = %environment.id(), paused, "taken over");
        Ok(())
    }

    /// It says nothing, or cannot be made again now: asked again until it answers, and ended when its time is over. A silent one is killed then, which is
    /// proof; one whose host cannot make it again has failed by that.
    async fn adopt_in_time(&self, session: &Session, mut silent: Option<Arc<dyn Environment>>) {
        let limit = Duration::from_millis(self.settings().recover_timeout_ms);
        let mut until = Instant::now() + limit;
        let mut unmade = None;
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            match tokio::time::timeout_at(until, self.adopt_again(session)).await {
                Ok(Ok(Again::Settled)) => break,
                Ok(Ok(Again::Silent(environment))) => (silent, unmade) = (Some(environment), None),
                Ok(Ok(Again::Unmade(why))) => (silent, unmade) = (None, Some(why)),
                Ok(Ok(Again::Unknown)) | Err(_) => {}
                Ok(Err(error)) => {
                    tracing::error!(session = %session.id, %error, chain = error.chain(), "an environment was not settled; asking again");
                }
            }
            // Where nothing can be recorded that is what failed, as far as is known: no environment is blamed for it.
            if self.probe().await.is_err() {
                until = Instant::now() + limit;
            }
            if Instant::now() >= until {
                if let Err(error) = self.give_up(session, silent, unmade).await {
                    tracing::error!(session = %session.id, %error, chain = error.chain(), "a silent environment was not settled");
                }
                break;
            }
        }
        if let Some(live) = self.live().get(&session.id) {
            live.publish();
        }
    }

    /// Looks once more, at what is stored by now.
    async fn adopt_again(&self, session: &Session) -> Result<Again, EngineError> {
        let stored = self.store().session_get(&session.id).await?.filter(|now| now.end.is_none());
        // Whoever ended it could not be told of the environment, and took down what there was.
        let Some(session) = &stored else { return Ok(Again::Settled) };
        let Some(record) = &session.environment else { return Ok(Again::Settled) };
        match self.driver().adopt(adoption(record)?).await {
            Ok(Adopted::Alive(environment) | Adopted::Frozen(environment)) => {
                self.adopted(session, environment).await.map(|()| Again::Settled)
            }
            Ok(Adopted::Silent(environment)) => Ok(Again::Silent(environment)),
            Ok(Adopted::Ended(end)) => {
                let evidence = format!("its first process had ended: {end:?}");
                self.environment_lost(session, record, evidence).await.map(|()| Again::Settled)
            }
            Ok(Adopted::Lost { evidence }) => {
                self.environment_lost(session, record, evidence).await.map(|()| Again::Settled)
            }
            Ok(Adopted::Survived { generation, evidence }) => match self.remake(session, generation, &evidence).await {
                Remade::Settled => Ok(Again::Settled),
                Remade::NoFiles => {
                    let evidence = without_files(&evidence);
                    self.environment_lost(session, record, evidence).await.map(|()| Again::Settled)
                }
                Remade::Later(why) => Ok(Again::Unmade(why)),
            },
            Err(_) => Ok(Again::Unknown),
        }
    }

    async fn give_up(
        &self,
        session: &Session,
        silent: Option<Arc<dyn Environment>>,
        unmade: Option<String>,
    ) -> Result<(), EngineError> {
        let limit_ms = self.settings().recover_timeout_ms;
        let stored = self.store().session_get(&session.id).await?.filter(|now| now.end.is_none());
        let Some(session) = &stored else { return Ok(()) };
        let Some(record) = &session.environment else { return Ok(()) };
        if let Some(why) = unmade {
            let details = format!("its environment could not be made again within {limit_ms} ms: {why}");
            let reason = TerminationReason::FailedInfra;
            let fault = Fault::new(reason, Trigger::Recovery, FailureType::Infra, "unavailable", details);
            let metadata = json!({ "environment_id": record.id, "generation": record.generation });
            return self.fail(session, fault, metadata).await.map(drop);
        }
        let gone = match silent {
            Some(environment) => self.destroy(&session.id, &*environment).await,
            None => self.discard_of(session).await,
        };
        match gone {
            true => {
                let evidence = format!("it did not answer within {limit_ms} ms, and was killed");
                self.environment_lost(session, record, evidence).await
            }
            // Without proof it is not lost. Its lifetime ends it, or the next start finds out.
            false => Ok(()),
        }
    }

    async fn environment_is(
        &self,
        session: &Session,
        record: &SessionEnvironment,
        state: EnvironmentState,
    ) -> Result<(), EngineError> {
        let now = self.now();
        self.store().session_environment(&session.id, record.generation, state, now, None).await?;
        Ok(())
    }

    async fn environment_lost(
        &self,
        session: &Session,
        record: &SessionEnvironment,
        evidence: String,
    ) -> Result<(), EngineError> {
        // Its agent ended it, at a deadline that passed since its session was looked at.
        if let Verdict::End(limit, at) = verdict(session, &self.presence(session), self.now()) {
            return self.expire(session, limit, at).await.map(drop);
        }
        self.meters().environments_lost.inc();
        let reason = TerminationReason::EnvironmentLost;
        let fault = Fault::new(reason, Trigger::Recovery, FailureType::Runtime, "environment_lost", evidence.clone());
        let metadata = json!({ "environment_id": record.id, "generation": record.generation, "evidence": evidence });
        self.fail(session, fault, metadata).await.map(drop)
    }
}

/// What is said where files that had survived were not there when they were wanted.
fn without_files(evidence: &str) -> String {
    format!("{evidence}; its files did not survive")
}

fn adoption(record: &SessionEnvironment) -> Result<Adopt, EngineError> {
    let id = record.id.as_str().parse();
    let id = id.map_err(|_| EngineError::Internal("an environment's ID is none".to_owned()))?;
    Ok(Adopt { id, generation: Generation(record.generation), patience: PATIENCE })
}
