//! A connection within the process that carries open files, as a Unix socket does between processes.

use crate::agent::Transport;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

/// As much as a socket's buffer holds, so that a slow reader is felt as it is in earnest.
const BUFFER: usize = 64 * 1024;

/// The files that were sent and not yet taken, in order.
#[derive(Clone, Default)]
pub(super) struct Files(Arc<Mutex<VecDeque<OwnedFd>>>);

impl Files {
    /// Takes the next `count` files, if as many were sent.
    pub(super) fn take(&self, count: usize) -> Option<Vec<OwnedFd>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (files.len() >= count).then(|| files.drain(..count).collect())
    }
}

/// One end of the connection.
pub(super) struct Pipe {
    stream: DuplexStream,
    files: Files,
}

/// A connection: two ends, and the files that are sent on either.
pub(super) fn pipe() -> (Pipe, Pipe, Files) {
    let (one, other) = duplex(BUFFER);
    let files = Files::default();
    (Pipe { stream: one, files: files.clone() }, Pipe { stream: other, files: files.clone() }, files)
}

impl Transport for Pipe {
    fn poll_send_files(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
        files: &mut Vec<OwnedFd>,
    ) -> Poll<io::Result<usize>> {
        let sent = self.files.0.clone();
        // Held while the bytes go: whoever reads them finds the files there.
        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        sent.extend(files.drain(..));
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
