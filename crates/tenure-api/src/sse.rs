//! Server-sent events: what is told as it happens, until it is over, its credential ends, or the door closes (ST-2, AU-2).

use crate::asked::Asked;
use crate::problem::Problem;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use std::convert::Infallible;
use std::time::Duration;
use tenure_engine::EngineError;

/// How often something is sent where nothing happens, so that whoever stands between does not believe the stream dead.
const STILL_HERE: Duration = Duration::from_secs(15);

const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// One event as it is written.
pub(crate) fn event<T: Serialize>(name: &str, data: &T) -> Bytes {
    // JSON holds no line breaks, so that it is one line of data.
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// The event of a stream that cannot go on: the problem, as it would have been answered.
pub(crate) fn failed(error: EngineError) -> Bytes {
    let problem = Problem::from(error);
    if let Some(chain) = problem.chain() {
        tracing::error!(code = problem.code().row().name, chain, "a stream cannot go on");
    }
    let body = String::from_utf8(problem.body()).unwrap_or_default();
    Bytes::from(format!("event: error\ndata: {body}\n\n"))
}

/// The answer that is these events, one after another.
pub(crate) fn answer(asked: &Asked, events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let credential_ended = Box::pin(asked.credential.ended(&asked.door));
    let closing = Box::pin(asked.door.closing.clone().cancelled_owned());
    let state = (Box::pin(events), credential_ended, closing);
    let body = stream::unfold(state, |(mut events, mut credential_ended, mut closing)| async move {
        let bytes = tokio::select! {
            biased;
            () = &mut closing => None,
            () = &mut credential_ended => None,
            event = events.next() => event,
            () = tokio::time::sleep(STILL_HERE) => Some(Bytes::from_static(b": still here\n\n")),
        };
        bytes.map(|bytes| (Ok::<_, Infallible>(bytes), (events, credential_ended, closing)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
    response
}
