//! Programs that run: one task for each, which holds its permit, hears its end, and writes it down before it tells anybody.

use crate::call::Call;
use crate::draft;
use crate::ending::unseen;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::exec::{ExecRequest, exec_record};
use crate::idempotency::Keep;
use crate::live::ExecSlot;
use crate::output::output_unavailable;
use crate::permit::Permit;
use futures_util::future::{Either, select};
use serde_json::json;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenure_environment::agent::{Attached, Event, ExecReceiver, ExecSender};
use tenure_environment::protocol::{Ended, Exec, Sink, WindowSize, Written};
use tenure_environment::{AgentError, Client, Environment, EnvironmentError};
use tenure_session::{ExecId, Operation, Session, State, Trigger};
use tenure_store::{
    ExecIntended, ExecIntent, ExecLedgerState, ExecOutcome, ExecRecord, IdempotencyClaim, StoreError, StreamTotal,
};
use tokio::sync::watch;

/// How long a program runs before it is written down as started on its own: a shorter one is written down once, with its end.
const STARTED_AFTER: Duration = Duration::from_millis(20);

/// How often a lost connection to a program is tried again, and how far apart.
const ATTACH_TRIES: u32 = 20;
const ATTACH_EVERY: Duration = Duration::from_millis(250);

/// The programs that run now, of all sessions.
#[derive(Default)]
pub(crate) struct RunningTable {
    execs: Mutex<HashMap<ExecId, Arc<Running>>>,
}

impl RunningTable {
    /// A program that runs.
    pub fn get(&self, id: &ExecId) -> Option<Arc<Running>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn put(&self, running: Arc<Running>) {
        let id = running.record.id.clone();
        self.execs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, running);
    }

    fn remove(&self, id: &ExecId) {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// What is known of a running program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    stdout: Written,
    stderr: Written,
    outcome: Option<ExecOutcome>,
}

impl Seen {
    /// Whether its end is written down.
    pub fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// How much of its output was dropped at the cap.
    pub fn dropped(&self) -> u64 {
        self.outcome.as_ref().map_or(self.stdout.dropped, |outcome| outcome.stdout.dropped)
    }
}

/// One running program.
pub(crate) struct Running {
    record: ExecRecord,
    seen: watch::Sender<Seen>,
    input: tokio::sync::Mutex<Option<ExecSender>>,
}

impl Running {
    /// Its row as it was when it was started.
    pub fn record(&self) -> &ExecRecord {
        &self.record
    }

    /// Its row as it is now.
    pub fn record_now(&self) -> ExecRecord {
        let outcome = self.seen.borrow().outcome.clone();
        let state = outcome.as_ref().map_or(ExecLedgerState::Started, |outcome| outcome.state);
        ExecRecord { state, outcome, ..self.record.clone() }
    }

    /// Whether its end is written down.
    pub fn has_ended(&self) -> bool {
        self.seen.borrow().outcome.is_some()
    }

    /// Sees what is known of it change.
    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Waits until its end is written down.
    pub async fn ended(&self) -> ExecRecord {
        // The sender is here, so it cannot be gone.
        let _ = self.seen.subscribe().wait_for(|seen| seen.outcome.is_some()).await;
        self.record_now()
    }

    /// Feeds its input.
    pub async fn feed(&self, bytes: &[u8]) -> Result<(), EngineError> {
        let mut input = self.input.lock().await;
        match input.as_mut() {
            Some(sender) => Ok(sender.input(bytes).await?),
            None => Err(EngineError::Recovering),
        }
    }

    /// Gives its terminal another size.
    pub async fn resize(&self, size: WindowSize) -> Result<(), EngineError> {
        let mut input = self.input.lock().await;
        match input.as_mut() {
            Some(sender) => Ok(sender.resize(size).await?),
            None => Err(EngineError::Recovering),
        }
    }

    /// Ends its input.
    pub async fn feed_end(&self) -> Result<(), EngineError> {
        let mut input = self.input.lock().await;
        match input.as_mut() {
            Some(sender) => Ok(sender.end_input().await?),
            None => Err(EngineError::Recovering),
        }
    }
}

/// A program about to be started.
pub(crate) struct Start<'a> {
    /// Who asked; nobody, where a template did.
    pub call: Option<&'a Call>,
    /// Leave to do it.
    pub permit: Permit,
    /// What it is called.
    pub exec: ExecId,
    /// What it is.
    pub request: ExecRequest,
    /// The size of its terminal, where it has one.
    pub tty: Option<WindowSize>,
    /// The key it is claimed under.
    pub claim: Option<IdempotencyClaim>,
    /// The request's turn under that key: held until the claim is made, also where the caller has gone.
    pub keep: Option<Keep>,
    /// Its place among the execs that may run.
    pub slot: ExecSlot,
}

