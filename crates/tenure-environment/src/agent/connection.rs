//! The two halves of one connection: whole frames out, whole frames in, whatever is abandoned in between.

use crate::agent::Transport;
use crate::error::AgentError;
use serde::Serialize;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tenure_protocol::{Decoder, Frame, Reply, Stream, encode_data, encode_message};
use tokio::io::ReadBuf;

/// Most bytes taken from the wire at once.
const READ_MAX: usize = 32 * 1024;
/// Longest part of a failure's message that is passed on.
const MESSAGE_MAX: usize = 1024;

/// Both halves poll the one transport; the lock is held for one poll, never across a wait.
type Shared = Arc<Mutex<Box<dyn Transport>>>;

fn with_transport<T>(shared: &Shared, poll: impl FnOnce(Pin<&mut dyn Transport>) -> T) -> T {
    // A panic in a transport's poll leaves at worst a broken stream, which shows itself as such.
    poll(Pin::new(&mut **shared.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Makes the two halves of a connection.
pub(crate) fn split(transport: Box<dyn Transport>) -> (FrameReader, FrameWriter) {
    let shared = Arc::new(Mutex::new(transport));
    let writer = FrameWriter { shared: shared.clone(), out: Vec::new(), sent: 0, files: Vec::new() };
    (FrameReader { shared, decoder: Decoder::new() }, writer)
}

/// Reads frames. Cancel-safe throughout: what has come of a frame stays in the decoder.
pub(crate) struct FrameReader {
    shared: Shared,
    decoder: Decoder,
}

impl FrameReader {
    /// The next frame; [`AgentError::Closed`] where the stream ends between two frames.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, AgentError>> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Poll::Ready(Ok(frame));
            }
            let mut space = [MaybeUninit::uninit(); READ_MAX];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(with_transport(&self.shared, |transport| transport.poll_read(cx, &mut buffer)))?;
            if buffer.filled().is_empty() {
                let midway = self.decoder.pending() > 0;
                let error = if midway { broken("the stream ends within a frame") } else { AgentError::Closed };
                return Poll::Ready(Err(error));
            }
            self.decoder.push(buffer.filled());
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Result<Frame, AgentError> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// The next frame, which must be a reply; a failure becomes the error it tells of.
    pub(crate) async fn reply(&mut self) -> Result<Reply, AgentError> {
        reply_of(&self.frame().await?)
    }

    /// Makes sure that nothing has come that nobody asked for: an answer before its question is none.
    pub(crate) async fn quiet(&mut self) -> Result<(), AgentError> {
        match poll_fn(|cx| Poll::Ready(self.poll_frame(cx))).await {
            Poll::Pending if self.decoder.pending() == 0 => Ok(()),
            Poll::Pending | Poll::Ready(Ok(_)) => out_of_turn(),
            Poll::Ready(Err(error)) => Err(error),
        }
    }
}

/// Reads a frame as a reply; a failure becomes the error it tells of.
pub(crate) fn reply_of(frame: &Frame) -> Result<Reply, AgentError> {
    match frame.message::<Reply>()? {
        Reply::Failed { code, message } => Err(AgentError::Failed { code, message: for_people(&message) }),
        reply => Ok(reply),
    }
}

/// What a hostile agent writes ends up in logs and on terminals: it is cut, and control characters are replaced.
pub(crate) fn for_people(message: &str) -> String {
    let mut text = String::new();
    for c in message.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }) {
        if text.len() + c.len_utf8() > MESSAGE_MAX {
            break;
        }
        text.push(c);
    }
    text
}

/// The agent broke the protocol.
pub(crate) fn broken(how: &str) -> AgentError {
    AgentError::Protocol(how.to_owned())
}

/// An answer came that is none to what was asked.
pub(crate) fn out_of_turn<T>() -> Result<T, AgentError> {
    Err(broken("an answer came out of turn"))
}

/// Writes frames. What was queued and not yet written, because a write was abandoned, goes out before whatever comes next, so that
/// frames stay whole.
pub(crate) struct FrameWriter {
    shared: Shared,
    out: Vec<u8>,
    sent: usize,
    files: Vec<OwnedFd>,
}

impl FrameWriter {
    /// Queues a message.
    pub(crate) fn queue_message<T: Serialize>(&mut self, message: &T) -> Result<(), AgentError> {
        Ok(encode_message(message, &mut self.out)?)
    }

    /// Queues a message and the files that go with it.
    pub(crate) fn queue_with_files<T: Serialize>(
        &mut self,
        message: &T,
        files: Vec<OwnedFd>,
    ) -> Result<(), AgentError> {
        self.queue_message(message)?;
        self.files = files;
        Ok(())
    }

    /// Queues stream data; no bytes end the stream.
    pub(crate) fn queue_data(&mut self, stream: Stream, bytes: &[u8]) {
        encode_data(stream, bytes, &mut self.out);
    }

    /// Writes what is queued.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.out.len() {
            let (rest, files) = (&self.out[self.sent..], &mut self.files);
            let written = ready!(with_transport(&self.shared, |transport| match files.is_empty() {
                true => transport.poll_write(cx, rest),
                false => transport.poll_send_files(cx, rest, files),
            }))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.out.clear();
        self.sent = 0;
        with_transport(&self.shared, |transport| transport.poll_flush(cx))
    }

    /// Writes what is queued.
    pub(crate) async fn drain(&mut self) -> Result<(), AgentError> {
        Ok(poll_fn(|cx| self.poll_drain(cx)).await?)
    }

    /// Sends one message.
    pub(crate) async fn message<T: Serialize>(&mut self, message: &T) -> Result<(), AgentError> {
        self.drain().await?;
        self.queue_message(message)?;
        self.drain().await
    }
}
