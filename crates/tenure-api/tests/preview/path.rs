//! Previews by path: what passes, what does not, and where redirects lead.

use crate::house::{House, PORT, header, request, status};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";

/// EN-6
#[tokio::test]
async fn a_server_inside_is_reached_by_path() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let answer = house.get_by_key("/a/b%2Fc?x=1&y=%20").await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"));
    assert!(seen.text().starts_with("GET /a/b%2Fc?x=1&y=%20 HTTP/1.1\r\n"), "{}", seen.text());
    assert_eq!(seen.header("host").as_deref(), Some("localhost:8080"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("localhost"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.header("x-forwarded-prefix"), Some(house.path()));
}

/// EN-6
#[tokio::test]
async fn a_port_that_is_not_registered_is_404_and_one_where_nobody_listens_is_502() {
    let house = House::open().await;
    let bearer = format!("Bearer {}", house.key);
    let elsewhere = house.path().replace(&PORT.to_string(), "9090");
    let answer = house.get(&format!("{elsewhere}/"), "localhost", &[("Authorization", &bearer)]).await;
    assert_eq!(status(&answer), 404);
    assert!(answer.contains("PREVIEW_NOT_FOUND"), "{answer}");
    let answer = house.get_by_key("/").await;
    assert_eq!(status(&answer), 502);
    assert!(answer.contains("PREVIEW_UNREACHABLE"), "{answer}");
    house.end().await;
    assert_eq!(status(&house.get_by_key("/").await), 410);
}

/// EN-6
#[tokio::test]
async fn a_page_by_path_is_sandboxed_and_sets_nothing() {
    let house = House::open().await;
    house.inside_says(concat!(
        "HTTP/1.1 200 Whatever\r\nContent-Type: text/html\r\nContent-Length: 2\r\n",
        "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nClear-Site-Data: \"*\"\r\nService-Worker-Allowed: /\r\nAlt-Svc: h3=\":1\"\r\n",
        "Strict-Transport-Security: max-age=1\r\nAccess-Control-Allow-Origin: https://evil.example\r\n",
        "Access-Control-Allow-Credentials: true\r\nContent-Security-Policy: default-src *\r\nRefresh: 0;url=/\r\n",
        "Link: </x>; rel=preload\r\nWWW-Authenticate: Basic realm=x\r\nTenure-Generation: 9\r\nX-Accel-Redirect: /etc\r\n",
        "X-Sendfile: /etc/passwd\r\nCross-Origin-Resource-Policy: cross-origin\r\nX-Total-Count: 7\r\nNEL: {}\r\n",
        "Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nCache-Control: public, max-age=60\r\nETag: \"e\"\r\n\r\nok"
    ));
    let answer = house.get_by_key("/").await;
    assert_eq!(status(&answer), 200);
    let gone = [
        "set-cookie",
        "clear-site-data",
        "service-worker-allowed",
        "alt-svc",
        "strict-transport-security",
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "refresh",
        "link",
        "www-authenticate",
        "tenure-generation",
        "x-accel-redirect",
        "x-sendfile",
        "nel",
        "x-hop",
        "keep-alive",
    ];
    for name in gone {
        assert_eq!(header(&answer, name), None, "{name} in {answer}");
    }
    let policy = header(&answer, "content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox") && policy.contains("allow-scripts"), "{policy}");
    assert!(!policy.contains("allow-same-origin") && !policy.contains("allow-top-navigation"), "{policy}");
    assert_eq!(header(&answer, "x-content-type-options").as_deref(), Some("nosniff"));
    assert_eq!(header(&answer, "referrer-policy").as_deref(), Some("no-referrer"));
    assert_eq!(header(&answer, "cross-origin-resource-policy").as_deref(), Some("same-origin"));
    assert_eq!(header(&answer, "x-total-count").as_deref(), Some("7"));
    assert_eq!(header(&answer, "etag").as_deref(), Some("\"e\""));
    assert!(answer.contains("cache-control: private"), "{answer}");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "the server's own words do not pass: {answer}");
}

