//! Running programs: waiting for them, following them, in the background; feeding and signalling them; what the ledger says of them (EN-3, EN-4).

use crate::call::Call;
use crate::draft;
use crate::engine::Engine;
use crate::error::{Captured, EngineError};
use crate::follow::ExecFollow;
use crate::gate::Admitted;
use crate::idempotency::{Answer, Keep, Keyed};
use crate::launch::{Launched, Start};
use crate::live::ExecSlot;
use crate::output::{OutputRead, OutputStream, output_unavailable};
use crate::permit::Permit;
use crate::running::Running;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tenure_session::{
    End, ExecId, ExecOverLimit, InvalidField, Operation, Session, TerminationReason, Trigger, admit_exec,
};
use tenure_store::{EndGuard, ExecLedgerState, ExecRecord, Page, PageRequest, SessionEnd};
use tokio::io::AsyncSeekExt;
use tokio::time::Instant;

/// Longest time that a program may ask for: 30 days, longer than any session lives by default.
const TIMEOUT_MS_MAX: u64 = 30 * 24 * 3_600_000;

/// How long the environment of a session that has ended may take to go, before its programs are answered as they stand.
const WRITTEN_DOWN_WITHIN: Duration = Duration::from_secs(15);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A program to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments; a program without `/` is looked for in `PATH`.
    pub cmd: Vec<String>,
    /// Where; `/workspace` where nothing is given.
    pub cwd: Option<String>,
    /// Variables, over those of the session.
    pub env: BTreeMap<String, String>,
    /// As whom: a name or a number inside; the environment's default user where nothing is given.
    pub user: Option<String>,
    /// How long it may run; where nothing is given 300 000, and in the background as long as the session lives.
    pub timeout_ms: Option<u64>,
    /// What it reads. Where nothing is given its input is empty, and in the background open, to be fed later.
    pub stdin: Option<String>,
    /// Whether to answer as soon as it runs.
    pub background: bool,
    /// Whether to answer with its output as it comes.
    pub stream: bool,
    /// The caller's own word for it.
    pub tag: Option<String>,
}

/// A signal for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KillRequest {
    /// Its number, or its name with or without `SIG`.
    pub signal: serde_json::Value,
}

/// A program that has ended, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// Its row in the ledger.
    pub record: ExecRecord,
    /// The first bytes of its output.
    pub stdout: Vec<u8>,
    /// The first bytes of its error output.
    pub stderr: Vec<u8>,
}

/// What an attempt to run something comes to.
enum Begun {
    Running(Arc<Permit>, Arc<Running>, Option<Keep>),
    Before(Keep, Box<ExecRecord>),
    Replayed(tenure_store::StoredAnswer),
}

impl Engine {
    /// Runs a program and waits for its end.
    pub async fn exec_run(
        &self,
        call: &Call,
        id: &str,
        body: Result<ExecRequest, EngineError>,
    ) -> Result<Answer<ExecResult>, EngineError> {
        let (permit, running, keep) = match self.exec_begin(call, id, body).await? {
            Begun::Replayed(answer) => return Ok(Answer::Replayed(answer)),
            Begun::Before(keep, record) => {
                let result = self.exec_awaited(*record).await;
                return Ok(Answer::Fresh { result, keep: Some(keep) });
            }
            Begun::Running(permit, running, keep) => (permit, running, keep),
        };
        let ended = permit.race(async {
            let record = running.ended().await;
            self.exec_ended_alone(&record).await?;
            Ok(record)
        });
        let result = match ended.await {
            Ok(record) => self.exec_result(record).await,
            Err(EngineError::Gone { id, state, end, .. }) => {
                let record = running.record();
                let captured = self.output_captured(&record.session_id, &record.id).await;
                Err(EngineError::Gone { id, state, end, captured: Some(captured) })
            }
            Err(error) => Err(error),
        };
        Ok(Answer::Fresh { result, keep })
    }

    /// Refuses where a program that did not exit by itself ended with its session, which is then what is told.
    pub(crate) async fn exec_ended_alone(&self, record: &ExecRecord) -> Result<(), EngineError> {
        if record.outcome.as_ref().is_none_or(|outcome| outcome.state != ExecLedgerState::Exited) {
            self.still_admitted(&record.session_id).await?;
        }
        Ok(())
    }

