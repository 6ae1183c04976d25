//! The operations that come thousands of times a second, found without the router: it costs as much as the rest of such a request.
//!
//! They pass the same checks and have the same handlers; what is not written exactly as they are goes to the router, which knows them, too.

use crate::asked::{Answered, Asked, Names, Shared};
use crate::pass::pass;
use crate::{auth, lease, session};
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use std::pin::Pin;
use tenure_session::Operation;

const SESSIONS: &str = "/v1/sessions/";
/// As many bytes as every session's ID has.
const ID_BYTES: usize = 29;

type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// The operations that are found here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Often {
    Heartbeat,
    SessionGet,
}

impl Often {
    fn operation(self) -> Operation {
        match self {
            Often::Heartbeat => Operation::LeaseHeartbeat,
            Often::SessionGet => Operation::SessionGet,
        }
    }
}

/// The answer to such a request; any other request is handed back, and costs no allocation more for it.
#[expect(clippy::result_large_err, reason = "it is no failure, and is moved once")]
pub(crate) fn answer(door: &Shared, request: Request) -> Result<Answering, Request> {
    let Some((often, id)) = find(request.method(), request.uri().path()) else { return Err(request) };
    let (door, id) = (door.clone(), id.to_owned());
    Ok(match often {
        Often::Heartbeat => Box::pin(answered(door, often, id, request, lease::heartbeat)),
        Often::SessionGet => Box::pin(answered(door, often, id, request, session::get)),
    })
}

async fn answered<H, F>(door: Shared, often: Often, id: String, request: Request, handle: H) -> Response
where
    H: FnOnce(Asked) -> F,
    F: Future<Output = Answered>,
{
    let operation = often.operation();
    pass(door, Some(operation), request, move |door, request| async move {
        let (parts, body) = request.into_parts();
        let credential = auth::credential(&door, operation, &parts)?;
        handle(Asked::of(door, operation, credential, parts, body, Names::Session(id))?).await
    })
    .await
}

fn find<'p>(method: &Method, path: &'p str) -> Option<(Often, &'p str)> {
    let (id, rest) = path.strip_prefix(SESSIONS)?.split_at_checked(ID_BYTES)?;
    // What may stand for something else in a path is the router's.
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    match (rest, method == Method::GET, method == Method::POST) {
        ("", true, _) => Some((Often::SessionGet, id)),
        ("/heartbeat", _, true) => Some((Often::Heartbeat, id)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{RouteMethod, route};

    const ID: &str = "exec_20261121_020944_4ad060d9";

    /// AP-1
    #[test]
    fn what_comes_often_is_found_where_the_table_has_it() {
        for often in [Often::Heartbeat, Often::SessionGet] {
            let route = route(often.operation());
            let method = match route.method {
                RouteMethod::Get => Method::GET,
                RouteMethod::Post => Method::POST,
                RouteMethod::Put | RouteMethod::Delete | RouteMethod::Any => unreachable!("not one of these"),
            };
            assert_eq!(find(&method, &route.path.replace("{id}", ID)), Some((often, ID)));
        }
    }

    /// AP-1
    #[test]
    fn what_is_written_otherwise_is_the_routers() {
        let check = |method: Method, path: &str| assert_eq!(find(&method, path), None, "{method} {path}");
        check(Method::GET, &format!("/v1/sessions/{ID}/heartbeat"));
        check(Method::HEAD, &format!("/v1/sessions/{ID}"));
        check(Method::POST, &format!("/v1/sessions/{ID}"));
        check(Method::GET, &format!("/v1/sessions/{ID}/"));
        check(Method::GET, "/v1/sessions/exec_20261121_020944_4ad060%39");
        check(Method::GET, "/v1/sessions/short");
        check(Method::GET, "/v1/sessions/exec_20261121_020944_4ad060dö");
        check(Method::GET, "/v1/sessions");
    }
}