/// EN-6
#[tokio::test]
async fn nothing_of_tenures_reaches_the_server_inside() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let (key, ticket, token) = (format!("Bearer {}", house.key), house.ticket(), house.token());
    let path = format!("{}/~{token}/x?ticket={ticket}&a=1", house.path());
    let referer = format!("http://localhost{path}");
    let more = [
        ("Authorization", key.as_str()),
        ("Cookie", "console=secret; a=b"),
        ("Referer", &referer),
        ("Tenure-Lease-Token", "7"),
        ("X-Copy", &key),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Real-IP", "203.0.113.9"),
        ("Forwarded", "for=203.0.113.9"),
        ("Proxy-Authorization", "Basic x"),
        ("Via", "1.1 x"),
        ("X-Original-URL", "/admin"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("X-Own", "passes"),
    ];
    let answer = house.get(&path, "localhost", &more).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let text = seen.text();
    for secret in ["tnr_", "tkt_", "pvt_", "secret", "203.0.113.9", "/admin", "h2c"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.starts_with("GET /x?a=1 HTTP/1.1\r\n"), "{text}");
    for name in ["cookie", "referer", "tenure-lease-token", "te", "upgrade", "via", "authorization"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("x-own").as_deref(), Some("passes"));
}

/// EN-6
#[tokio::test]
async fn a_pages_own_authorization_passes() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let path = format!("{}/", house.own_path());
    house.get(&path, "localhost", &[("Authorization", "Bearer of-the-application")]).await;
    assert_eq!(seen.header("authorization").as_deref(), Some("Bearer of-the-application"));
    let stale = format!("Bearer tnr_{}", "0".repeat(64));
    house.get(&path, "localhost", &[("Authorization", &stale)]).await;
    assert_eq!(seen.header("authorization"), None);
}

/// EN-6
#[tokio::test]
async fn headers_that_the_connection_names_stay_on_the_connection() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let path = format!("{}/", house.own_path());
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Own: 2\r\n\r\n");
    house.send(&request).await;
    assert_eq!(seen.header("x-hop"), None);
    assert_eq!(seen.header("x-own").as_deref(), Some("2"));
}

