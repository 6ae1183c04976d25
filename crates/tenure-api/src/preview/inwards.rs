//! What of a visitor's request reaches the server inside: nothing of Tenure's, and no more about the visitor than the request needs.

use crate::preview::forward::{Kind, Outside};
use crate::preview::{enter, upgrade};
use crate::ticket::is_ticket;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, uri::PathAndQuery};

/// Headers about the connection and not the message. Those that `Connection` names are, too.
pub(super) const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Headers that a server could believe to come from a proxy, or that say who visits.
const NOT_THE_VISITORS: [&str; 9] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "proxy-authorization",
];

/// What every secret of Tenure's begins with: keys, tickets and tokens.
const SECRETS: [&[u8]; 3] = [b"tnr_", b"tkt_", b"pvt_"];

/// Whether the request's `Authorization` is for Tenure or for the server inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authorization {
    /// It stays here.
    Ours,
    /// It passes.
    Theirs,
}

/// How a server inside is addressed: as those that serve one machine expect.
pub(super) fn authority(port: u16) -> String {
    format!("localhost:{port}")
}

/// The target inside: as it was written, without tickets.
pub(super) fn target(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let path = if path.is_empty() { "/" } else { path };
    let text = match query.map(without_tickets).filter(|query| !query.is_empty()) {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    PathAndQuery::try_from(text).ok()
}

/// A query without tickets; whatever else stands in it is left as it was written.
pub(super) fn without_tickets(query: &str) -> String {
    let kept = query.split('&').filter(|pair| ticket_of(pair).is_none());
    kept.collect::<Vec<_>>().join("&")
}

/// The first ticket in a query.
pub(super) fn ticket(query: &str) -> Option<String> {
    query.split('&').find_map(ticket_of)
}

fn ticket_of(pair: &str) -> Option<String> {
    let (name, value) = form_urlencoded::parse(pair.as_bytes()).next()?;
    (name == "ticket" && is_ticket(&value)).then(|| value.into_owned())
}

/// The request as the server inside gets it.
pub(super) fn request(parts: &Parts, target: PathAndQuery, authorization: Authorization, outside: &Outside) -> Parts {
    let (mut inside, ()) = http::Request::new(()).into_parts();
    inside.method = parts.method.clone();
    inside.version = Version::HTTP_11;
    inside.uri = Uri::from(target);
    let is_websocket = upgrade::asks(parts);
    let named = named_by_connection(&parts.headers);
    for (name, value) in &parts.headers {
        if passes(name, value, outside, is_websocket) && !named.contains(name) {
            inside.headers.append(name, value.clone());
        }
    }
    if authorization == Authorization::Ours || inside.headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        inside.headers.remove(header::AUTHORIZATION);
    }
    if let (Kind::Host, Some(cookies)) = (&outside.kind, cookies(&parts.headers)) {
        inside.headers.insert(header::COOKIE, cookies);
    }
    if is_websocket {
        upgrade::say(&mut inside.headers);
    }
    introduce(&mut inside.headers, parts, outside);
    inside
}

/// What a server needs to know of how it is reached.
fn introduce(headers: &mut HeaderMap, parts: &Parts, outside: &Outside) {
    let mut say = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    say(header::HOST, &authority(outside.port));
    say(HeaderName::from_static("x-forwarded-host"), &outside.host);
    say(HeaderName::from_static("x-forwarded-proto"), outside.proto());
    if parts.headers.contains_key(header::ORIGIN) {
        // It was checked. A sandboxed page says "null", which servers take for a stranger: to them it is their own page.
        say(header::ORIGIN, &format!("{}://{}", outside.proto(), outside.host));
    }
    match &outside.kind {
        Kind::Path { public, .. } => say(HeaderName::from_static("x-forwarded-prefix"), public),
        Kind::Host => {}
    }
}

fn passes(name: &HeaderName, value: &HeaderValue, outside: &Outside, is_websocket: bool) -> bool {
    let text = name.as_str();
    let ours = HOP_BY_HOP.contains(&text)
        || NOT_THE_VISITORS.contains(&text)
        || ["tenure-", "x-forwarded-", "cf-"].iter().any(|prefix| text.starts_with(prefix))
        // The length is said anew, cookies are sorted apart, and the body begins without being asked for.
        || ["host", "content-length", "cookie", "expect", "origin"].contains(&text)
        || SECRETS.iter().any(|secret| holds(value.as_bytes(), secret));
    let of_websocket = text.starts_with("sec-websocket-");
    let of_path = match outside.kind {
        // It says the token.
        Kind::Path { .. } => text == "referer",
        Kind::Host => false,
    };
    !ours && !of_path && (!of_websocket || is_websocket)
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The headers that `Connection` names.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    // What makes a WebSocket is taken care of elsewhere.
    names.collect()
}

/// The visitor's cookies, without Tenure's.
fn cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let theirs: Vec<&str> = all
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|cookie| !cookie.is_empty() && !enter::is_our_cookie(cookie.split('=').next().unwrap_or_default()))
        .collect();
    (!theirs.is_empty()).then(|| HeaderValue::from_str(&theirs.join("; ")).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: &str = "tkt_0123456789012345678901234567890123456789012";

    fn check(query: &str, inside: &str) {
        let query = query.replace("TICKET", TICKET);
        assert_eq!(target("/p", Some(&query)).unwrap().as_str(), inside, "{query}");
    }

    /// AU-2, EN-6
    #[test]
    fn tickets_are_taken_out_of_a_query_and_the_rest_stays_as_it_was_written() {
        check("ticket=TICKET", "/p");
        check("a=%20+&ticket=TICKET&b", "/p?a=%20+&b");
        check("tick%65t=TICKET&ticket=%74kt_0123456789012345678901234567890123456789012", "/p");
        check("ticket=TICKET&ticket=TICKET&a", "/p?a");
        // What only looks alike is the application's.
        check("ticket=7&ticket=tkt_x", "/p?ticket=7&ticket=tkt_x");
        check("", "/p");
        check("&&", "/p?&&");
        assert_eq!(ticket(&format!("a&tick%65t={TICKET}")).as_deref(), Some(TICKET));
        assert_eq!(ticket("ticket=7"), None);
        assert_eq!(target("", None).unwrap().as_str(), "/");
        assert_eq!(target("//evil.example/x", None).unwrap().as_str(), "//evil.example/x");
    }
}
