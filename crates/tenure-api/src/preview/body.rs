//! The body of an answer on its way out: passed on as it comes, and cut off when it may not go on.

use crate::preview::forward::Until;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::task::AbortOnDropHandle;

/// A body that is cut off, and not ended, when its time is over: whoever reads it must not take it for all there was.
pub(super) struct Guarded {
    body: Incoming,
    until: Until,
    /// The connection lives as long as its answer is read.
    _mover: AbortOnDropHandle<()>,
}

impl Guarded {
    /// Passes on until then.
    pub fn new(body: Incoming, until: Until, mover: AbortOnDropHandle<()>) -> Guarded {
        Guarded { body, until, _mover: mover }
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(io::Error::other("the preview has ended"))));
        }
        loop {
            return match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                    // Trailers are headers that nobody looked at.
                    Err(_) => continue,
                },
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
