//! Terminals: programs on a PTY, which go on while nobody looks, and show what they printed to whoever comes back (EN-7).
//!
//! ```text
//!  open ─► exec in the ledger, tagged `terminal` ─► its output, one file of the host
//!                                                        │ read by offset, the last 64 KiB first
//!  viewer, viewer, … ◄───────────────────────────────────┘   each at its own pace: the program waits for none of them
//!     └──── what is typed, sizes ─► the program's one connection
//! ```
//!
//! A viewer holds a permit for as long as it looks: it counts as activity, and ends with the session, with a takeover of its lease, or with the program.

use crate::call::Call;
use crate::code::Code;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::exec::{ExecRequest, exec_valid};
use crate::launch::{Launched, Start};
use crate::output::{OutputStream, output_unavailable};
use crate::permit::Permit;
use crate::running::{Running, Seen};
use crate::scrollback::without_queries;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::protocol::WindowSize;
use tenure_session::{ExecId, InvalidField, Operation, State, status};
use tenure_store::{ExecLedgerState, ExecRecord};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::watch;

/// What an exec that is a terminal is tagged with.
pub(crate) const TAG: &str = "terminal";

/// How much of what was printed before is shown to whoever comes.
const SCROLLBACK: u64 = 64 << 10;
/// Most bytes in one event.
const EVENT_BYTES: u64 = 32 << 10;
/// How much earlier than here the session's end may have come for its programs.
const AGENT_AHEAD: Duration = Duration::from_millis(200);
/// Most rows and columns.
const SIDE_MAX: u16 = 1000;
/// What is run where nothing is named: the shell that people like, where there is one.
const SHELL: &str = "command -v bash >/dev/null && exec bash; exec sh";

/// A terminal to open, or to come back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalRequest {
    /// The terminal to come back to; a new one where nothing is given.
    pub exec_id: Option<String>,
    /// The program of a new one and its arguments; a shell where nothing is given.
    pub cmd: Vec<String>,
    /// How large it is shown.
    pub size: WindowSize,
}

/// What comes from a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminalEvent {
    /// How it stands: first of all, with every change, and last of all when its program has ended.
    Status(Box<TerminalStatus>),
    /// It printed this.
    Output(Vec<u8>),
}

/// How a terminal stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalStatus {
    /// The session's state.
    pub state: State,
    /// Whole seconds until the session ends as things stand.
    pub remaining_seconds: u64,
    /// Its program.
    pub exec: ExecRecord,
    /// How much of its output was dropped at the cap of what is kept.
    pub dropped: u64,
}

/// Somebody looks at a terminal.
pub struct Terminal {
    engine: Engine,
    permit: Arc<Permit>,
    record: ExecRecord,
    running: Option<Arc<Running>>,
    seen: Option<watch::Receiver<Seen>>,
    changed: watch::Receiver<u64>,
    /// Why nothing more may be seen of it, as soon as that is so.
    ended: Pin<Box<dyn Future<Output = EngineError> + Send>>,
    size: WindowSize,
    came_back: bool,
    /// How far its output was read; where nothing of it was, it begins with the scrollback.
    offset: Option<u64>,
    /// Whether its status may be another than was told.
    stale: bool,
    told: Option<(State, ExecLedgerState, bool)>,
    over: bool,
}

/// What a terminal is told. Cheap to clone.
#[derive(Clone)]
pub struct TerminalInput {
    permit: Arc<Permit>,
    running: Arc<Running>,
}

impl Engine {
    /// Opens a terminal, or comes back to one.
    pub async fn terminal_open(
        &self,
        call: &Call,
        id: &str,
        request: Result<TerminalRequest, EngineError>,
    ) -> Result<Terminal, EngineError> {
        let permit = self.admit(call, id, Operation::Terminal).await?;
        let request = request?;
        terminal_valid(&request)?;
        match &request.exec_id {
            Some(exec) => self.terminal_found(permit, exec, request.size).await,
            None => self.terminal_begin(call, permit, request).await,
        }
    }

    async fn terminal_begin(
        &self,
        call: &Call,
        permit: Permit,
        request: TerminalRequest,
    ) -> Result<Terminal, EngineError> {
        self.refuse_while_draining()?;
        let TerminalRequest { cmd, size, .. } = request;
        let cmd = if cmd.is_empty() { ["sh", "-c", SHELL].map(str::to_owned).to_vec() } else { cmd };
        // In the background: it has no time limit but the session's, and nobody need wait for it.
        let request = ExecRequest { cmd, background: true, tag: Some(TAG.to_owned()), ..ExecRequest::default() };
        exec_valid(&request)?;
        let exec = ExecId::new(self.random()?);
        let slot = self.exec_count(&permit).await?;
        let start = Start { call: Some(call), permit, exec, request, tty: Some(size), claim: None, keep: None, slot };
        let Launched { permit, running, .. } = self.exec_launch(start).await?;
        let record = running.record().clone();
        Ok(Terminal::new(self, permit, record, Some(running), size))
    }

