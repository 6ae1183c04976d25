//! What every request passes, whatever it asks for: bounds, host, origin, and one shape for whatever goes wrong.

use crate::asked::{Answered, Shared};
use crate::host::{host, same_origin};
use crate::preview;
use crate::problem::{Logged, Problem};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tenure_engine::Code;
use tenure_session::Operation;

/// Most bytes of a request's head, and most headers in it. The connection takes somewhat more, so that the answer can say so.
const HEAD_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 100;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// Names requests: a number of this process that nobody chose, counted on.
pub(crate) struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    /// From anywhere on.
    pub fn new() -> RequestIds {
        let mut start = [0; 8];
        // Not a secret: it only keeps the requests of two processes apart.
        let _ = getrandom::fill(&mut start);
        RequestIds { next: AtomicU64::new(u64::from_be_bytes(start)) }
    }

    fn next(&self) -> HeaderValue {
        let mut text = [0; 16];
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        match hex::encode_to_slice(number, &mut text).map(|()| HeaderValue::from_bytes(&text)) {
            Ok(Ok(value)) => value,
            Ok(Err(_)) | Err(_) => HeaderValue::from_static("0"),
        }
    }
}

/// Answers a request: what is the same for all here, the rest by `work`.
pub(crate) async fn pass<W, F>(door: Shared, operation: Option<Operation>, request: Request, work: W) -> Response
where
    W: FnOnce(Shared, Request) -> F,
    F: Future<Output = Answered>,
{
    let (begun, id) = (Instant::now(), door.request_ids.next());
    let answered = AssertUnwindSafe(checked(door.clone(), operation, request, work)).catch_unwind().await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(panic) => Problem::panicked(&*panic).into_response(),
    };
    if let Some(Logged { problem }) = response.extensions_mut().remove() {
        log(&problem, operation, &id);
        if problem.code() == Code::Internal {
            response = problem.with("request_id", id.to_str().unwrap_or_default()).answer();
        }
    }
    let headers = response.headers_mut();
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    headers.insert(REQUEST_ID, id);
    if let Some(operation) = operation {
        door.meters.answered(operation, response.status().as_u16(), begun.elapsed());
    }
    response
}

async fn checked<W, F>(door: Shared, operation: Option<Operation>, request: Request, work: W) -> Answered
where
    W: FnOnce(Shared, Request) -> F,
    F: Future<Output = Answered>,
{
    let (parts, body) = request.into_parts();
    head_holds(&parts)?;
    let host = host(&parts.headers).filter(|host| door.hosts.holds(host)).ok_or_else(wrong_host)?;
    if door.hosts.is_preview(host) {
        return Ok(preview::at_host(&door, Request::from_parts(parts, body)).await);
    }
    // What comes to a preview by path is judged there: pages of tenants talk to themselves.
    let is_preview = operation == Some(Operation::PreviewProxy);
    if !is_preview && !matches!(parts.method, Method::GET | Method::HEAD) && !same_origin(&parts.headers) {
        return Err(Problem::new(Code::AccessDenied, "the request comes from a page of another origin"));
    }
    work(door, Request::from_parts(parts, body)).await
}

fn wrong_host() -> Problem {
    Problem::new(Code::BadRequest, "the header Host does not name this service")
}

fn head_holds(parts: &Parts) -> Result<(), Problem> {
    let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if fields + target <= HEAD_MAX && parts.headers.len() <= HEADERS_MAX {
        return Ok(());
    }
    let problem = Problem::new(Code::HeadersTooLarge, "the request's head is too large");
    Err(problem.with("limit", HEAD_MAX).with("value", fields + target))
}

/// What the caller is told in short, and whatever it is not told.
fn log(problem: &Problem, operation: Option<Operation>, id: &HeaderValue) {
    let operation = operation.map_or("none", |operation| operation.row().name);
    let (code, chain) = (problem.code().row(), problem.chain().unwrap_or_default());
    if code.status >= 500 && problem.chain().is_some() {
        tracing::error!(request = ?id, operation, code = code.name, chain, "{}", problem.detail());
    } else {
        tracing::debug!(request = ?id, operation, code = code.name, chain, "{}", problem.detail());
    }
}
