//! What is sent along with a request: bounded in size and in time, and read as JSON, or passed on as it comes.

use crate::problem::Problem;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::time::Duration;
use tenure_engine::{Code, EngineError};
use tenure_session::InvalidField;

/// Most bytes of a JSON body.
pub(crate) const JSON_MAX: u64 = 1 << 20;

/// How long a whole JSON body may take, and how long the next bytes of a streamed one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a body that is small. One that is too large is for the engine to refuse, once it knows that the caller may ask at all.
pub(crate) async fn small(headers: &HeaderMap, body: Body) -> Result<Result<Bytes, EngineError>, Problem> {
    if let Some(length) = content_length(headers)
        && length > JSON_MAX
    {
        return Ok(Err(too_large(length)));
    }
    let collected = async {
        let mut stream = body.into_data_stream();
        let mut all = BytesMut::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| broken())?;
            if (all.len() + chunk.len()) as u64 > JSON_MAX {
                return Ok(Err(too_large((all.len() + chunk.len()) as u64)));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(Ok(all.freeze()))
    };
    tokio::time::timeout(PATIENCE, collected).await.unwrap_or_else(|_| Err(late()))
}

/// How many bytes are announced.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Passes a body on as it comes, as long as it comes.
pub(crate) fn streamed(body: Body) -> impl Stream<Item = Result<Bytes, StreamError>> + Send {
    let chunks = Box::pin(body.into_data_stream());
    stream::unfold(Some(chunks), |chunks| async move {
        let mut chunks = chunks?;
        match tokio::time::timeout(PATIENCE, chunks.next()).await {
            Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(chunks))),
            Ok(None) => None,
            Ok(Some(Err(_))) => Some((Err(StreamError::Broken), None)),
            Err(_) => Some((Err(StreamError::Late), None)),
        }
    })
}

/// Why a streamed body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamError {
    /// The connection broke.
    Broken,
    /// Nothing came for too long.
    Late,
}

impl From<StreamError> for EngineError {
    fn from(error: StreamError) -> EngineError {
        match error {
            StreamError::Broken => EngineError::BadRequest("the request's body broke off".to_owned()),
            StreamError::Late => EngineError::Conflict { code: Code::RequestTimeout, what: LATE.to_owned() },
        }
    }
}

const LATE: &str = "the request's body did not arrive in time";

fn late() -> Problem {
    Problem::new(Code::RequestTimeout, LATE)
}

fn broken() -> Problem {
    Problem::new(Code::BadRequest, "the request's body broke off")
}

fn too_large(value: u64) -> EngineError {
    EngineError::TooLarge { what: "the request's body".to_owned(), value, limit: JSON_MAX }
}

/// Reads JSON: what is no JSON cannot be understood, what is JSON of another shape cannot be so, and both say where.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EngineError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        misread(&path, error.inner())
    })?;
    reader.end().map_err(|error| misread("", &error))?;
    Ok(value)
}

fn misread(path: &str, error: &serde_json::Error) -> EngineError {
    match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => {
            EngineError::BadRequest(format!("the request's body is no JSON: {}", bounded(&error.to_string())))
        }
        Category::Data => wrong_shape(path, &error.to_string()),
    }
}

/// What serde says about the shape of a value, as the names of fields.
fn wrong_shape(path: &str, said: &str) -> EngineError {
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let inside = |field: &str| match path {
        "" | "." => field.to_owned(),
        path => format!("{path}.{field}"),
    };
    if let Some(field) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return EngineError::Invalid { missing: vec![inside(field)], invalid: Vec::new() };
    }
    let field = match path {
        "" | "." => "body",
        path => path,
    };
    EngineError::Invalid { missing: Vec::new(), invalid: vec![InvalidField::new(bounded(field), bounded(said))] }
}

/// The words come from the caller in part: not more of them than need be.
fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        count: u32,
    }

    fn check(text: &str, code: Code, names: &str) {
        let error = json::<Outer>(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{text}");
        assert!(format!("{error:?}").contains(names), "{error:?}");
    }

    /// AP-1
    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        check("{", Code::BadRequest, "no JSON");
        check("", Code::BadRequest, "no JSON");
        check(r#"{"inner":{"count":1}} x"#, Code::BadRequest, "no JSON");
        check(r#"{"inner":{}}"#, Code::Validation, r#"missing: ["inner.count"]"#);
        check(r#"{"inner":{"count":-1}}"#, Code::Validation, r#"field: "inner.count""#);
        check(r#"{"inner":{"count":1,"more":1}}"#, Code::Validation, "more");
        check("[]", Code::Validation, "");
    }
}
