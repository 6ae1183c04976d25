//! Who gets to a preview: by key, by ticket, by token, and by nothing else.

use crate::house::{House, PORT, header, request, revoke, status, user};
use tenure_api::ticket::{Grant, Purpose};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// AU-1, AU-2, EN-6
#[tokio::test]
async fn without_a_credential_nothing_is_reached() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let path = format!("{}/", house.path());
    let made_up = format!("{}/~pvt_{}/", house.path(), "x".repeat(43));
    assert_eq!(status(&house.get(&path, "localhost", &[]).await), 401);
    assert_eq!(status(&house.get(&made_up, "localhost", &[]).await), 401);
    assert_eq!(status(&house.get(&path, "localhost", &[("Authorization", "Bearer tnr_0")]).await), 401);
    assert_eq!(status(&house.get(&format!("{path}?ticket=tkt_{}", "x".repeat(43)), "localhost", &[]).await), 401);
    assert_eq!(status(&house.get("/", &house.host(), &[]).await), 401);
    assert_eq!(status(&house.get("/", &house.host(), &[("Cookie", "tenure_preview=pvt_x")]).await), 401);
    assert!(seen.text().is_empty());
}

/// EN-6, TR-3
#[tokio::test]
async fn to_a_stranger_there_is_no_such_session() {
    let house = House::open().await;
    house.inside_says(HELLO);
    let (_, key) = user(&house.engine, "mallory").await;
    let bearer = format!("Bearer {key}");
    let answer = house.get(&format!("{}/", house.path()), "localhost", &[("Authorization", &bearer)]).await;
    assert_eq!(status(&answer), 404);
    assert!(answer.contains("never_existed"), "{answer}");
}

/// AU-2
#[tokio::test]
async fn a_ticket_is_exchanged_for_a_token_in_the_path() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let ticket = house.ticket();
    let answer = house.get(&format!("{}/a?x=1&ticket={ticket}&y=2", house.path()), "localhost", &[]).await;
    assert_eq!(status(&answer), 303, "{answer}");
    let leads = header(&answer, "location").unwrap();
    assert!(leads.starts_with(&format!("{}/~pvt_", house.path())) && leads.ends_with("/a?x=1&y=2"), "{leads}");
    assert_eq!(header(&answer, "cache-control").as_deref(), Some("no-store"));
    assert_eq!(header(&answer, "referrer-policy").as_deref(), Some("no-referrer"));
    assert!(seen.text().is_empty());
    assert_eq!(status(&house.get(&leads, "localhost", &[]).await), 200);
    assert!(seen.text().starts_with("GET /a?x=1&y=2 HTTP/1.1\r\n"));
    // Once.
    let again = house.get(&format!("{}/?ticket={ticket}", house.path()), "localhost", &[]).await;
    assert_eq!(status(&again), 401);
    // Without a slash at its end, too.
    let bare = house.get(&format!("{}?ticket={}", house.path(), house.ticket()), "localhost", &[]).await;
    assert!(header(&bare, "location").unwrap().ends_with('/'), "{bare}");
    let bare = house.get(&house.own_path(), "localhost", &[]).await;
    assert_eq!(status(&bare), 303);
    assert!(header(&bare, "location").unwrap().ends_with('/'), "{bare}");
}

/// AU-2
#[tokio::test]
async fn a_ticket_for_something_else_is_spent_and_worth_nothing() {
    let house = House::open().await;
    house.inside_says(HELLO);
    let now = house.engine.now();
    let issue = |purpose| house.tickets.issue(house.grant(purpose), now).unwrap().secret;
    for purpose in [Purpose::Events, Purpose::Terminal { lease: None }, Purpose::Preview { port: PORT + 1 }] {
        let ticket = issue(purpose);
        let path = format!("{}/?ticket={ticket}", house.path());
        assert_eq!(status(&house.get(&path, "localhost", &[]).await), 401, "{purpose:?}");
        assert!(house.tickets.spend(&ticket, now).is_none());
    }
}

