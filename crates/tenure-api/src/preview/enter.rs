//! Who visits a preview, and whether the request comes from where it may: judged before anything else (AU-2, EN-6).

use crate::asked::Shared;
use crate::auth::{self, Credential};
use crate::host::{host, same_origin};
use crate::preview::forward::{Kind, Outside, forward};
use crate::preview::inwards::{self, Authorization};
use crate::preview::place::{HostPlace, PathPlace, path_of};
use crate::preview::{outwards, upgrade};
use crate::problem::Problem;
use crate::ticket::{Grant, Issued, NotIssued, Purpose};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tenure_engine::Code;
use tenure_session::SessionId;

/// What every key's secret begins with.
const KEY_PREFIX: &str = "tnr_";
/// The cookie that carries a token on a preview's own host. Under HTTPS its name keeps other hosts of the domain from setting it.
const COOKIE: &str = "tenure_preview";
const COOKIE_HTTPS: &str = "__Host-tenure_preview";
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// Whether a cookie is Tenure's.
pub(super) fn is_our_cookie(name: &str) -> bool {
    let name = name.trim();
    name.eq_ignore_ascii_case(COOKIE) || name.eq_ignore_ascii_case(COOKIE_HTTPS)
}

/// Answers a request by path.
pub(super) async fn at_path(door: &Shared, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let Some(place) = PathPlace::read(parts.uri.path()) else { return Err(Problem::no_route()) };
    let opaque = parts.headers.get(header::ORIGIN).is_some_and(|origin| origin == "null");
    let ticket = parts.uri.query().and_then(inwards::ticket);
    let (by_header, authorization) = bearer(door, &parts);
    let by_token = place.token.is_some() || (by_header.is_none() && ticket.is_some());
    // Whoever has the token is the page that was given it, though the sandbox has taken its origin away.
    if !(same_origin(&parts.headers) || (opaque && by_token)) {
        return Err(denied("the request comes from a page of another origin"));
    }
    let credential = match (place.token, by_header, ticket) {
        (Some(token), _, _) => by_secret_of_preview(door, token, place.session, place.port),
        (None, Some(credential), _) => Some(credential),
        (None, None, Some(ticket)) => {
            let grant = spend(door, &ticket, place.session, place.port).ok_or_else(Problem::unauthenticated)?;
            if is_visit(&parts) {
                let token = exchange(door, grant)?;
                let (path, rest) = (path_of(place.session, place.port), place.rest.unwrap_or("/"));
                return see_other(&format!("{path}/~{}{rest}{}", token.secret, query(&parts)));
            }
            auth::granted(door, grant)
        }
        (None, None, None) => None,
    };
    let credential = credential.ok_or_else(Problem::unauthenticated)?;
    if parts.headers.contains_key(SERVICE_WORKER) {
        return Err(denied("previews by path have no service workers"));
    }
    if opaque && is_preflight(&parts) {
        return Ok(preflight(&parts.headers));
    }
    if place.token.is_some() && place.rest.is_none() && is_visit(&parts) {
        return see_other(&format!("{}/{}", place.outside(), query(&parts)));
    }
    let kind = Kind::Path { public: path_of(place.session, place.port), own: place.outside(), by_token };
    let outside = outside(door, kind, &parts, place.session, place.port);
    let target = inwards::target(place.rest.unwrap_or("/"), parts.uri.query()).ok_or_else(Problem::no_route)?;
    forward(door, &credential, &outside, target, authorization, Request::from_parts(parts, body)).await
}

/// Answers a request by host.
pub(super) async fn at_host(door: &Shared, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let domain = door.previews.domain.as_deref();
    let place = domain.zip(host(&parts.headers)).and_then(|(domain, host)| HostPlace::read(host, domain));
    let place = place.ok_or_else(Problem::no_route)?;
    if !same_origin(&parts.headers) || is_from_elsewhere(&parts.headers) {
        return Err(denied("the request comes from a page of another origin"));
    }
    let (session, port) = (place.session.as_str(), place.port.to_string());
    let ticket = parts.uri.query().and_then(inwards::ticket);
    let (by_header, authorization) = bearer(door, &parts);
    let mut granted = None;
    if let Some(grant) = ticket.and_then(|ticket| spend(door, &ticket, session, &port)) {
        if is_visit(&parts) {
            return entered(door, grant, &parts);
        }
        granted = auth::granted(door, grant);
    }
    let credential = granted
        .or_else(|| {
            cookie(&parts.headers, door.previews.https)
                .find_map(|token| by_secret_of_preview(door, token, session, &port))
        })
        .or(by_header)
        .ok_or_else(Problem::unauthenticated)?;
    let outside = outside(door, Kind::Host, &parts, session, &port);
    let target = inwards::target(parts.uri.path(), parts.uri.query()).ok_or_else(Problem::no_route)?;
    forward(door, &credential, &outside, target, authorization, Request::from_parts(parts, body)).await
}

