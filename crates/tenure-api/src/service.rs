//! The service itself: whether it runs, whether it answers, what it counts, what it can be asked.

use crate::asked::{Answered, Asked, Shared, ok};
use crate::openapi;
use crate::wire::service::Health;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tenure_engine::EngineError;

const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

pub(crate) async fn metrics(asked: Asked) -> Answered {
    let text = asked.door.engine.metrics_text(&asked.call()?).await?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
    Ok(response)
}

pub(crate) async fn health(_: Shared) -> Answered {
    ok(&Health { status: "ok", low: Vec::new() })
}

/// Ready is who takes work, and whose store does. A host that runs low is said and no reason to be taken out of service: what there is goes on.
pub(crate) async fn ready(door: Shared) -> Answered {
    if door.engine.is_draining() {
        let chain = "draining".to_owned();
        return Err(EngineError::Unavailable { what: "the service is about to stop", chain }.into());
    }
    door.engine.probe().await?;
    let low = door.engine.host_low().into_iter().map(|mark| mark.name).collect();
    ok(&Health { status: "ok", low })
}

pub(crate) async fn openapi(_: Shared) -> Answered {
    let mut response = Response::new(Body::from(Bytes::from_static(openapi::document_json())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