/// What is started.
struct Program {
    exec: ExecId,
    request: ExecRequest,
    tty: Option<WindowSize>,
    claim: Option<IdempotencyClaim>,
    slot: Option<ExecSlot>,
}

/// A program that was started.
pub(crate) struct Launched {
    pub permit: Arc<Permit>,
    pub running: Arc<Running>,
    pub keep: Option<Keep>,
}

impl Engine {
    /// Writes a program into the ledger, starts it, and sees to it from then on. Goes on where the caller does not wait.
    pub(crate) async fn exec_launch(&self, start: Start<'_>) -> Result<Launched, EngineError> {
        let (engine, call) = (self.clone(), start.call.cloned());
        let Start { permit, exec, request, tty, claim, keep, slot, .. } = start;
        let program = Program { exec, request, tty, claim, slot: Some(slot) };
        self.apart(async move {
            let (permit, running) = engine.exec_launch_now(call, permit, program).await?;
            Ok(Launched { permit, running, keep })
        })
        .await
    }

    /// Starts a program that nobody asked for: it is no activity, moves no state, and is not counted.
    pub(crate) async fn exec_uncounted(&self, session: &Session, request: ExecRequest) -> Result<(), EngineError> {
        let Some(live) = self.live().get(&session.id) else { return Ok(()) };
        let (permit, _) = Permit::new(self.clone(), Operation::SessionGet, session.clone(), live);
        let exec = ExecId::new(self.random()?);
        let program = Program { exec, request, tty: None, claim: None, slot: None };
        self.exec_launch_now(None, permit, program).await.map(drop)
    }

    async fn exec_launch_now(
        &self,
        call: Option<Call>,
        mut permit: Permit,
        program: Program,
    ) -> Result<(Arc<Permit>, Arc<Running>), EngineError> {
        let Program { exec, request, tty, claim, slot } = program;
        let now = self.now();
        let session = permit.session().clone();
        let environment = permit.environment()?;
        let default_ms = Some(self.settings().exec_default_timeout_ms).filter(|_| !request.background);
        let timeout_ms = request.timeout_ms.or(default_ms);
        let record = exec_record(&session, exec, &request, timeout_ms, now);
        let intent = self.exec_intent(call.as_ref(), permit.operation(), &session, &record, claim);
        // The connection is made while the intent is made durable; nothing is asked over it before. A frozen environment does not answer, and it is not
        // waited for where the intent is refused.
        let (intend, connect) = (pin!(self.store().exec_intend(intent)), environment.connect());
        let (intended, connect) = match select(intend, connect).await {
            Either::Left((intended, connect)) => (intended, Either::Left(connect)),
            Either::Right((connected, intend)) => (intend.await, Either::Right(std::future::ready(connected))),
        };
        match intended? {
            ExecIntended::Done(now) => {
                if now.state != session.state {
                    self.meters().moved(session.state, now.state);
                    permit.live().publish();
                }
                if call.is_some() {
                    permit.live().activity_stored(record.created_at);
                }
                permit.refresh(now);
            }
            ExecIntended::Refused(now) => {
                return Err(self.changed(tenure_store::Changed::Refused(now)).err().unwrap_or(EngineError::Recovering));
            }
            ExecIntended::Claimed(_) => return Err(crate::idempotency::conflict()),
            ExecIntended::Missing => return Err(EngineError::Internal("a session vanished".to_owned())),
        }
        self.meters().execs.inc();
        let permit = Arc::new(permit);
        let files = match self.output_files(&record.session_id, &record.id) {
            Ok(files) => files,
            // The host has no room for what it would print, and nobody was asked to start it.
            Err(error) => {
                let error = output_unavailable(&error);
                return self.exec_not_started(permit, record, ExecLedgerState::Failed, error).await;
            }
        };
        let begun = self.exec_start_inside(connect, &record, &request, files, tty);
        match permit.race_whole(begun).await {
            Ok(attached) => {
                let record = ExecRecord { started_at: Some(self.now()), ..record };
                Ok((permit.clone(), self.exec_follow(permit, slot, environment.clone(), record, attached)))
            }
            Err(error) => self.exec_not_started(permit, record, not_started(&error), error).await,
        }
    }