fn outside(door: &Shared, kind: Kind, parts: &Parts, session: &str, port: &str) -> Outside {
    let opaque = parts.headers.get(header::ORIGIN).is_some_and(|origin| origin == "null");
    // The door lets nothing in without a host that it knows.
    let host = host(&parts.headers).unwrap_or("localhost").to_owned();
    let (session, port_asked) = (session.to_owned(), port.to_owned());
    // The gate refuses what is no port, in its turn: until then nothing is done with it.
    let port = port.parse().unwrap_or_default();
    Outside { kind, session, port_asked, port, host, https: door.previews.https, opaque }
}

fn denied(why: &str) -> Problem {
    Problem::new(Code::AccessDenied, why)
}

/// Who sent a key or a token of an issuer along; nobody, where the header says something else, which may be for the server inside. What looks like
/// Tenure's stays here, good or not.
fn bearer(door: &Shared, parts: &Parts) -> (Option<Credential>, Authorization) {
    let Some(secret) = auth::bearer(parts) else { return (None, Authorization::Theirs) };
    match auth::by_secret(door, secret) {
        Some(credential) => (Some(credential), Authorization::Ours),
        None if secret.starts_with(KEY_PREFIX) => (None, Authorization::Ours),
        None => (None, Authorization::Theirs),
    }
}

/// In whose name a preview's token lets in here, and until when.
fn by_secret_of_preview(door: &Shared, token: &str, session: &str, port: &str) -> Option<Credential> {
    let (grant, expires_at) = door.tickets.token(token, door.engine.now())?;
    let grant = is_for(&grant, session, port).then_some(grant)?;
    auth::granted(door, Grant { credential_expires_at: Some(expires_at), ..grant })
}

fn spend(door: &Shared, ticket: &str, session: &str, port: &str) -> Option<Grant> {
    let grant = door.tickets.spend(ticket, door.engine.now())?;
    is_for(&grant, session, port).then_some(grant)
}

fn is_for(grant: &Grant, session: &str, port: &str) -> bool {
    let same = |own: &SessionId, own_port: u16| own.as_str() == session && own_port.to_string() == port;
    match grant.purpose {
        Purpose::Preview { port: own_port } => same(&grant.session, own_port),
        Purpose::Terminal { .. } | Purpose::Events => false,
    }
}

/// Makes the token that a ticket stands for, where its credential is still good.
fn exchange(door: &Shared, grant: Grant) -> Result<Issued, Problem> {
    if auth::granted(door, grant.clone()).is_none() {
        return Err(Problem::unauthenticated());
    }
    door.tickets.exchange(grant, door.engine.now()).map_err(|error| match error {
        NotIssued::TooMany | NotIssued::TooManyOfUser => Problem::new(Code::Unavailable, "too many previews are open"),
        NotIssued::NoRandom => Problem::new(Code::Unavailable, "the host has no random numbers"),
    })
}

/// The answer to a ticket on a preview's own host: the token as a cookie, and the same address without the ticket.
fn entered(door: &Shared, grant: Grant, parts: &Parts) -> Result<Response, Problem> {
    let token = exchange(door, grant)?;
    let path = parts.uri.path();
    // Two slashes would name a host.
    let safe = if path.starts_with("//") { "/." } else { "" };
    let mut response = see_other(&format!("{safe}{path}{}", query(parts)))?;
    let age_s = token.expires_at.ms_since(door.engine.now()) / 1000;
    let (name, secure) = if door.previews.https { (COOKIE_HTTPS, "; Secure") } else { (COOKIE, "") };
    let cookie = format!("{name}={}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Lax{secure}", token.secret);
    response.headers_mut().insert(header::SET_COOKIE, header_value(&cookie)?);
    Ok(response)
}

/// The tokens in the request's cookies.
fn cookie(headers: &HeaderMap, https: bool) -> impl Iterator<Item = &str> {
    let ours = if https { COOKIE_HTTPS } else { COOKIE };
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.split_once('='));
    pairs.filter(move |(name, _)| name.trim() == ours).map(|(_, value)| value.trim())
}

/// Whether another page, of this domain or elsewhere, makes the browser send this: other than by leading the visitor here.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let is = |name: &str, values: &[&str]| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| values.contains(&value))
    };
    is("sec-fetch-site", &["cross-site", "same-site"]) && !is("sec-fetch-mode", &["navigate"])
}

/// Whether somebody goes to an address: what a redirect is good for.
fn is_visit(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD) && !upgrade::asks(parts)
}

/// Whether a browser asks what a page may ask for.
fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// A page that has the token may ask for anything by it.
fn preflight(asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    outwards::allow_opaque(headers);
    for (question, answer) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = asked.get(question) {
            headers.insert(answer, value.clone());
        }
    }
    response
}

fn see_other(to: &str) -> Result<Response, Problem> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, header_value(to)?);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// The query without tickets, with its question mark.
fn query(parts: &Parts) -> String {
    let kept = parts.uri.query().map(inwards::without_tickets).filter(|query| !query.is_empty());
    kept.map(|query| format!("?{query}")).unwrap_or_default()
}

fn header_value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| Problem::new(Code::BadRequest, "the address cannot be written in a header"))
}