    /// Starts a program, and answers as soon as it runs.
    pub async fn exec_start(
        &self,
        call: &Call,
        id: &str,
        body: Result<ExecRequest, EngineError>,
    ) -> Result<Answer<ExecRecord>, EngineError> {
        Ok(match self.exec_begin(call, id, body).await? {
            Begun::Replayed(answer) => Answer::Replayed(answer),
            Begun::Before(keep, record) => Answer::Fresh { result: Ok(*record), keep: Some(keep) },
            Begun::Running(_, running, keep) => Answer::Fresh { result: Ok(running.record_now()), keep },
        })
    }

    /// Starts a program and follows it; one that came before under the same key is followed from its beginning.
    pub async fn exec_stream(
        &self,
        call: &Call,
        id: &str,
        body: Result<ExecRequest, EngineError>,
    ) -> Result<ExecFollow, EngineError> {
        let (record, running, permit) = match self.exec_begin(call, id, body).await? {
            Begun::Running(permit, running, _) => (running.record().clone(), Some(running), Some(permit)),
            Begun::Before(_, record) => (*record.clone(), self.running().get(&record.id), None),
            Begun::Replayed(_) => {
                return Err(crate::idempotency::conflict());
            }
        };
        ExecFollow::new(self.clone(), record, running, permit)
    }

    async fn exec_begin(
        &self,
        call: &Call,
        id: &str,
        body: Result<ExecRequest, EngineError>,
    ) -> Result<Begun, EngineError> {
        let session = self.find(call, id, Operation::ExecRun).await?;
        let (keep, claim) = match self.keyed(call, Operation::ExecRun).await? {
            Keyed::Without => (None, None),
            Keyed::First(keep, claim) => (Some(keep), Some(claim)),
            Keyed::Answered(answer, _) => return Ok(Begun::Replayed(answer)),
            Keyed::Done(keep, record) => {
                let exec = record.claim.exec_id.ok_or_else(crate::idempotency::conflict)?;
                if record.claim.session_id != session.id {
                    return Err(crate::idempotency::conflict());
                }
                let record = self.store().exec_get(&session.id, &exec).await?;
                return Ok(Begun::Before(keep, Box::new(record.ok_or_else(|| EngineError::no_exec(&exec))?)));
            }
        };
        let permit = match self.admit_found(call, session, Operation::ExecRun, None).await? {
            Admitted::Do(permit) => permit,
            Admitted::Already(_) => return Err(EngineError::Internal("an exec is never so already".to_owned())),
        };
        self.refuse_while_draining()?;
        let request = body?;
        exec_valid(&request)?;
        let exec = ExecId::new(self.random()?);
        let claim = claim.map(|claim| claim(permit.session().id.clone(), Some(exec.clone())));
        let slot = self.exec_count(&permit).await?;
        let start = Start { call: Some(call), permit, exec, request, tty: None, claim, keep, slot };
        let Launched { permit, running, keep } = self.exec_launch(start).await?;
        Ok(Begun::Running(permit, running, keep))
    }

    /// One more exec, where as many may run; otherwise the policy decides (GV-2).
    pub(crate) async fn exec_count(&self, permit: &Permit) -> Result<ExecSlot, EngineError> {
        let session = permit.session();
        match permit.live().exec_begins(|running| admit_exec(session, running)) {
            Ok(slot) => Ok(slot),
            Err(ExecOverLimit::Refuse(refusal)) => Err(EngineError::refused(&session.id, session.state, refusal)),
            Err(ExecOverLimit::End(reason)) => Err(self.end_over_limit(session, reason).await?),
        }
    }

    async fn end_over_limit(&self, session: &Session, reason: TerminationReason) -> Result<EngineError, EngineError> {
        let at = self.now();
        let end = End { at, reason, detail: None, failure: None };
        let metadata = json!({ "max_concurrent_execs": session.limits.max_concurrent_execs });
        let entry = draft::ended(session, &end, at, Trigger::ApiCall, "system", metadata);
        let change = SessionEnd { id: session.id.clone(), end, at, guard: EndGuard::Always, entry };
        let session = self.end(change).await?;
        let end = session.end.ok_or_else(|| EngineError::Internal("an end that is none".to_owned()))?;
        Ok(EngineError::Gone { id: session.id, state: session.state, end: Box::new(end), captured: None })
    }