    fn exec_intent(
        &self,
        call: Option<&Call>,
        operation: Operation,
        session: &Session,
        record: &ExecRecord,
        claim: Option<IdempotencyClaim>,
    ) -> ExecIntent {
        let at = record.created_at;
        let actor = call.map_or_else(|| "system".to_owned(), Call::actor);
        // The session runs by then: what a caller starts makes it so.
        let state = if call.is_some() { State::Running } else { session.state };
        let mut entry = draft::moved(session, state, at, Trigger::UserAction, &actor);
        entry.old_state = Some(state);
        let operation = if call.is_some() { operation } else { Operation::ExecRun };
        entry.action = operation.row().name.to_owned();
        // The program's name only: arguments may hold secrets.
        entry.metadata =
            json!({ "exec_id": record.id, "program": record.cmd.first(), "background": record.background });
        let mut running_entry = draft::moved(session, State::Running, at, Trigger::ApiCall, &actor);
        running_entry.reason = Some(format!("first exec {}", record.id));
        ExecIntent {
            record: record.clone(),
            claim,
            activity: call.map(|_| operation.row().name.to_owned()),
            running_entry,
            entry,
        }
    }

    async fn exec_start_inside(
        &self,
        connect: impl Future<Output = Result<Client, EnvironmentError>>,
        record: &ExecRecord,
        request: &ExecRequest,
        mut files: Vec<OwnedFd>,
        tty: Option<WindowSize>,
    ) -> Result<Attached, EngineError> {
        if tty.is_some() {
            // A terminal prints in one place; the other file stays empty.
            files.truncate(1);
        }
        let exec = Exec {
            exec_id: record.id.to_string(),
            cmd: record.cmd.clone(),
            cwd: record.cwd.clone(),
            env: request.env.clone(),
            user: record.user.clone(),
            tag: record.tag.clone(),
            timeout_ms: record.timeout_ms,
            stdin: request.stdin.is_some() || request.background,
            tty,
            sink: Sink::File { cap_bytes: self.settings().exec_output_cap_bytes },
        };
        let mut attached = connect.await?.exec(exec, files).await?;
        if let Some(stdin) = &request.stdin {
            // A program that ends without reading its input is no failure.
            let _ = attached.sender.input(stdin.as_bytes()).await;
            let _ = attached.sender.end_input().await;
        }
        Ok(attached)
    }

    /// It never ran, or nobody knows: settled as such, and said to the caller where it is the caller's doing.
    async fn exec_not_started(
        &self,
        permit: Arc<Permit>,
        record: ExecRecord,
        state: ExecLedgerState,
        error: EngineError,
    ) -> Result<(Arc<Permit>, Arc<Running>), EngineError> {
        let nothing = StreamTotal::default();
        let outcome = unseen(state, self.now(), &error.to_string(), nothing, nothing);
        self.store().exec_settle(&record.id, outcome, None).await?;
        drop(permit);
        Err(error)
    }

    /// From here on somebody sees to it, whoever waits.
    pub(crate) fn exec_follow(
        &self,
        permit: Arc<Permit>,
        slot: Option<ExecSlot>,
        environment: Arc<dyn Environment>,
        record: ExecRecord,
        attached: Attached,
    ) -> Arc<Running> {
        let (sender, receiver) = attached.split();
        let running = Arc::new(Running {
            record,
            seen: watch::Sender::new(Seen::default()),
            input: tokio::sync::Mutex::new(Some(sender)),
        });
        self.running().put(running.clone());
        let (engine, seen_by) = (self.clone(), running.clone());
        tokio::spawn(async move {
            let begun = tokio::time::Instant::now();
            let outcome = engine.exec_watch(&permit, &environment, &seen_by, receiver).await;
            engine.exec_settle(&permit, slot, &seen_by, outcome).await;
            engine.meters().exec_seconds.observe(begun.elapsed().as_secs_f64());
            engine.running().remove(&seen_by.record.id);
            drop(permit);
            // The agent remembers what ended until it is told that somebody wrote it down.
            if let Ok(mut client) = environment.connect().await {
                let _ = client.forget(seen_by.record.id.as_str()).await;
            }
        });
        running
    }