    async fn terminal_found(&self, permit: Permit, exec: &str, size: WindowSize) -> Result<Terminal, EngineError> {
        let record = self.exec_find(&permit, exec).await?;
        if record.tag.as_deref() != Some(TAG) {
            let what = format!("the session has no terminal {}", record.id);
            return Err(EngineError::Missing { code: Code::ExecNotFound, what });
        }
        let running = self.running().get(&record.id).filter(|running| !running.has_ended());
        // It may have ended since its row was read.
        let record = if running.is_none() { self.exec_find(&permit, exec).await? } else { record };
        if running.is_none() && record.outcome.is_none() {
            return Err(EngineError::Recovering);
        }
        let terminal = Terminal::new(self, Arc::new(permit), record, running, size);
        Ok(Terminal { came_back: true, offset: None, ..terminal })
    }
}

impl Terminal {
    fn new(
        engine: &Engine,
        permit: Arc<Permit>,
        record: ExecRecord,
        running: Option<Arc<Running>>,
        size: WindowSize,
    ) -> Terminal {
        let watched = permit.clone();
        Terminal {
            engine: engine.clone(),
            seen: running.as_ref().map(|running| running.watch()),
            changed: permit.live().changed.subscribe(),
            ended: Box::pin(async move { watched.ended().await }),
            permit,
            record,
            running,
            size,
            came_back: false,
            offset: Some(0),
            stale: true,
            told: None,
            over: false,
        }
    }

    /// Which exec it is.
    pub fn exec_id(&self) -> &ExecId {
        &self.record.id
    }

    /// Where it can be typed on; nowhere once its program has ended.
    pub fn input(&self) -> Option<TerminalInput> {
        self.running.clone().map(|running| TerminalInput { permit: self.permit.clone(), running })
    }

    /// The size that it is to be drawn in again, where somebody came back to it.
    pub fn redraw(&self) -> Option<WindowSize> {
        self.came_back.then_some(self.size)
    }

