//! Programs that run: one task for each, which holds its permit, hears its end, and writes it down before it tells anybody.

use crate::ending::unseen;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::live::{ExecSlot, Live};
use crate::output_room::OutputShare;
use crate::permit::Permit;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenure_environment::agent::{Attached, Event, ExecReceiver, ExecSender};
use tenure_environment::protocol::{Ended, WindowSize, Written};
use tenure_environment::{AgentError, Environment, EnvironmentError};
use tenure_session::ExecId;
use tenure_store::{ExecLedgerState, ExecOutcome, ExecRecord, StoreError, StreamTotal};
use tokio::sync::watch;

/// How long a program runs before it is written down as started on its own: a shorter one is written down once, with its end.
const STARTED_AFTER: Duration = Duration::from_millis(20);

/// For how long programs that ended are gathered before their agent is told to forget them.
const FORGET_AFTER: Duration = Duration::from_millis(100);

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

/// What a program holds for as long as it runs.
pub(crate) struct Held {
    /// Its place among the execs that may run; none, where it is not counted.
    pub slot: Option<ExecSlot>,
    /// What may be kept of its output.
    pub output: OutputShare,
    /// How much of it was there before that share was taken.
    pub printed_before: u64,
}

/// How it ended.
struct End {
    outcome: ExecOutcome,
    /// How much is still kept of what processes print that it left behind.
    room_bytes: u64,
}

impl Engine {
    /// From here on somebody sees to it, whoever waits.
    pub(crate) fn exec_follow(
        &self,
        permit: Arc<Permit>,
        held: Held,
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
            let end = engine.exec_watch(&permit, &environment, &seen_by, receiver).await;
            engine.exec_settle(&permit, held, &seen_by, end).await;
            engine.meters().exec_seconds.observe(begun.elapsed().as_secs_f64());
            engine.running().remove(&seen_by.record.id);
            engine.exec_forget_soon(permit.live(), environment, &seen_by.record.id);
        });
        running
    }

    /// The agent remembers what ended until it is told that somebody wrote it down. Whoever waits for the end is answered first, and one connection tells
    /// of many.
    fn exec_forget_soon(&self, live: &Arc<Live>, environment: Arc<dyn Environment>, exec: &ExecId) {
        if !live.exec_written_down(exec) {
            return;
        }
        let live = live.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FORGET_AFTER).await;
            let written_down = live.take_written_down();
            // What it is not told of it remembers, until its session ends.
            let Ok(mut client) = environment.connect().await else { return };
            for exec in written_down {
                if let Err(error) = client.forget(exec.as_str()).await {
                    tracing::debug!(%exec, %error, "an agent remembers a program that is written down");
                }
            }
        });
    }

    async fn exec_watch(
        &self,
        permit: &Permit,
        environment: &Arc<dyn Environment>,
        running: &Running,
        mut receiver: ExecReceiver,
    ) -> End {
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
                Ok(Some(Event::Exited(ended))) => {
                    return End { outcome: self.outcome(&ended), room_bytes: ended.room_bytes };
                }
                Ok(Some(Event::Output(_) | Event::Error(_))) => {}
                Ok(Some(Event::Detached) | None) | Err(_) => {
                    match self.exec_attach_again(permit, environment, running).await {
                        Ok(again) => receiver = again,
                        Err(outcome) => return End { outcome, room_bytes: 0 },
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
    async fn exec_settle(&self, permit: &Permit, held: Held, running: &Running, end: End) {
        let (record, End { outcome, room_bytes }) = (&running.record, end);
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
        // Numbers of the agent's, which may be anything.
        let printed = outcome.stdout.bytes.saturating_add(outcome.stderr.bytes);
        held.output.settle(printed.saturating_sub(held.printed_before).saturating_add(room_bytes));
        drop(held.slot);
        tracing::debug!(session = %permit.session().id, exec = %record.id, state = ?outcome.state, "exec ended");
        running.seen.send_modify(|seen| seen.outcome = Some(outcome));
    }
}