    async fn exec_watch(
        &self,
        permit: &Permit,
        environment: &Arc<dyn Environment>,
        running: &Running,
        mut receiver: ExecReceiver,
    ) -> ExecOutcome {
        let mut started = Some(Box::pin(tokio::time::sleep(STARTED_AFTER)));
        loop {
            let event = tokio::select! {
                event = receiver.next() => event,
                () = async { if let Some(timer) = started.as_mut() { timer.await } }, if started.is_some() => {
                    started = None;
                    let at = running.record.started_at.unwrap_or(running.record.created_at);
                    if let Err(error) = self.store().exec_started(&running.record.id, at).await {
                        tracing::warn!(exec = %running.record.id, %error, "the start of an exec was not written down");
                    }
                    continue;
                }
            };
            match event {
                Ok(Some(Event::Progress { output, error })) => running.seen.send_modify(|seen| {
                    (seen.stdout, seen.stderr) = (output, error);
                }),
                Ok(Some(Event::Exited(ended))) => return self.outcome(&ended),
                Ok(Some(Event::Output(_) | Event::Error(_))) => {}
                Ok(Some(Event::Detached) | None) | Err(_) => {
                    match self.exec_attach_again(permit, environment, running).await {
                        Ok(again) => receiver = again,
                        Err(outcome) => return outcome,
                    }
                }
            }
        }
    }

    /// The connection was lost: found again, or an end that nobody saw.
    async fn exec_attach_again(
        &self,
        permit: &Permit,
        environment: &Arc<dyn Environment>,
        running: &Running,
    ) -> Result<ExecReceiver, ExecOutcome> {
        let record = &running.record;
        *running.input.lock().await = None;
        let mut why = "the connection to it was lost".to_owned();
        for _ in 0..ATTACH_TRIES {
            if permit.live().ended.is_cancelled() {
                break;
            }
            match environment.connect().await {
                Ok(client) => match client.attach(record.id.as_str()).await {
                    Ok(attached) => {
                        let (sender, receiver) = attached.split();
                        *running.input.lock().await = Some(sender);
                        // What it printed meanwhile nobody told.
                        running.seen.send_modify(|_| ());
                        return Ok(receiver);
                    }
                    Err(error @ AgentError::Failed { .. }) => {
                        why = error.to_string();
                        break;
                    }
                    Err(error) => why = error.to_string(),
                },
                Err(EnvironmentError::Gone) => break,
                Err(error) => why = error.to_string(),
            }
            tokio::time::sleep(ATTACH_EVERY).await;
        }
        let (stdout, stderr) = self.output_totals(&record.session_id, &record.id).await;
        // An environment takes its programs with it; how they ended nobody saw.
        let (state, why) = match permit.live().ended.is_cancelled() {
            true => (ExecLedgerState::Killed, "the session ended".to_owned()),
            false => (ExecLedgerState::Unknown, why),
        };
        Err(unseen(state, self.now(), &why, stdout, stderr))
    }

    /// How a program ended, as its agent tells it.
    pub(crate) fn outcome(&self, ended: &Ended) -> ExecOutcome {
        let state = match (ended.exit_code, ended.signal, &ended.not_started) {
            (_, _, Some(_)) => ExecLedgerState::Failed,
            (Some(_), ..) => ExecLedgerState::Exited,
            (None, Some(_), None) => ExecLedgerState::Killed,
            (None, None, None) => ExecLedgerState::Unknown,
        };
        let total = |written: Written| StreamTotal { bytes: written.bytes, dropped: written.dropped };
        ExecOutcome {
            state,
            ended_at: self.now(),
            exit_code: ended.exit_code,
            signal: ended.signal,
            timed_out: ended.timed_out,
            oom_killed: ended.oom_killed,
            error: ended.not_started.clone(),
            stdout: total(ended.output),
            stderr: total(ended.error),
            duration_ms: Some(ended.duration_ms),
        }
    }

    /// Written down first, then told. Its place is free before anybody hears of its end: who starts the next one then finds room.
    async fn exec_settle(&self, permit: &Permit, slot: Option<ExecSlot>, running: &Running, outcome: ExecOutcome) {
        let record = &running.record;
        loop {
            match self.store().exec_settle(&record.id, outcome.clone(), None).await {
                Ok(_) => break,
                Err(error @ StoreError::Corrupt(_)) => {
                    tracing::error!(exec = %record.id, %error, "the end of an exec cannot be written down");
                    break;
                }
                Err(error) => {
                    tracing::error!(exec = %record.id, %error, "the end of an exec was not written down; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
        drop(slot);
        tracing::debug!(session = %permit.session().id, exec = %record.id, state = ?outcome.state, "exec ended");
        running.seen.send_modify(|seen| seen.outcome = Some(outcome));
    }
}

/// What became of a program whose agent was asked to start it, and did not say that it did.
fn not_started(error: &EngineError) -> ExecLedgerState {
    match error {
        EngineError::Gone { .. } | EngineError::Unavailable { .. } | EngineError::Recovering => {
            ExecLedgerState::Unknown
        }
        _ => ExecLedgerState::Failed,
    }
}
