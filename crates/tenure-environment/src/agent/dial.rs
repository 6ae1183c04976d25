//! A TCP port inside as a byte stream outside.

use crate::agent::Client;
use crate::agent::connection::{broken, out_of_turn, reply_of};
use crate::error::AgentError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tenure_protocol::{DATA_MAX, Frame, Reply, Request, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to a port inside. Each direction ends on its own; [`tokio::io::split`] makes two halves of it.
///
/// A stream that breaks off is an error ([`io::ErrorKind::UnexpectedEof`]), never taken for its end.
pub struct DialStream {
    client: Client,
    chunk: Vec<u8>,
    taken: usize,
    /// The program inside has ended its direction.
    ended: bool,
    /// This side has ended its own.
    shut: bool,
}

impl fmt::Debug for DialStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialStream").field("ended", &self.ended).field("shut", &self.shut).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to a TCP port on the environment's own loopback; [`FailureCode::Unreachable`](tenure_protocol::FailureCode::Unreachable) where nobody
    /// listens.
    pub async fn dial(mut self, port: u16) -> Result<DialStream, AgentError> {
        match self.ask(&Request::Dial { port }).await? {
            Reply::Done => Ok(DialStream { client: self, chunk: Vec::new(), taken: 0, ended: false, shut: false }),
            _ => out_of_turn(),
        }
    }
}

impl DialStream {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        while self.taken == self.chunk.len() && !self.ended {
            let frame = ready!(self.client.reader.poll_frame(cx))?;
            match frame {
                Frame::Data(Stream::Output, bytes) => {
                    self.ended = bytes.is_empty();
                    (self.chunk, self.taken) = (bytes, 0);
                }
                Frame::Data(..) => return Poll::Ready(Err(broken("bytes of another stream"))),
                Frame::Message(_) => return Poll::Ready(reply_of(&frame).and_then(|_| out_of_turn())),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for DialStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx))?;
        let rest = &self.chunk[self.taken..];
        let room = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..room]);
        self.taken += room;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DialStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // At most one chunk waits: the next one is taken when it is gone. An empty one would end the direction.
        ready!(self.client.writer.poll_drain(cx))?;
        let room = bytes.len().min(DATA_MAX);
        if room > 0 {
            self.client.writer.queue_data(Stream::Input, &bytes[..room]);
            if let Poll::Ready(Err(error)) = self.client.writer.poll_drain(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(room))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.client.writer.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(self.client.writer.poll_drain(cx))?;
            self.client.writer.queue_data(Stream::Input, &[]);
            self.shut = true;
        }
        self.client.writer.poll_drain(cx)
    }
}
