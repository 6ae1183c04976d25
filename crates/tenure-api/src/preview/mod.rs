//! The guard of previews: what passes between a visitor and a server inside a session, and what does not (EN-6).
//!
//! ```text
//! /v1/sessions/{id}/preview/{port}/…            by a key or a token in the header ─┐
//!   …/?ticket=tkt_…  ─303─►  …/~pvt_…/…         by a token in the path            ─┼─► enter.rs ─► engine's gate ─► forward.rs ─► connection.rs
//! {port}-{compact id}.{domain}/?ticket=tkt_…    by a token in a cookie            ─┘  who, where       inwards.rs ▼   ▲ outwards.rs   │ the agent dials
//!                              ─303─► /                                                                        the server inside ◄───┘
//! ```
//!
//! Both sides are strangers. The server inside is hostile to whoever visits it and to this service: it hears no credential of Tenure's, and what it says is
//! bounded, read strictly and written anew. Whoever visits must be let in by the gate for every request, and is cut off when the session, the credential or
//! the service ends.
//!
//! - **By path** a page shares the service's own origin. It is answered with a content security policy that takes this origin away from it (`sandbox` without
//!   `allow-same-origin`), sets no cookies, and only headers that are known to do no harm pass. Links that begin with `/` do not find their way back
//!   here: a server can build them with `X-Forwarded-Prefix`, or be visited by host.
//! - **By host** a page has an origin of its own, below a domain that serves nothing else. Its own cookies pass, if they are for this host alone. The domain
//!   should be on the public suffix list, so that browsers keep the pages of different sessions apart as different sites.
//! - A token in a path or cookie is bound to session and port, holds for at most 12 h and never longer than the credential that the ticket was made with.
//!   Pages of the preview see the token in their own address; it lets them do what they can do anyway.

mod body;
mod connection;
mod enter;
mod forward;
mod health;
mod inwards;
mod outwards;
mod place;
mod upgrade;

use crate::asked::Shared;
use crate::problem::Problem;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
pub(crate) use health::health;
pub(crate) use place::{host_name, path_of};

/// Answers a request for a preview by path.
pub(crate) async fn at_path(door: &Shared, request: Request) -> Response {
    answered(enter::at_path(door, request).await)
}

/// Answers a request for a preview by host.
pub(crate) async fn at_host(door: &Shared, request: Request) -> Response {
    answered(enter::at_host(door, request).await)
}

fn answered(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(Problem::into_response)
}