    /// An exec that was started before: its end, if need be waited for.
    async fn exec_awaited(&self, record: ExecRecord) -> Result<ExecResult, EngineError> {
        let record = match self.running().get(&record.id) {
            Some(running) => running.ended().await,
            // It may have ended since its row was read.
            None => self.exec_written_down(record).await?,
        };
        self.exec_result(record).await
    }

    /// An exec that nobody follows, as it is written down; where its session has ended its own end follows soon.
    async fn exec_written_down(&self, mut record: ExecRecord) -> Result<ExecRecord, EngineError> {
        let until = Instant::now() + WRITTEN_DOWN_WITHIN;
        loop {
            record = self.store().exec_get(&record.session_id, &record.id).await?.unwrap_or(record);
            let session = self.store().session_get(&record.session_id).await?;
            let is_over = session.is_some_and(|session| session.end.is_some());
            if record.outcome.is_some() || !is_over || Instant::now() > until {
                return Ok(record);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn exec_result(&self, record: ExecRecord) -> Result<ExecResult, EngineError> {
        let Captured { stdout, stderr } = self.output_captured(&record.session_id, &record.id).await;
        Ok(ExecResult { record, stdout, stderr })
    }

    /// Lists a session's execs.
    pub async fn exec_list(&self, call: &Call, id: &str, page: PageRequest) -> Result<Page<ExecRecord>, EngineError> {
        let permit = self.admit(call, id, Operation::ExecList).await?;
        Ok(self.store().exec_list(&permit.session().id, page).await?)
    }

    /// Reads one exec, with the first bytes of its output.
    pub async fn exec_get(&self, call: &Call, id: &str, exec: &str) -> Result<ExecResult, EngineError> {
        let permit = self.admit(call, id, Operation::ExecGet).await?;
        let record = self.exec_find(&permit, exec).await?;
        self.exec_result(record).await
    }

    pub(crate) async fn exec_find(&self, permit: &Permit, exec: &str) -> Result<ExecRecord, EngineError> {
        let exec: ExecId = exec.parse()?;
        let record = self.store().exec_get(&permit.session().id, &exec).await?;
        record.ok_or_else(|| EngineError::no_exec(&exec))
    }

    /// What an exec printed, from an offset on: while it runs, after a restart, after the session's end.
    pub async fn exec_output(
        &self,
        call: &Call,
        id: &str,
        exec: &str,
        stream: OutputStream,
        offset: u64,
    ) -> Result<OutputRead, EngineError> {
        let permit = self.admit(call, id, Operation::ExecOutput).await?;
        let record = self.exec_find(&permit, exec).await?;
        let mut file = match self.output_open(&record.session_id, &record.id, stream).await {
            // What never began has printed nothing, and may have no files.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && record.outcome.is_some() => {
                tokio::fs::File::open("/dev/null").await
            }
            opened => opened,
        }
        .map_err(|error| output_unavailable(&error))?;
        let size = file.metadata().await.map_err(|error| output_unavailable(&error))?.len();
        let offset = offset.min(size);
        file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|error| output_unavailable(&error))?;
        let totals = record.outcome.as_ref().map(|outcome| match stream {
            OutputStream::Stdout => outcome.stdout,
            OutputStream::Stderr => outcome.stderr,
        });
        let dropped = totals.map_or(0, |total| total.dropped);
        Ok(OutputRead { file, offset, bytes: size - offset, running: record.outcome.is_none(), dropped })
    }

    /// Leave to feed an exec: its input takes one writer at a time.
    pub async fn exec_stdin(&self, call: &Call, id: &str, exec: &str) -> Result<ExecInput, EngineError> {
        let permit = self.admit(call, id, Operation::ExecStdin).await?;
        let running = self.exec_running(&permit, exec).await?;
        Ok(ExecInput { permit, running })
    }

    /// Signals an exec.
    pub async fn exec_kill(
        &self,
        call: &Call,
        id: &str,
        exec: &str,
        body: Result<KillRequest, EngineError>,
    ) -> Result<ExecRecord, EngineError> {
        let permit = self.admit(call, id, Operation::ExecKill).await?;
        let signal = signal_number(&body?.signal)?;
        let record = self.exec_find(&permit, exec).await?;
        let running = self.exec_running(&permit, exec).await?;
        let environment = permit.environment()?;
        let metadata = json!({ "exec_id": record.id, "signal": signal });
        let (engine, call) = (self.clone(), call.clone());
        self.apart(async move {
            permit
                .race_whole(async { Ok(environment.connect().await?.signal(record.id.as_str(), signal).await?) })
                .await?;
            engine.audit(draft::by_caller(&call, permit.session(), Operation::ExecKill, engine.now(), metadata)).await
        })
        .await?;
        Ok(running.record_now())
    }

    async fn exec_running(&self, permit: &Permit, exec: &str) -> Result<Arc<Running>, EngineError> {
        let record = self.exec_find(permit, exec).await?;
        let ended =
            || EngineError::Conflict { code: crate::code::Code::ExecEnded, what: "the exec has ended".to_owned() };
        self.running().get(&record.id).filter(|running| !running.has_ended()).ok_or_else(ended)
    }
}

/// Leave to feed one exec.
pub struct ExecInput {
    permit: Permit,
    running: Arc<Running>,
}

impl ExecInput {
    /// Feeds it these bytes; returns when all are on their way.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), EngineError> {
        self.permit.race(self.running.feed(bytes)).await
    }

