//! The connection to one program while it runs: what it prints, and what it is told, at the same time.

use crate::agent::client::{Client, Identity};
use crate::agent::connection::{FrameReader, FrameWriter, broken, for_people, out_of_turn, reply_of};
use crate::agent::exec::check_ended;
use crate::error::AgentError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenure_protocol::{DATA_MAX, Ended, Frame, Invalid, Reply, Request, Sink, Stream, WindowSize, Written};

/// What comes from an attached program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It printed this ([`Sink::Frames`]).
    Output(Vec<u8>),
    /// It printed this as error output ([`Sink::Frames`]).
    Error(Vec<u8>),
    /// Its files have grown ([`Sink::File`]): totals since its start, as the agent tells them.
    Progress {
        /// Output.
        output: Written,
        /// Error output.
        error: Written,
    },
    /// It has ended, and all that it wrote was delivered. Nothing follows.
    Exited(Ended),
    /// It goes on without this connection. Nothing follows.
    Detached,
}

/// What both halves must know to tell whether the connection is at rest afterwards.
#[derive(Default)]
struct Sent {
    /// Something went to the program, a detach included, and may arrive after its end.
    any: AtomicBool,
    /// [`Request::Detach`] went out: one more answer is due.
    detach: AtomicBool,
}

/// The connection to one program. Its two halves can be used at the same time, also from two tasks.
///
/// Dropping it closes the connection; the program goes on, and can be attached to again.
pub struct Attached {
    /// What the program is told.
    pub sender: ExecSender,
    /// What comes from it.
    pub receiver: ExecReceiver,
}

/// The half that speaks to the program.
pub struct ExecSender {
    writer: FrameWriter,
    fed: bool,
    sent: Arc<Sent>,
}

/// The half that hears the program.
pub struct ExecReceiver {
    reader: FrameReader,
    identity: Identity,
    pid: u32,
    framed: Option<bool>,
    closed: [bool; 2],
    end: Option<Event>,
    sent: Arc<Sent>,
}

/// All that a program wrote, where it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub ended: Ended,
    /// Output.
    pub output: Vec<u8>,
    /// Error output.
    pub error: Vec<u8>,
    /// Whether some of either was dropped.
    pub truncated: bool,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("pid", &self.receiver.pid).field("end", &self.receiver.end).finish()
    }
}

impl Attached {
    pub(super) fn new(client: Client, pid: u32, sink: Option<Sink>, fed: bool) -> Attached {
        let (reader, writer, identity) = client.into_parts();
        let sent = Arc::new(Sent::default());
        let framed = sink.map(|sink| matches!(sink, Sink::Frames));
        Attached {
            sender: ExecSender { writer, fed, sent: sent.clone() },
            receiver: ExecReceiver { reader, identity, pid, framed, closed: [false; 2], end: None, sent },
        }
    }

    /// The program's process ID inside.
    pub fn pid(&self) -> u32 {
        self.receiver.pid
    }

    /// The two halves, to be used by two tasks.
    pub fn split(self) -> (ExecSender, ExecReceiver) {
        (self.sender, self.receiver)
    }

    /// What comes next; see [`ExecReceiver::next`].
    pub async fn next(&mut self) -> Result<Option<Event>, AgentError> {
        self.receiver.next().await
    }

    /// Waits for the program's end. What it prints meanwhile is dropped.
    pub async fn wait(&mut self) -> Result<Ended, AgentError> {
        Ok(self.capture(0).await?.ended)
    }

    /// Waits for the program's end and keeps the first `most` bytes of each of its outputs.
    pub async fn capture(&mut self, most: usize) -> Result<Captured, AgentError> {
        let (mut output, mut error, mut truncated) = (Vec::new(), Vec::new(), false);
        let mut keep = |kept: &mut Vec<u8>, bytes: &[u8]| {
            let room = bytes.len().min(most - kept.len());
            kept.extend_from_slice(&bytes[..room]);
            truncated |= room < bytes.len();
        };
        loop {
            match self.receiver.next().await? {
                Some(Event::Output(bytes)) => keep(&mut output, &bytes),
                Some(Event::Error(bytes)) => keep(&mut error, &bytes),
                Some(Event::Progress { .. }) => {}
                Some(Event::Exited(ended)) => return Ok(Captured { ended, output, error, truncated }),
                Some(Event::Detached) | None => return Err(AgentError::Abandoned),
            }
        }
    }

