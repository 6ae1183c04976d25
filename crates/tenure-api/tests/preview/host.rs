//! Previews by host: an origin of their own, their own cookies, and nothing of their neighbors'.

use crate::house::{House, header, status};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

async fn entered(house: &House) -> String {
    let answer = house.get(&format!("/?ticket={}", house.ticket()), &house.host(), &[]).await;
    assert_eq!(status(&answer), 303, "{answer}");
    header(&answer, "set-cookie").unwrap()
}

fn pair(cookie: &str) -> &str {
    cookie.split(';').next().unwrap()
}

/// AU-2, EN-6
#[tokio::test]
async fn a_ticket_is_exchanged_for_a_cookie_of_the_host() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let path = format!("/a?ticket={}&x=1", house.ticket());
    let answer =
        house.get(&path, &house.host(), &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]).await;
    assert_eq!(status(&answer), 303, "{answer}");
    assert_eq!(header(&answer, "location").as_deref(), Some("/a?x=1"));
    let cookie = header(&answer, "set-cookie").unwrap();
    assert!(cookie.starts_with("tenure_preview=pvt_"), "{cookie}");
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && !cookie.contains("Secure"), "{cookie}");
    let cookies = format!("mine=1; {}; other=2", pair(&cookie));
    let answer = house.get("/a?x=1", &house.host(), &[("Cookie", &cookies)]).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(seen.header("cookie").as_deref(), Some("mine=1; other=2"));
    assert!(!seen.text().contains("pvt_"));
    assert_eq!(seen.header("x-forwarded-host"), Some(house.host()));
    assert_eq!(seen.header("x-forwarded-prefix"), None);
}

/// EN-6
#[tokio::test]
async fn under_https_the_cookie_cannot_be_set_by_a_neighbor() {
    let house = House::open_with(true).await;
    house.inside_says(HELLO);
    let cookie = entered(&house).await;
    assert!(cookie.starts_with("__Host-tenure_preview=pvt_") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(status(&house.get("/", &house.host(), &[("Cookie", pair(&cookie))]).await), 200);
    let plain = pair(&cookie).replace("__Host-", "");
    assert_eq!(status(&house.get("/", &house.host(), &[("Cookie", &plain)]).await), 401);
}

/// EN-6
#[tokio::test]
async fn cookies_are_of_this_host_alone_and_never_in_tenures_name() {
    let house = House::open().await;
    let cookie = entered(&house).await;
    house.inside_says(concat!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\n",
        "Set-Cookie: b=2; Domain=preview.example; Secure\r\nSet-Cookie: c=3;dOmAiN = .example\r\n",
        "Set-Cookie: tenure_preview=x\r\nSet-Cookie: __Host-Tenure_Preview=x; Secure; Path=/\r\nSet-Cookie: =tenure_preview=x\r\n",
        "Clear-Site-Data: \"cookies\"\r\nStrict-Transport-Security: max-age=1; includeSubDomains\r\nAlt-Svc: h3=\":1\"\r\n",
        "Content-Security-Policy: default-src 'self'\r\nX-Accel-Redirect: /x\r\nCache-Control: public\r\n\r\n"
    ));
    let answer = house.get("/", &house.host(), &[("Cookie", pair(&cookie))]).await;
    let set: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: ")).collect();
    assert_eq!(set, ["a=1; Path=/; HttpOnly", "b=2; Secure", "c=3"], "{answer}");
    for name in ["clear-site-data", "strict-transport-security", "alt-svc", "x-accel-redirect"] {
        assert_eq!(header(&answer, name), None, "{name}");
    }
    assert_eq!(header(&answer, "content-security-policy").as_deref(), Some("default-src 'self'"));
    assert!(answer.contains("cache-control: private"), "{answer}");
}

/// EN-6
#[tokio::test]
async fn a_neighbors_page_does_not_speak_for_the_visitor() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let cookie = entered(&house).await;
    let cookie = pair(&cookie);
    let neighbor = format!("http://9090-{}", house.host());
    for more in [
        vec![("Origin", neighbor.as_str())],
        vec![("Origin", "null")],
        vec![("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")],
        vec![("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "websocket")],
    ] {
        let more: Vec<_> = more.into_iter().chain([("Cookie", cookie)]).collect();
        assert_eq!(status(&house.get("/", &house.host(), &more).await), 403, "{more:?}");
    }
    assert!(seen.text().is_empty());
    let own = format!("http://{}", house.host());
    let more = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin"), ("Cookie", cookie)];
    assert_eq!(status(&house.get("/", &house.host(), &more).await), 200);
    assert_eq!(seen.header("origin"), Some(own));
}

/// EN-6
#[tokio::test]
async fn a_cookie_of_one_preview_opens_no_other() {
    let house = House::open().await;
    let cookie = entered(&house).await;
    let other = house.host().replace("8080-", "8081-");
    assert_eq!(status(&house.get("/", &other, &[("Cookie", pair(&cookie))]).await), 401);
    let nobody = house.host().replace("exec", "exce");
    assert_eq!(status(&house.get("/", &nobody, &[("Cookie", pair(&cookie))]).await), 404);
}

/// EN-6
#[tokio::test]
async fn redirects_by_host_stay_on_the_host() {
    let house = House::open().await;
    let cookie = entered(&house).await;
    for (location, expected) in [
        ("/x", "/x"),
        ("http://localhost:8080/x?y", "/x?y"),
        ("http://127.0.0.1:8080//evil.example/", "/.//evil.example/"),
        ("https://login.example/x", "https://login.example/x"),
    ] {
        house.inside_says(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
        let answer = house.get("/a", &house.host(), &[("Cookie", pair(&cookie))]).await;
        assert_eq!(header(&answer, "location").as_deref(), Some(expected), "{location}");
    }
    let path = format!("//evil.example/?ticket={}", house.ticket());
    let answer = house.get(&path, &house.host(), &[]).await;
    assert_eq!(header(&answer, "location").as_deref(), Some("/.//evil.example/"), "{answer}");
}

/// EN-6
#[tokio::test]
async fn a_key_opens_a_host_too_and_stays_outside() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let bearer = format!("Bearer {}", house.key);
    assert_eq!(status(&house.get("/", &house.host(), &[("Authorization", &bearer)]).await), 200);
    assert!(!seen.text().contains("tnr_"));
}