    /// Ends its input.
    pub async fn end(&self) -> Result<(), EngineError> {
        self.permit.race(self.running.feed_end()).await
    }
}

/// What is in an exec's row before it runs.
pub(crate) fn exec_record(
    session: &Session,
    exec: ExecId,
    request: &ExecRequest,
    timeout_ms: Option<u64>,
    at: tenure_session::Timestamp,
) -> ExecRecord {
    ExecRecord {
        id: exec,
        session_id: session.id.clone(),
        generation: session.environment.as_ref().map_or(0, |environment| environment.generation),
        cmd: request.cmd.clone(),
        cwd: request.cwd.clone().unwrap_or_else(|| "/workspace".to_owned()),
        user: request.user.clone(),
        tag: request.tag.clone(),
        background: request.background,
        timeout_ms,
        state: ExecLedgerState::Intended,
        created_at: at,
        started_at: None,
        outcome: None,
    }
}

pub(crate) fn exec_valid(request: &ExecRequest) -> Result<(), EngineError> {
    if request.cmd.first().is_none_or(String::is_empty) {
        return Err(EngineError::Invalid { missing: vec!["cmd".to_owned()], invalid: Vec::new() });
    }
    let mut invalid = Vec::new();
    if request.cmd.iter().any(|word| word.contains('\0')) {
        invalid.push(InvalidField::new("cmd", "holds a zero byte"));
    }
    if request.timeout_ms.is_some_and(|ms| !(1..=TIMEOUT_MS_MAX).contains(&ms)) {
        invalid.push(InvalidField::new("timeout_ms", format!("must be 1 to {TIMEOUT_MS_MAX}")));
    }
    if request.background && request.stream {
        invalid.push(InvalidField::new("stream", "is not for what runs in the background"));
    }
    if invalid.is_empty() { Ok(()) } else { Err(invalid.into()) }
}

/// A signal by number or name. Only those that mean the same everywhere have names here.
fn signal_number(signal: &serde_json::Value) -> Result<i32, EngineError> {
    const NAMES: [(&str, i32); 12] = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("WINCH", 28),
    ];
    let number = match signal {
        serde_json::Value::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
        serde_json::Value::String(text) => {
            let upper = text.to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).or_else(|| text.parse().ok())
        }
        _ => None,
    };
    number
        .filter(|number| (1..=64).contains(number))
        .ok_or_else(|| EngineError::field("signal", "must be 1 to 64, or a name such as TERM"))
}
