//! Every error that leaves the door, in one shape: RFC 9457 problem details with a code, a hint and what the case needs (AP-1).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::any::Any;
use tenure_engine::{Captured, Code, EngineError};
use tenure_session::{End, Failure, Lookup, SessionId, State, Timestamp};

/// The media type of a problem.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What to do about a session that was archived.
const ARCHIVED: &str =
    "nothing changes or brings back a session that was archived; include_deleted=true reads what is left of it";

/// An error on its way to the caller.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    code: Code,
    detail: String,
    /// What to do about it, where it is not what the code says.
    hint: Option<&'static str>,
    /// What this case needs beside what every problem has.
    more: Map<String, Value>,
    /// For the operator only.
    chain: Option<String>,
}

/// What the door writes into the log about an answer; travels with it, never over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    /// The problem.
    pub problem: Problem,
}

impl Problem {
    /// With this code, and this to say about it.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), hint: None, more: Map::new(), chain: None }
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// No valid credential came.
    pub fn unauthenticated() -> Problem {
        Problem::new(Code::Unauthenticated, "no valid credential came with the request")
    }

    /// There is no such route.
    pub fn no_route() -> Problem {
        Problem::new(Code::RouteNotFound, "there is no such route")
    }

    /// A handler panicked: a bug.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Problem {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        EngineError::Internal(format!("panicked: {said}")).into()
    }

    /// What happened, for the caller.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What the operator should read and the caller should not.
    pub fn chain(&self) -> Option<&str> {
        self.chain.as_deref()
    }

    /// Its HTTP status.
    pub fn status(&self) -> StatusCode {
        // Every status of the table is one; a test goes through it.
        StatusCode::from_u16(self.code.row().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// As it is written.
    pub fn body(&self) -> Vec<u8> {
        let row = self.code.row();
        let fixed = Written {
            kind: format_args!("urn:tenure:problem:{}", row.name.to_ascii_lowercase()).to_string(),
            title: row.title,
            status: row.status,
            detail: &self.detail,
            code: row.name,
            hint: self.hint.unwrap_or(row.hint),
            more: &self.more,
        };
        serde_json::to_vec(&fixed).unwrap_or_default()
    }

    /// The answer.
    pub(crate) fn answer(&self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.code.row().status {
            401 => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tenure\""));
            }
            429 | 503 => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    hint: &'a str,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.answer();
        response.extensions_mut().insert(Logged { problem: self });
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Problem {
        let chain = error.chain().map(str::to_owned);
        let problem = Problem { chain, ..Problem::new(error.code(), error.to_string()) };
        match error {
            EngineError::Invalid { missing, invalid } => {
                let invalid: Vec<_> = invalid
                    .into_iter()
                    .map(|field| json!({ "field": field.field, "problem": field.problem }))
                    .collect();
                problem.with("missing_fields", missing).with("invalid_fields", invalid)
            }
            EngineError::NoSession { id, lookup } => problem.with("session_id", id).with("reason", lookup_word(lookup)),
            EngineError::InvalidFormat(_) => problem.with("reason", lookup_word(Lookup::InvalidFormat)),
            EngineError::Gone { id, state, end, captured } => gone(problem, &id, state, &end, captured),
            EngineError::Archived { id, state, end, archived_at } => {
                let problem = Problem { hint: Some(ARCHIVED), ..gone(problem, &id, state, &end, None) };
                problem.with("archived_at", instant(archived_at))
            }
            EngineError::Transition(illegal) => {
                let allowed: Vec<_> = illegal.allowed().iter().map(|state| state.as_str()).collect();
                problem.with("state", illegal.from.as_str()).with("allowed_transitions", allowed)
            }
            EngineError::TooLarge { value, limit, .. } => problem.with("value", value).with("limit", limit),
            EngineError::Unenforced(limits) => problem.with("unenforced", limits),
            EngineError::ExecLimit { limit } => problem.with("limit", limit),
            EngineError::Unreachable { port, .. } => problem.with("port", port),
            EngineError::Init { id, failure } => {
                problem.with("session_id", id.as_str()).with("failure", failure_shown(&failure))
            }
            EngineError::HostLow(mark) => {
                problem.with("mark", mark.name).with("limit", mark.limit).with("value", mark.value)
            }
            EngineError::BadRequest(_)
            | EngineError::Denied
            | EngineError::Missing { .. }
            | EngineError::Conflict { .. }
            | EngineError::StaleLease
            | EngineError::Recovering
            | EngineError::DiskFull
            | EngineError::Unavailable { .. }
            | EngineError::Internal(_) => problem,
        }
    }
}

fn gone(problem: Problem, id: &SessionId, state: State, end: &End, captured: Option<Captured>) -> Problem {
    let problem = problem
        .with("session_id", id.as_str())
        .with("state", state.as_str())
        .with("reason", end.reason.as_str())
        .with("terminated_at", instant(end.at))
        .with("termination_detail", end.detail.clone());
    let problem = match &end.failure {
        Some(failure) => problem.with("failure", failure_shown(failure)),
        None => problem,
    };
    match captured {
        Some(Captured { stdout, stderr }) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            problem.with("captured", json!({ "stdout": text(&stdout), "stderr": text(&stderr) }))
        }
        None => problem,
    }
}

/// A failure without what only the operator should read.
pub(crate) fn failure_shown(failure: &Failure) -> Value {
    let shown = Failure { technical_details: None, ..failure.clone() };
    serde_json::to_value(shown).unwrap_or_default()
}

fn instant(at: Timestamp) -> String {
    at.to_string()
}

fn lookup_word(lookup: Lookup) -> &'static str {
    match lookup {
        Lookup::Ok => "ok",
        Lookup::InvalidFormat => "invalid_format",
        Lookup::NeverExisted => "never_existed",
        Lookup::Deleted => "deleted",
        Lookup::Archived => "archived",
    }
}
