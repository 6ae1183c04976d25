//! One exchange with a server inside: HTTP/1.1, read strictly, and bounded until the answer's head is there.
//!
//! What such a server can try: a head without end, thousands of headers, answers before the answer (1xx) without end, silence, two lengths at once, chunks
//! that are none. The first three are bounded here in bytes and all in time; the rest hyper refuses.

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::task::AbortOnDropHandle;

/// Most bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;
/// Most headers of an answer.
const HEADERS_MAX: usize = 128;
/// Most bytes that are kept of what was read and not yet passed on, or not yet written.
const BUFFER_MAX: usize = 64 * 1024;
/// Most bytes that are read before the answer's head is complete, other answers before it included.
const BEFORE_HEAD_MAX: usize = 256 * 1024;
/// How long an answer's head may take.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(120);

/// What came back. The connection lives as long as this does.
pub(super) struct Exchange {
    /// The answer.
    pub response: Response<Incoming>,
    /// What moves its bytes.
    pub mover: AbortOnDropHandle<()>,
}

/// Sends a request and waits for the head of what answers it. `Err` says why there is none, in words for the caller.
pub(super) async fn exchange<S, B>(stream: S, request: Request<B>, within: Duration) -> Result<Exchange, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let left = Arc::new(AtomicUsize::new(BEFORE_HEAD_MAX));
    let io = TokioIo::new(Bounded { stream, left: left.clone() });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(BUFFER_MAX).max_header_size(HEAD_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(io).await.map_err(|error| why(&error))?;
    let mover = AbortOnDropHandle::new(tokio::spawn(async move {
        // How it went, whoever reads the answer hears.
        let _ = connection.with_upgrades().await;
    }));
    match tokio::time::timeout(within, sender.send_request(request)).await {
        Ok(Ok(response)) => {
            left.store(usize::MAX, Ordering::Relaxed);
            Ok(Exchange { response, mover })
        }
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err(format!("no answer within {} s", within.as_secs_f32().ceil())),
    }
}

/// What is said of an error: nothing in it comes from inside.
fn why(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        "the head of its answer is too large".to_owned()
    } else if error.is_parse() {
        "what it answers is no HTTP/1.1".to_owned()
    } else if error.is_incomplete_message() || error.is_canceled() {
        "it closed the connection without an answer".to_owned()
    } else {
        "the connection broke before it answered".to_owned()
    }
}

/// A stream of which only so much may be read.
struct Bounded<S> {
    stream: S,
    left: Arc<AtomicUsize>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        let left = self.left.load(Ordering::Relaxed);
        if left != usize::MAX {
            // Only this side counts down; the other only ever lifts the bound.
            let counted =
                self.left.compare_exchange(left, left.saturating_sub(read), Ordering::Relaxed, Ordering::Relaxed);
            if counted.is_ok() && read > left {
                return Poll::Ready(Err(io::Error::other("too much before the answer")));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    async fn check(piece: &'static [u8]) {
        let (ours, mut theirs) = duplex(1024);
        let server = tokio::spawn(async move {
            // Who speaks without being asked is refused at once.
            theirs.read_u8().await.unwrap();
            while theirs.write_all(piece).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let answer = exchange(ours, request, Duration::from_millis(100)).await;
        assert_eq!(answer.err().as_deref(), Some("no answer within 1 s"), "{piece:?}");
        // The connection is let go, too.
        server.await.unwrap();
    }

    /// EN-6
    #[tokio::test]
    async fn who_is_silent_or_dribbles_is_waited_for_only_so_long() {
        let (ours, _theirs) = duplex(1024);
        let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
        let answer = exchange(ours, request, Duration::from_millis(50)).await;
        assert_eq!(answer.err().as_deref(), Some("no answer within 1 s"));
        check(b"\r\n").await;
        check(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    }
}