    /// The client again, for another request. `None` where the program has not ended, or where something that it was told may still be on its way:
    /// it would be taken for the next request.
    pub fn into_client(self) -> Option<Client> {
        let rests = match self.receiver.end {
            Some(Event::Exited(_)) => !self.receiver.sent.any.load(Ordering::Acquire),
            Some(Event::Detached) => true,
            _ => false,
        };
        rests.then(|| Client::from_parts(self.receiver.reader, self.sender.writer, self.receiver.identity))
    }
}

impl ExecSender {
    /// Feeds the program's standard input, or types on its terminal. Returns when all of it is on its way.
    ///
    /// Dropped midway, an unknown part of it was sent; what follows is still understood.
    pub async fn input(&mut self, bytes: &[u8]) -> Result<(), AgentError> {
        self.check_fed()?;
        self.sent.any.store(true, Ordering::Release);
        for chunk in bytes.chunks(DATA_MAX) {
            self.writer.drain().await?;
            self.writer.queue_data(Stream::Input, chunk);
            self.writer.drain().await?;
        }
        Ok(())
    }

    /// Ends the program's standard input. No input can follow.
    pub async fn end_input(&mut self) -> Result<(), AgentError> {
        self.check_fed()?;
        self.sent.any.store(true, Ordering::Release);
        self.writer.drain().await?;
        self.fed = false;
        self.writer.queue_data(Stream::Input, &[]);
        self.writer.drain().await
    }

    fn check_fed(&self) -> Result<(), AgentError> {
        if self.fed {
            return Ok(());
        }
        Err(Invalid { field: "input", problem: "is not fed by this connection, or has ended" }.into())
    }

    /// Tells a terminal its new size.
    pub async fn resize(&mut self, size: WindowSize) -> Result<(), AgentError> {
        self.tell(&Request::Resize { size }).await
    }

    /// Signals the program's process group.
    pub async fn signal(&mut self, signal: i32) -> Result<(), AgentError> {
        self.tell(&Request::SignalAttached { signal }).await
    }

    /// Wants no more of the program, which goes on. The receiver gets [`Event::Detached`], or [`Event::Exited`] where the end came first.
    pub async fn detach(&mut self) -> Result<(), AgentError> {
        if self.sent.detach.load(Ordering::Acquire) {
            return Ok(());
        }
        self.writer.drain().await?;
        self.fed = false;
        self.sent.detach.store(true, Ordering::Release);
        self.tell(&Request::Detach).await
    }

    async fn tell(&mut self, request: &Request) -> Result<(), AgentError> {
        request.validate()?;
        self.sent.any.store(true, Ordering::Release);
        self.writer.message(request).await
    }
}

impl ExecReceiver {
    /// The program's process ID inside.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What comes next; `None` after [`Event::Exited`] or [`Event::Detached`]. Cancel-safe: a call that is dropped loses nothing.
    pub async fn next(&mut self) -> Result<Option<Event>, AgentError> {
        if self.end.is_some() {
            return Ok(None);
        }
        loop {
            let frame = self.reader.frame().await?;
            let event = match frame {
                Frame::Data(stream, bytes) => self.printed(stream, bytes)?,
                Frame::Message(_) => Some(self.told(reply_of(&frame)?)?),
            };
            if let Some(event) = event {
                return Ok(Some(event));
            }
        }
    }

    fn printed(&mut self, stream: Stream, bytes: Vec<u8>) -> Result<Option<Event>, AgentError> {
        let index = match stream {
            Stream::Output => 0,
            Stream::Error => 1,
            Stream::Input => return Err(broken("input from a program")),
        };
        self.sink_is(true)?;
        if self.closed[index] {
            return Err(broken("output after its end"));
        }
        self.closed[index] = bytes.is_empty();
        Ok((!bytes.is_empty()).then_some(if index == 0 { Event::Output(bytes) } else { Event::Error(bytes) }))
    }

    fn told(&mut self, reply: Reply) -> Result<Event, AgentError> {
        match reply {
            Reply::Progress { output, error } => {
                self.sink_is(false)?;
                Ok(Event::Progress { output, error })
            }
            Reply::Exited(mut ended) => {
                check_ended(&ended)?;
                ended.not_started = ended.not_started.map(|why| for_people(&why));
                self.end = Some(Event::Exited(ended.clone()));
                Ok(Event::Exited(ended))
            }
            Reply::Done if self.sent.detach.load(Ordering::Acquire) => {
                self.end = Some(Event::Detached);
                Ok(Event::Detached)
            }
            _ => out_of_turn(),
        }
    }

    /// Output comes as frames or goes to files, never both; an attached connection learns which by the first event.
    fn sink_is(&mut self, framed: bool) -> Result<(), AgentError> {
        if *self.framed.get_or_insert(framed) == framed { Ok(()) } else { out_of_turn() }
    }
}
