//! One request, once it is known who sends it and where to: through the gate, inside, and back.

use crate::asked::Shared;
use crate::auth::Credential;
use crate::preview::body::Guarded;
use crate::preview::connection::{Exchange, HEAD_TIME, exchange};
use crate::preview::inwards::{self, Authorization};
use crate::preview::{outwards, upgrade};
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header, uri::PathAndQuery};
use hyper::upgrade::OnUpgrade;
use std::pin::Pin;
use tenure_engine::{Call, EngineError, Permit};

/// Ready when whatever goes on must stop: the session, the credential or the service has ended.
pub(super) type Until = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How a preview looks from outside.
#[derive(Debug, Clone)]
pub(super) struct Outside {
    /// By path or by host.
    pub kind: Kind,
    /// The session, as it was written.
    pub session: String,
    /// The port, as it was written.
    pub port_asked: String,
    /// The port inside.
    pub port: u16,
    /// The host, as the visitor wrote it.
    pub host: String,
    /// Whether it is reached over HTTPS.
    pub https: bool,
    /// Whether the request comes from a page without an origin.
    pub opaque: bool,
}

/// By path or by host.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Below a path of the service's own.
    Path {
        /// The path as everybody may know it.
        public: String,
        /// The path as this visitor writes it, token and all.
        own: String,
        /// Whether a token lets the visitor in, which then whoever knows the address has.
        by_token: bool,
    },
    /// On a host of its own.
    Host,
}

impl Outside {
    /// The scheme.
    pub fn proto(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// Passes a request on and its answer back.
pub(super) async fn forward(
    door: &Shared,
    credential: &Credential,
    outside: &Outside,
    target: PathAndQuery,
    authorization: Authorization,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let call = Call::by(credential.caller.clone());
    let connection = door.engine.preview_open(&call, &outside.session, &outside.port_asked).await?;
    let visitor = upgrade::asks(&parts).then(|| parts.extensions.remove::<OnUpgrade>()).flatten();
    let inside = inwards::request(&parts, target.clone(), authorization, outside);
    let body = if visitor.is_some() { Body::empty() } else { body };
    let inside = Request::from_parts(inside, body);
    let (permit, stream) = (connection.permit, connection.stream);
    let unreachable = |why| EngineError::Unreachable { port: outside.port, why };
    let answer = permit.race(async { exchange(stream, inside, HEAD_TIME).await.map_err(unreachable) });
    let exchanged = tokio::select! {
        answer = answer => answer?,
        () = credential.ended(door) => return Err(Problem::unauthenticated()),
    };
    let until = until(door, permit, credential);
    match visitor {
        Some(visitor) if upgrade::agrees(&exchanged.response) => Ok(switched(visitor, exchanged, until)),
        Some(_) | None => answered(&parts, &target, outside, exchanged, until),
    }
}

/// The permit is held for as long as this is: until then the session is at work.
fn until(door: &Shared, permit: Permit, credential: &Credential) -> Until {
    let (credential, closing) = (credential.ended(door), door.closing.clone());
    Box::pin(async move {
        tokio::select! {
            _ = permit.ended() => {}
            () = credential => {}
            () = closing.cancelled() => {}
        }
    })
}

fn answered(
    asked: &Parts,
    target: &PathAndQuery,
    outside: &Outside,
    exchanged: Exchange,
    until: Until,
) -> Result<Response, Problem> {
    let Exchange { response, mover } = exchanged;
    let (theirs, body) = response.into_parts();
    if theirs.status.is_informational() {
        let why = "it switches to a protocol that nobody asked for".to_owned();
        return Err(EngineError::Unreachable { port: outside.port, why }.into());
    }
    let ours = outwards::response(&theirs, &asked.method, target.as_str(), outside);
    Ok(Response::from_parts(ours, Body::new(Guarded::new(body, until, mover))))
}

/// The answer to the handshake of a WebSocket: what makes it one, and nothing else.
fn switched(visitor: OnUpgrade, exchanged: Exchange, until: Until) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let (theirs, ours): (&HeaderMap, _) = (exchanged.response.headers(), response.headers_mut());
    for name in [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_PROTOCOL, header::SEC_WEBSOCKET_EXTENSIONS] {
        if let Some(value) = theirs.get(&name) {
            ours.insert(name, value.clone());
        }
    }
    upgrade::say(ours);
    upgrade::join(visitor, exchanged, until);
    response
}
