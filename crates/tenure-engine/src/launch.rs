//! Starting a program: into the ledger first, then inside, then followed.

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
use crate::running::{Held, Running};
use futures_util::future::{Either, select};
use serde_json::json;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use tenure_environment::agent::Attached;
use tenure_environment::protocol::{Exec, Sink, WindowSize};
use tenure_environment::{Client, EnvironmentError};
use tenure_session::{ExecId, Operation, Session, State, Trigger};
use tenure_store::{ExecIntended, ExecIntent, ExecLedgerState, ExecRecord, IdempotencyClaim, StreamTotal};

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

/// Where what it prints goes, and how much of it.
struct Sinks {
    files: Vec<OwnedFd>,
    cap_bytes: u64,
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
        let output = self.output_share(&session, permit.live());
        let begun = self.exec_start_inside(connect, &record, &request, Sinks { files, cap_bytes: output.bytes() }, tty);
        match permit.race_whole(begun).await {
            Ok(attached) => {
                let record = ExecRecord { started_at: Some(self.now()), ..record };
                let held = Held { slot, output, printed_before: 0 };
                Ok((permit.clone(), self.exec_follow(permit, held, environment.clone(), record, attached)))
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
        sinks: Sinks,
        tty: Option<WindowSize>,
    ) -> Result<Attached, EngineError> {
        let Sinks { mut files, cap_bytes } = sinks;
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
            sink: Sink::File { cap_bytes },
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
