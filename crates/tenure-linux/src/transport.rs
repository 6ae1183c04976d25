//! The Unix socket to an agent, as a byte stream that can carry open files.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tenure_environment::agent::Transport;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

/// Most descriptors with one message.
const FILES_MAX: usize = 4;

/// A connection to an agent.
#[derive(Debug)]
pub struct AgentStream(UnixStream);

impl AgentStream {
    /// Connects to the socket of this name in a directory. Through a descriptor, since a socket's path has at most 108 bytes.
    pub async fn connect(dir: &Path, name: &str) -> io::Result<AgentStream> {
        let dir = std::fs::File::open(dir)?;
        UnixStream::connect(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd())).await.map(AgentStream)
    }
}

impl Transport for AgentStream {
    fn poll_send_files(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
        files: &mut Vec<OwnedFd>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_io(Interest::WRITABLE, || send_files(&self.0, bytes, files)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    files.clear();
                    return Poll::Ready(result);
                }
            }
        }
    }
}

fn send_files(socket: &UnixStream, bytes: &[u8], files: &[OwnedFd]) -> io::Result<usize> {
    if files.len() > FILES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
    Ok(rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

impl AsyncRead for AgentStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for AgentStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
