//! What of a server's answer reaches the visitor: nothing that would bind the visitor's browser beyond the preview, or speak in this service's name.

use crate::preview::enter;
use crate::preview::forward::{Kind, Outside};
use crate::preview::inwards::{HOP_BY_HOP, authority, named_by_connection};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::{Host, Url};

/// What a page by path may do: run, and nothing in the name of the origin that it is served from.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Headers that pass on a path. Whatever else there is, now or in browsers to come, could be about the whole origin.
const PASS_BY_PATH: [&str; 19] = [
    "accept-ranges",
    "age",
    "allow",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "pragma",
    "preference-applied",
    "retry-after",
    "server-timing",
    "sourcemap",
    "vary",
];

/// Headers that do not pass on a host of the preview's own: they last longer than the preview, reach beyond its host, or mean something to proxies.
const KEPT_BY_HOST: [&str; 12] = [
    "alt-svc",
    "clear-site-data",
    "content-length",
    "expect-ct",
    "location",
    "nel",
    "public-key-pins",
    "public-key-pins-report-only",
    "report-to",
    "set-cookie",
    "strict-transport-security",
    "www-authenticate",
];

/// Headers that a proxy in front of this service would take for orders.
const ORDERS_TO_PROXIES: [&str; 4] = ["x-accel-", "x-sendfile", "x-lighttpd-", "x-reproxy-"];

/// The head of an answer as the visitor gets it. `target` is what was asked for inside.
pub(super) fn response(theirs: &Parts, method: &Method, target: &str, outside: &Outside) -> Parts {
    let (mut ours, ()) = http::Response::new(()).into_parts();
    ours.status = theirs.status;
    let named = named_by_connection(&theirs.headers);
    for (name, value) in &theirs.headers {
        if passes(name, outside) && !named.contains(name) {
            ours.headers.append(name, value.clone());
        }
    }
    // A body's length is known by its body. Where there is none, the header stands for the one that would be.
    if *method == Method::HEAD || theirs.status == StatusCode::NOT_MODIFIED {
        copy_length(&theirs.headers, &mut ours.headers);
    }
    if let Some(location) = theirs.headers.get(header::LOCATION).and_then(|value| location(value, target, outside)) {
        ours.headers.insert(header::LOCATION, location);
    }
    ours.headers.append(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    match &outside.kind {
        Kind::Path { by_token, .. } => confine(&mut ours.headers, *by_token, outside),
        Kind::Host => set_cookies(&theirs.headers, &mut ours.headers),
    }
    ours
}

fn passes(name: &HeaderName, outside: &Outside) -> bool {
    let text = name.as_str();
    if HOP_BY_HOP.contains(&text)
        || text.starts_with("tenure-")
        || ORDERS_TO_PROXIES.iter().any(|order| text.starts_with(order))
    {
        return false;
    }
    match outside.kind {
        Kind::Path { .. } => PASS_BY_PATH.contains(&text) || is_the_applications(text),
        Kind::Host => !KEPT_BY_HOST.contains(&text),
    }
}

/// Headers that browsers leave to applications, but for the few that they know.
fn is_the_applications(name: &str) -> bool {
    let known = ["x-frame-options", "x-xss-protection", "x-dns-prefetch-control", "x-permitted-cross-domain-policies"];
    name.starts_with("x-") && !known.contains(&name) && !name.starts_with("x-webkit-")
}

/// What keeps a page by path from everything around it.
fn confine(headers: &mut HeaderMap, by_token: bool, outside: &Outside) {
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // To a sandboxed page even its own images come from elsewhere. Whoever knows the token may load them; others may not.
    let policy = if by_token { "cross-origin" } else { "same-origin" };
    headers.insert(CORP, HeaderValue::from_static(policy));
    if outside.opaque {
        allow_opaque(headers);
    }
}

/// Lets a page without an origin read what it asked for with its token.
pub(super) fn allow_opaque(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("null"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

fn copy_length(from: &HeaderMap, to: &mut HeaderMap) {
    let length = from.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length {
        to.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// The server's cookies, for this host alone, and none in Tenure's name.
fn set_cookies(from: &HeaderMap, to: &mut HeaderMap) {
    for cookie in from.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
        let name = cookie.split(['=', ';']).next().unwrap_or_default().trim();
        if name.is_empty() || enter::is_our_cookie(name) {
            continue;
        }
        let is_domain =
            |part: &str| part.split('=').next().is_some_and(|key| key.trim().eq_ignore_ascii_case("domain"));
        let parts = cookie.split(';').enumerate().filter(|(index, part)| *index == 0 || !is_domain(part));
        let kept = parts.map(|(_, part)| part).collect::<Vec<_>>().join(";");
        if let Ok(value) = HeaderValue::from_str(&kept) {
            to.append(header::SET_COOKIE, value);
        }
    }
}

/// Where a redirect leads, as the visitor must write it: what is inside stays below the preview, however it is written.
fn location(value: &HeaderValue, target: &str, outside: &Outside) -> Option<HeaderValue> {
    let inside = Url::parse(&format!("http://{}", authority(outside.port))).ok()?;
    let base = Url::parse(&format!("http://{}{target}", authority(outside.port))).ok()?;
    // Read as browsers do: dots are resolved, backslashes are slashes, line breaks are nothing.
    let leads = base.join(value.to_str().ok()?).ok()?;
    if !matches!(leads.scheme(), "http" | "https") {
        return None;
    }
    if !is_inside(&leads, &inside, outside) {
        return HeaderValue::from_str(leads.as_str()).ok();
    }
    let mut path = leads.path();
    let prefix = match &outside.kind {
        Kind::Path { public, own, .. } => {
            // A server that was told its prefix has written it already, without the token that it does not know.
            let below = |prefix: &str| leads.path().strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
            path = below(own).or_else(|| below(public)).unwrap_or(path);
            own.as_str()
        }
        // Two slashes would name a host.
        Kind::Host if path.starts_with("//") => "/.",
        Kind::Host => "",
    };
    let query = leads.query().map(|query| format!("?{query}")).unwrap_or_default();
    let fragment = leads.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
    HeaderValue::from_str(&format!("{prefix}{path}{query}{fragment}")).ok()
}

/// Whether this is the server itself, by one of the names that it may know itself by.
fn is_inside(leads: &Url, inside: &Url, outside: &Outside) -> bool {
    let is_loopback = match leads.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    };
    let visited = Url::parse(&format!("{}://{}", leads.scheme(), outside.host)).ok();
    (is_loopback && leads.port() == inside.port())
        || visited.is_some_and(|visited| visited.host() == leads.host() && visited.port() == leads.port())
}
