//! A file's bytes on their way out of the environment and into it.

use crate::agent::Client;
use crate::agent::connection::{broken, out_of_turn, reply_of};
use crate::error::AgentError;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tenure_protocol::{DATA_MAX, Frame, Reply, Stream};
use tokio::io::{AsyncRead, ReadBuf};

/// The bytes of a file, as they come. Reading is cancel-safe.
pub struct FileReader {
    client: Client,
    /// How many more bytes may come, where a length was asked for.
    left: Option<u64>,
    stage: Stage,
    /// A chunk that the last read had no room for, and how much of it was taken.
    chunk: Vec<u8>,
    taken: usize,
}

/// How far a transfer has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Bytes come.
    Bytes,
    /// All bytes came; the agent has yet to say that nothing failed.
    Ended,
    /// It is over.
    Done,
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("left", &self.left).finish_non_exhaustive()
    }
}

impl FileReader {
    pub(super) fn new(client: Client, length: Option<u64>) -> FileReader {
        FileReader { client, left: length, stage: Stage::Bytes, chunk: Vec::new(), taken: 0 }
    }

    /// The next bytes; `None` at the end, when the agent has said that all went well.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, AgentError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The client again, for another request; `None` before the end.
    pub fn into_client(self) -> Option<Client> {
        (self.stage == Stage::Done).then_some(self.client)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, AgentError>> {
        if self.taken < self.chunk.len() {
            let rest = self.chunk.split_off(self.taken);
            (self.chunk, self.taken) = (Vec::new(), 0);
            return Poll::Ready(Ok(Some(rest)));
        }
        while self.stage != Stage::Done {
            let frame = ready!(self.client.reader.poll_frame(cx))?;
            match frame {
                Frame::Data(Stream::Output, bytes) if self.stage == Stage::Bytes => {
                    if bytes.is_empty() {
                        self.stage = Stage::Ended;
                        continue;
                    }
                    if let Some(left) = &mut self.left {
                        *left =
                            left.checked_sub(bytes.len() as u64).ok_or_else(|| broken("more bytes than asked for"))?;
                    }
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Frame::Data(..) => return Poll::Ready(Err(broken("bytes of another stream"))),
                Frame::Message(_) => {
                    let answer = reply_of(&frame);
                    let Reply::Done = self.client.settle_failure(answer)? else { return Poll::Ready(out_of_turn()) };
                    self.client.rest();
                    self.stage = Stage::Done;
                }
            }
        }
        Poll::Ready(Ok(None))
    }
}

impl AsyncRead for FileReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.taken == self.chunk.len() {
            let Some(chunk) = ready!(self.poll_chunk(cx))? else { return Poll::Ready(Ok(())) };
            (self.chunk, self.taken) = (chunk, 0);
        }
        let rest = &self.chunk[self.taken..];
        let room = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..room]);
        self.taken += room;
        Poll::Ready(Ok(()))
    }
}

/// The bytes of a file, as they go. The file appears when [`FileWriter::finish`] succeeds, whole, or not at all.
pub struct FileWriter {
    client: Client,
    sent: u64,
    /// A write is under way; if it still is when the next one begins, it was abandoned and the file would have a hole.
    writing: bool,
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWriter").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl FileWriter {
    pub(super) fn new(client: Client) -> FileWriter {
        FileWriter { client, sent: 0, writing: false }
    }

    /// Sends more of the file. A failure inside (a full disk) shows as soon as the agent tells it. A write that is dropped midway spoils the
    /// writer: what follows answers [`AgentError::Abandoned`].
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), AgentError> {
        self.begin()?;
        for chunk in bytes.chunks(DATA_MAX) {
            self.client.writer.queue_data(Stream::Input, chunk);
            poll_fn(|cx| self.poll_sent(cx)).await?;
            self.sent += chunk.len() as u64;
        }
        self.writing = false;
        Ok(())
    }

    /// Ends the file and waits until it is in its place. Returns its size and the client.
    pub async fn finish(mut self) -> Result<(u64, Client), AgentError> {
        self.begin()?;
        self.client.writer.queue_data(Stream::Input, &[]);
        poll_fn(|cx| self.poll_sent(cx)).await?;
        match self.client.reader.reply().await? {
            Reply::Written { size } if size == self.sent => {
                self.client.rest();
                Ok((size, self.client))
            }
            Reply::Written { .. } => Err(broken("a written file of another size")),
            _ => out_of_turn(),
        }
    }

    fn begin(&mut self) -> Result<(), AgentError> {
        if std::mem::replace(&mut self.writing, true) { Err(AgentError::Abandoned) } else { Ok(()) }
    }

    /// Sends what is queued. An agent that fails says so while bytes still go, and may take no more of them: hence both directions at once.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        if let Poll::Ready(told) = self.client.reader.poll_frame(cx) {
            return Poll::Ready(told.and_then(|frame| reply_of(&frame)).and_then(|_| out_of_turn()));
        }
        match ready!(self.client.writer.poll_drain(cx)) {
            Ok(()) => Poll::Ready(Ok(())),
            // The connection may have broken after the agent said why.
            Err(error) => match self.client.reader.poll_frame(cx) {
                Poll::Ready(Ok(frame)) => Poll::Ready(reply_of(&frame).and_then(|_| out_of_turn())),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(Err(error.into())),
            },
        }
    }
}