    /// What comes next; `None` after the program's end was told. An error is the last that comes, too: the session's end, above all. Cancel-safe: a call
    /// that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Option<TerminalEvent>, EngineError> {
        while !self.over {
            if let Some(why) = futures_util::FutureExt::now_or_never(&mut self.ended) {
                return self.last_words(why).await;
            }
            self.stale |= self.changed.has_changed().unwrap_or(true);
            self.changed.mark_unchanged();
            // Looked at before the file is: what was written by then is in it.
            let has_ended = self.seen.as_mut().is_none_or(|seen| seen.borrow_and_update().has_ended());
            if self.told.is_none() {
                return Ok(Some(self.status(false).await?));
            }
            if let Some(bytes) = self.read().await? {
                return Ok(Some(TerminalEvent::Output(bytes)));
            }
            if has_ended {
                if let Some(why) = self.ended_with_session().await {
                    return self.last_words(why).await;
                }
                let last = self.status(true).await?;
                self.over = true;
                return Ok(Some(last));
            }
            if self.stale || self.cut() != self.told.is_some_and(|told| told.2) {
                let before = self.told;
                let event = self.status(false).await?;
                if self.told != before {
                    return Ok(Some(event));
                }
            }
            tokio::select! {
                why = &mut self.ended => return self.last_words(why).await,
                _ = self.changed.changed() => self.stale = true,
                () = grown(&mut self.seen) => {}
            }
        }
        Ok(None)
    }

    /// The session's end, where that was what ended the program: its agent may be a moment ahead of everybody here.
    async fn ended_with_session(&mut self) -> Option<EngineError> {
        if let Err(why) = self.engine.still_admitted(&self.record.session_id).await {
            return Some(why);
        }
        let outcome = self.running.as_ref().and_then(|running| running.record_now().outcome);
        if outcome.is_none_or(|outcome| outcome.state == ExecLedgerState::Exited) {
            return None;
        }
        tokio::time::timeout(AGENT_AHEAD, &mut self.ended).await.ok()
    }

    /// What it printed until the end, then why nothing follows.
    async fn last_words(&mut self, why: EngineError) -> Result<Option<TerminalEvent>, EngineError> {
        let may_see = matches!(why, EngineError::Gone { .. }) && self.told.is_some();
        if may_see && let Ok(Some(bytes)) = self.read().await {
            self.ended = Box::pin(std::future::ready(why));
            return Ok(Some(TerminalEvent::Output(bytes)));
        }
        self.over = true;
        Err(why)
    }

    fn cut(&self) -> bool {
        self.dropped() > 0
    }

    fn dropped(&self) -> u64 {
        match (&self.seen, &self.record.outcome) {
            (Some(seen), _) => seen.borrow().dropped(),
            (None, Some(outcome)) => outcome.stdout.dropped,
            (None, None) => 0,
        }
    }

    /// How it stands now. Its program's end is told only `with_end`: after all that it printed.
    async fn status(&mut self, with_end: bool) -> Result<TerminalEvent, EngineError> {
        let (id, dropped) = (&self.record.session_id, self.dropped());
        let session = self.engine.store().session_get(id).await?;
        let session = session.ok_or_else(|| EngineError::Internal(format!("{id} vanished")))?;
        let status = status(&session, &self.engine.presence(&session), self.engine.now());
        let mut exec = self.running.as_ref().map_or_else(|| self.record.clone(), |running| running.record_now());
        if !with_end {
            (exec.state, exec.outcome) = (ExecLedgerState::Started, None);
        }
        self.told = Some((session.state, exec.state, dropped > 0));
        self.stale = false;
        let remaining_seconds = status.remaining_seconds;
        Ok(TerminalEvent::Status(Box::new(TerminalStatus { state: session.state, remaining_seconds, exec, dropped })))
    }

    /// What was printed beyond what was read.
    async fn read(&mut self) -> Result<Option<Vec<u8>>, EngineError> {
        let path = self.engine.output_path(&self.record.session_id, &self.record.id, OutputStream::Stdout);
        let known = self.offset;
        let read = async {
            let mut file = tokio::fs::File::open(path).await?;
            let size = file.metadata().await?.len();
            let offset = known.unwrap_or(size.saturating_sub(SCROLLBACK));
            file.seek(std::io::SeekFrom::Start(offset)).await?;
            let most = if known.is_some() { EVENT_BYTES } else { size - offset };
            let mut bytes = Vec::new();
            file.take(most).read_to_end(&mut bytes).await?;
            Ok::<_, std::io::Error>((offset, bytes))
        };
        let (offset, bytes) = match read.await {
            Ok(read) => read,
            // Kept no longer than the session is.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (0, Vec::new()),
            Err(error) => return Err(output_unavailable(&error)),
        };
        self.offset = Some(offset + bytes.len() as u64);
        let bytes = if known.is_none() { without_queries(&bytes, offset > 0) } else { bytes };
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

/// Waits until a program has printed more, or ended.
async fn grown(seen: &mut Option<watch::Receiver<Seen>>) {
    match seen {
        // The sender lives for as long as the program is watched.
        Some(seen) => drop(seen.changed().await),
        None => std::future::pending().await,
    }
}

impl TerminalInput {
    /// Types this. Returns when it is on its way.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), EngineError> {
        self.permit.race(self.running.feed(bytes)).await
    }

    /// Gives it another size. Where several look at it the last one's holds.
    pub async fn resize(&self, size: WindowSize) -> Result<(), EngineError> {
        size_valid(size)?;
        self.permit.race(self.running.resize(size)).await
    }

    /// Has its program draw it again: only another size makes it do so.
    pub async fn redraw(&self, size: WindowSize) -> Result<(), EngineError> {
        let cols = if size.cols > 1 { size.cols - 1 } else { 2 };
        self.resize(WindowSize { cols, ..size }).await?;
        self.resize(size).await
    }
}

fn terminal_valid(request: &TerminalRequest) -> Result<(), EngineError> {
    if request.exec_id.is_some() && !request.cmd.is_empty() {
        return Err(EngineError::field("cmd", "is for a new terminal, and exec_id names one"));
    }
    size_valid(request.size)
}

fn size_valid(size: WindowSize) -> Result<(), EngineError> {
    let sides = [("rows", size.rows), ("cols", size.cols)];
    let wrong = |(name, _): (&str, u16)| InvalidField::new(name, format!("must be 1 to {SIDE_MAX}"));
    let invalid: Vec<_> = sides.into_iter().filter(|(_, side)| !(1..=SIDE_MAX).contains(side)).map(wrong).collect();
    if invalid.is_empty() { Ok(()) } else { Err(invalid.into()) }
}
