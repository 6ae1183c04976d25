//! Whether a server inside answers (EN-6).

use crate::asked::Shared;
use crate::preview::connection::exchange;
use crate::preview::inwards::authority;
use crate::problem::Problem;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Empty;
use tenure_engine::{Call, EngineError, PreviewHealth};

/// Whether a server inside answers, at which port, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// Whether it answered `GET /` within 5 s with a status below 500. A server that says "not found" or "not allowed" is well; one that says it failed
    /// is not.
    pub healthy: bool,
    /// The port.
    pub port: u16,
    /// What it answered.
    pub status_code: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// Asks a registered port for `/`. It is no activity of the session's.
pub(crate) async fn health(door: &Shared, call: &Call, id: &str, port: &str) -> Result<Health, Problem> {
    let listens = door.engine.preview_health(call, id, port).await?;
    // The engine has read it before: it is one.
    let port: u16 = port.parse().map_err(|_| EngineError::field("port", "must be 1024 to 65535"))?;
    let (connection, left) = match listens {
        PreviewHealth::Silent(why) => return Ok(unhealthy(port, why)),
        PreviewHealth::Listens(connection, left) => (connection, left),
    };
    let request = Request::get("/").header(header::HOST, authority(port)).header(header::USER_AGENT, "tenure-health");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| EngineError::Internal(error.to_string()))?;
    let (permit, stream) = (connection.permit, connection.stream);
    let answer = permit.race(async { Ok(exchange(stream, request, left).await) }).await?;
    Ok(match answer {
        Ok(exchange) => {
            let status = exchange.response.status();
            let healthy = status.as_u16() < 500 && !status.is_informational();
            Health { healthy, port, status_code: Some(status.as_u16()), error: None }
        }
        Err(why) => unhealthy(port, why),
    })
}

fn unhealthy(port: u16, why: String) -> Health {
    Health { healthy: false, port, status_code: None, error: Some(why) }
}
