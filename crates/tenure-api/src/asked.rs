//! One request whose sender is known: what it names, what came along, and what it sends.

use crate::auth::Credential;
use crate::body;
use crate::problem::Problem;
use crate::query::Query;
use crate::state::DoorState;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use tenure_engine::{Call, Code, EngineError, IdempotencyKey, Keep, StoredAnswer};
use tenure_session::{LeaseToken, Operation};

/// The door's state as every request has it.
pub(crate) type Shared = Arc<DoorState>;

/// What every handler answers.
pub(crate) type Answered = Result<Response, Problem>;

/// In which life of its environment a session answered.
pub(crate) const GENERATION: HeaderName = HeaderName::from_static("tenure-generation");
const LEASE_TOKEN: HeaderName = HeaderName::from_static("tenure-lease-token");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request by somebody who is known.
pub(crate) struct Asked {
    /// The door.
    pub door: Shared,
    /// What is asked for.
    pub operation: Operation,
    /// Who asks.
    pub credential: Credential,
    /// The request's head.
    pub parts: Parts,
    /// What it sends. Behind a lock that nobody ever waits for: only so can a request be looked at by what may move to another thread.
    body: Mutex<Body>,
    names: Names,
}

/// What the path names.
pub(crate) enum Names {
    /// As the router found it.
    OfRoute(RawPathParams),
    /// One session.
    Session(String),
}

impl Names {
    /// Each with its kind.
    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let (route, session) = match self {
            Names::OfRoute(names) => (Some(names), None),
            Names::Session(id) => (None, Some(("id", id.as_str()))),
        };
        route.into_iter().flat_map(RawPathParams::iter).chain(session)
    }
}

/// A JSON body as it was read, and what tells this request from another.
pub(crate) struct Sent<T> {
    /// What was sent, or why it cannot be taken.
    pub body: Result<T, EngineError>,
    /// Over all that the request says, where it carries an idempotency key.
    pub idempotency: Option<IdempotencyKey>,
}

impl Asked {
    /// Takes a request apart.
    pub async fn new(
        door: Shared,
        operation: Operation,
        credential: Credential,
        mut parts: Parts,
        body: Body,
    ) -> Result<Asked, Problem> {
        let names = RawPathParams::from_request_parts(&mut parts, &()).await;
        let names = names.map_err(|_| Problem::new(Code::BadRequest, "the path is not UTF-8"))?;
        Asked::of(door, operation, credential, parts, body, Names::OfRoute(names))
    }

    /// The same, where what the path names is known.
    pub fn of(
        door: Shared,
        operation: Operation,
        credential: Credential,
        parts: Parts,
        body: Body,
        names: Names,
    ) -> Result<Asked, Problem> {
        let asked = Asked { door, operation, credential, parts, body: Mutex::new(body), names };
        if !asked.credential.is_for(asked.id()) {
            return Err(Problem::unauthenticated());
        }
        Ok(asked)
    }

    /// A name in the path; empty where the route has none of this kind.
    pub fn name(&self, kind: &str) -> &str {
        self.names.iter().find(|(name, _)| *name == kind).map_or("", |(_, value)| value)
    }

    /// The session's ID, as it was written.
    pub fn id(&self) -> &str {
        self.name("id")
    }