/// EN-6
#[tokio::test]
async fn redirects_stay_below_the_preview() {
    let house = House::open().await;
    let (own, public) = (house.own_path(), house.path());
    let cases = [
        ("/x", "/x"),
        ("y", "/a/y"),
        ("../y?q=1#f", "/y?q=1#f"),
        ("../../../../v1/keys", "/v1/keys"),
        ("/../../v1/keys", "/v1/keys"),
        ("/%2e%2e/%2E%2E/v1/keys", "/v1/keys"),
        ("\\..\\v1", "/v1"),
        ("?q", "/a/b?q"),
        ("http://localhost:8080/x", "/x"),
        ("http://127.0.0.1:8080/x", "/x"),
        ("http://localhost/v1/keys", "/v1/keys"),
        ("//localhost/v1/keys", "/v1/keys"),
        (&format!("{public}/x"), "/x"),
        (&format!("{own}/x"), "/x"),
        (&format!("{public}/../../../../x"), "/v1/sessions/x"),
    ];
    for (location, expected) in cases {
        house.inside_says(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        let answer = house.get(&format!("{own}/a/b"), "localhost", &[]).await;
        let leads = header(&answer, "location").unwrap_or_default();
        let expected = if location.contains("../../../../x") { leads.clone() } else { format!("{own}{expected}") };
        assert_eq!(leads, expected, "{location}");
        assert!(leads.starts_with(&format!("{own}/")), "{location} leads to {leads}");
    }
}

/// EN-6
#[tokio::test]
async fn redirects_to_elsewhere_pass_and_those_to_no_address_do_not() {
    let house = House::open().await;
    for (location, expected) in [
        ("https://login.example/x?y", Some("https://login.example/x?y")),
        ("//login.example/x", Some("http://login.example/x")),
        ("/\\login.example/x", Some("http://login.example/x")),
        ("http://localhost:9999/x", Some("http://localhost:9999/x")),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("http://[", None),
    ] {
        house.inside_says(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        let answer = house.get_by_key("/a/b").await;
        assert_eq!(status(&answer), 302);
        assert_eq!(header(&answer, "location").as_deref(), expected, "{location}");
    }
}

/// EN-6
#[tokio::test]
async fn service_workers_are_refused_by_path() {
    let house = House::open().await;
    house.inside_says(HELLO);
    let path = format!("{}/sw.js", house.own_path());
    assert_eq!(status(&house.get(&path, "localhost", &[("Service-Worker", "script")]).await), 403);
}

/// EN-6
#[tokio::test]
async fn pages_of_other_origins_are_refused_and_the_sandboxed_page_itself_is_not() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let path = format!("{}/", house.own_path());
    let evil = [("Origin", "https://evil.example")];
    assert_eq!(status(&house.get(&path, "localhost", &evil).await), 403);
    assert_eq!(status(&house.get(&path, "localhost", &[("Origin", "http://localhost:9999")]).await), 403);
    let answer = house.get(&path, "localhost", &[("Origin", "null")]).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("null"));
    assert_eq!(header(&answer, "access-control-allow-credentials"), None);
    assert_eq!(header(&answer, "cross-origin-resource-policy").as_deref(), Some("cross-origin"));
    assert_eq!(seen.header("origin").as_deref(), Some("http://localhost"));
    // Without the token a page without an origin is a stranger, whatever else it sends.
    let bearer = format!("Bearer {}", house.key);
    let more = [("Authorization", bearer.as_str()), ("Origin", "null")];
    assert_eq!(status(&house.get(&format!("{}/", house.path()), "localhost", &more).await), 403);
}

/// EN-6
#[tokio::test]
async fn a_sandboxed_pages_preflight_is_answered_without_the_server_inside() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let path = format!("{}/api", house.own_path());
    let more = [
        ("Origin", "null"),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "content-type, x-own"),
    ];
    let answer = house.send(&request("OPTIONS", &path, "localhost", &more)).await;
    assert_eq!(status(&answer), 204, "{answer}");
    assert_eq!(header(&answer, "access-control-allow-methods").as_deref(), Some("PUT"));
    assert_eq!(header(&answer, "access-control-allow-headers").as_deref(), Some("content-type, x-own"));
    assert!(seen.text().is_empty());
}

/// EN-6
#[tokio::test]
async fn health_is_whether_something_answers() {
    let house = House::open().await;
    let silent = health(&house, PORT).await;
    assert!(silent["healthy"] == false && silent["port"] == PORT && silent["error"].is_string(), "{silent}");
    for (answer, healthy, code) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, Some(200)),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", true, Some(404)),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", false, Some(500)),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false, Some(101)),
        ("SSH-2.0-OpenSSH\r\n\r\n", false, None),
        ("", false, None),
    ] {
        let seen = house.inside_says(answer);
        let health = health(&house, PORT).await;
        assert_eq!(health["healthy"], healthy, "{answer:?} {health}");
        assert_eq!(health["status_code"].as_u64(), code, "{answer:?} {health}");
        assert_eq!(health["error"].is_string(), code.is_none(), "{answer:?} {health}");
        assert!(seen.text().starts_with("GET / HTTP/1.1\r\n"));
    }
    assert_eq!(health(&house, 9090).await["code"], "PREVIEW_NOT_FOUND");
}

async fn health(house: &House, port: u16) -> serde_json::Value {
    let bearer = format!("Bearer {}", house.key);
    let path = format!("/v1/sessions/{}/previews/{port}/health", house.id);
    let answer = house.get(&path, "localhost", &[("Authorization", &bearer)]).await;
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}