/// AU-2
#[tokio::test]
async fn a_token_is_bound_to_its_session_and_port() {
    let house = House::open().await;
    let other = House::open().await;
    house.inside_says(HELLO);
    let token = house.token();
    let at = |path: String| async move { path };
    let elsewhere = [
        at(format!("{}/~{token}/", other.path())).await,
        at(format!("{}/~{token}/", house.path().replace("8080", "8081"))).await,
        at(format!("{}/~{token}/", house.path().replace("8080", "08080"))).await,
    ];
    for path in elsewhere {
        assert_eq!(status(&house.get(&path, "localhost", &[]).await), 401, "{path}");
    }
    let grant = Grant { session: other.id.clone(), ..house.grant(Purpose::Preview { port: PORT }) };
    let token = house.tickets.exchange(grant, house.engine.now()).unwrap().secret;
    let path = format!("{}/~{token}/", house.path());
    assert_eq!(status(&house.get(&path, "localhost", &[]).await), 401);
}

/// AU-2
#[tokio::test]
async fn a_token_is_worth_nothing_once_its_key_is_revoked() {
    let house = House::open().await;
    house.inside_says(HELLO);
    let (path, ticket) = (format!("{}/", house.own_path()), house.ticket());
    assert_eq!(status(&house.get(&path, "localhost", &[]).await), 200);
    revoke(&house.engine, &house.owner.credential).await;
    assert_eq!(status(&house.get(&path, "localhost", &[]).await), 401);
    assert_eq!(status(&house.get(&format!("{}/?ticket={ticket}", house.path()), "localhost", &[]).await), 401);
    assert_eq!(status(&house.get_by_key("/").await), 401);
}

/// AU-2
#[tokio::test]
async fn another_origin_cannot_spend_a_ticket() {
    let house = House::open().await;
    let ticket = house.ticket();
    let path = format!("{}/?ticket={ticket}", house.path());
    assert_eq!(status(&house.get(&path, "localhost", &[("Origin", "https://evil.example")]).await), 403);
    assert_eq!(status(&house.get(&path, "localhost", &[]).await), 303);
}

/// AU-2, EN-6
#[tokio::test]
async fn what_is_posted_with_a_ticket_arrives() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let path = format!("{}/form?ticket={}", house.path(), house.ticket());
    let answer = house.send(&request("POST", &path, "localhost", &[("Content-Length", "0")])).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(seen.text().starts_with("POST /form HTTP/1.1\r\n"), "{}", seen.text());
}

/// EN-6, TM-4
#[tokio::test]
async fn what_is_no_port_is_said_only_to_whoever_may_know_of_the_session() {
    let house = House::open().await;
    let (_, stranger) = user(&house.engine, "mallory").await;
    for port in ["80", "99999", "x", "%20"] {
        let path = format!("{}/", house.path().replace("8080", port));
        let as_owner = format!("Bearer {}", house.key);
        assert_eq!(status(&house.get(&path, "localhost", &[("Authorization", &as_owner)]).await), 422, "{port}");
        let as_stranger = format!("Bearer {stranger}");
        assert_eq!(status(&house.get(&path, "localhost", &[("Authorization", &as_stranger)]).await), 404, "{port}");
    }
}

/// AU-1, EN-6
#[tokio::test]
async fn an_issuers_token_lets_in_and_stays_outside() {
    let house = House::open().await;
    let seen = house.inside_says(HELLO);
    let token = house.issued_token("bob");
    let bearer = format!("Bearer {token}");
    // It is good, and names somebody else than the owner.
    let path = format!("{}/", house.path());
    assert_eq!(status(&house.get(&path, "localhost", &[("Authorization", &bearer)]).await), 404);
    // With a page's token beside it, it is still Tenure's.
    let path = format!("{}/", house.own_path());
    assert_eq!(status(&house.get(&path, "localhost", &[("Authorization", &bearer)]).await), 200);
    assert_eq!(seen.header("authorization"), None);
}