    /// The query, in which only these parameters may stand.
    pub fn query(&self, known: &[&str]) -> Result<Query<'_>, EngineError> {
        Query::read(self.parts.uri.query(), known)
    }

    /// The request as the engine sees it.
    pub fn call(&self) -> Result<Call, Problem> {
        let token = self.header(&LEASE_TOKEN)?.map(|text| text.parse().map(LeaseToken)).transpose();
        let token = token
            .map_err(|_| Problem::new(Code::BadRequest, "Tenure-Lease-Token is a number: the token of the lease"))?;
        Ok(Call { token, ..Call::by(self.credential.caller.clone()) })
    }

    /// The answer to a request that cannot be understood: what the gate says of it first, so that the order of the checks holds.
    pub async fn misread(&self, error: EngineError) -> Problem {
        match self.call() {
            Ok(call) => self.door.engine.misread(&call, self.operation, Some(self.id()), error).await.into(),
            Err(problem) => problem,
        }
    }

    /// What it sends, as it comes. It comes once.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads a JSON body. An empty one is an empty object, where `empty` says so.
    pub async fn json<T: DeserializeOwned>(&mut self, empty: Empty) -> Result<Sent<T>, Problem> {
        let sent = self.take_body();
        let sent = body::small(&self.parts.headers, sent).await?;
        let idempotency = self.idempotency(sent.as_deref().unwrap_or_default())?;
        let body = sent.and_then(|bytes| match (bytes.is_empty(), empty) {
            (true, Empty::Object) => body::json(b"{}"),
            (false, Empty::Object | Empty::Refused) | (true, Empty::Refused) => body::json(&bytes),
        });
        Ok(Sent { body, idempotency })
    }

    /// The key of a request, and the digest of all it says: its operation, what its path names, and its body, canonical where it is JSON.
    fn idempotency(&self, bytes: &[u8]) -> Result<Option<IdempotencyKey>, Problem> {
        let Some(key) = self.header(&IDEMPOTENCY_KEY)? else { return Ok(None) };
        let names: Vec<&str> = self.names.iter().map(|(_, value)| value).collect();
        let body = match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(value) => json!({ "json": value }),
            Err(_) => json!({ "raw": tenure_digest::digest_bytes(bytes).to_string() }),
        };
        let said = json!({ "operation": self.operation.row().name, "names": names, "body": body });
        let digest = tenure_digest::digest(&said).map_err(|error| EngineError::Internal(error.to_string()))?;
        Ok(Some(IdempotencyKey { key: key.to_owned(), digest: digest.to_string() }))
    }

    fn header(&self, name: &HeaderName) -> Result<Option<&str>, Problem> {
        let Some(value) = self.parts.headers.get(name) else { return Ok(None) };
        let text = value.to_str();
        text.map(Some).map_err(|_| Problem::new(Code::BadRequest, format!("the header {name} is not plain text")))
    }
}

/// What an empty body stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// An object without fields.
    Object,
    /// Nothing: it is refused.
    Refused,
}

/// A JSON answer.
pub(crate) fn json_answer<T: Serialize>(status: StatusCode, body: &T) -> Answered {
    let bytes = serde_json::to_vec(body).map_err(|error| EngineError::Internal(error.to_string()))?;
    Ok(raw_json(status, bytes))
}

/// A JSON answer, 200.
pub(crate) fn ok<T: Serialize>(body: &T) -> Answered {
    json_answer(StatusCode::OK, body)
}

/// An answer without a body.
pub(crate) fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn raw_json(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(bytes)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Says in which life of its environment the session answered.
pub(crate) fn with_generation(mut response: Response, generation: u64) -> Response {
    response.headers_mut().insert(GENERATION, HeaderValue::from(generation));
    response
}

/// Answers a request that may come twice: keeps the answer under its key before it is sent.
pub(crate) async fn kept<T: Serialize>(result: Result<(StatusCode, T), EngineError>, keep: Option<Keep>) -> Answered {
    let (status, bytes, problem) = match result {
        Ok((status, body)) => {
            let bytes = serde_json::to_vec(&body).map_err(|error| EngineError::Internal(error.to_string()))?;
            (status, bytes, None)
        }
        Err(error) => {
            let problem = Problem::from(error);
            (problem.status(), problem.body(), Some(problem))
        }
    };
    // What the service cannot do now says nothing of the request: asked again, it is answered from what became of it.
    let passes = |problem: &Problem| matches!(problem.code(), Code::Unavailable | Code::Recovering | Code::Internal);
    if let Some(keep) = keep
        && !problem.as_ref().is_some_and(passes)
    {
        keep.answered(status.as_u16(), bytes.clone()).await;
    }
    match problem {
        Some(problem) => Err(problem),
        None => Ok(raw_json(status, bytes)),
    }
}

/// An answer as it was given before.
pub(crate) fn replayed(answer: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = raw_json(status, answer.body);
    if status.is_client_error() || status.is_server_error() {
        response.headers_mut().insert(CONTENT_TYPE, crate::problem::PROBLEM_JSON);
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Whether the same request under the same key is answered the same (LC-6).
pub(crate) fn takes_idempotency_keys(operation: Operation) -> bool {
    matches!(operation, Operation::SessionCreate | Operation::ExecRun)
}
