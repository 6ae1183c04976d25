//! Tickets, for what cannot send a header (AU-2).

use crate::house::{As, House, said, text};
use crate::stream::Events;
use serde_json::{Value, json};

async fn ticket(house: &House, id: &str) -> String {
    let made = house.post(As::Owner, "/v1/tickets", json!({ "session_id": id, "use": "events" })).await;
    let made: Value = made.json().await.unwrap();
    assert!(made["expires_at"].is_string());
    text(&made, "ticket")
}

/// AU-2
#[tokio::test]
async fn a_ticket_opens_one_stream_of_one_session_once() {
    let house = House::open().await;
    let (id, other) = (house.session_id().await, house.session_id().await);
    let path = async |id: &str, ticket: &str| {
        house.get(As::Nobody, &format!("/v1/sessions/{id}/events?ticket={ticket}")).await
    };
    let good = ticket(&house, &id).await;
    Events::of(path(&id, &good).await).next().await.unwrap();
    assert_eq!(said(path(&id, &good).await).await, "401 UNAUTHENTICATED", "it is spent");
    let misused = ticket(&house, &id).await;
    assert_eq!(said(path(&other, &misused).await).await, "401 UNAUTHENTICATED", "it is for another session");
    let good = ticket(&house, &id).await;
    let elsewhere = house.get(As::Nobody, &format!("/v1/sessions/{id}?ticket={good}")).await;
    assert_eq!(said(elsewhere).await, "401 UNAUTHENTICATED", "it is for streams");
    let late = ticket(&house, &id).await;
    house.pass(30_001);
    assert_eq!(said(path(&id, &late).await).await, "401 UNAUTHENTICATED", "it is good for 30 s");
}

/// AU-2
#[tokio::test]
async fn a_page_of_another_origin_gets_nothing_done() {
    let house = House::open().await;
    let id = house.session_id().await;
    let from = async |origin: &str, host: Option<&str>| {
        let mut request = house.request(As::Owner, "POST", "/v1/sessions").header("Origin", origin).body("{}");
        if let Some(host) = host {
            request = request.header("Host", host);
        }
        said(request.send().await.unwrap()).await
    };
    let own = house.address.to_string();
    assert_eq!(from(&format!("http://{own}"), None).await, "201");
    assert_eq!(from("http://evil.example", None).await, "403 ACCESS_DENIED");
    assert_eq!(from("null", None).await, "403 ACCESS_DENIED");
    assert_eq!(from("https://tenure.example", Some("tenure.example")).await, "201");
    assert_eq!(from("http://evil.example", Some("evil.example")).await, "400 BAD_REQUEST", "a name that is not ours");
    let ticket = ticket(&house, &id).await;
    let path = format!("/v1/sessions/{id}/events?ticket={ticket}");
    let foreign = house.request(As::Nobody, "GET", &path).header("Origin", "http://evil.example");
    assert_eq!(said(foreign.send().await.unwrap()).await, "401 UNAUTHENTICATED");
    Events::of(house.get(As::Nobody, &path).await).next().await.expect("it was not spent by that");
}

/// AU-2
#[tokio::test]
async fn a_ticket_says_what_it_is_for() {
    let house = House::open().await;
    let id = house.session_id().await;
    let ask = async |body: Value| said(house.post(As::Owner, "/v1/tickets", body).await).await;
    assert_eq!(ask(json!({ "session_id": id, "use": "preview" })).await, "422 VALIDATION");
    assert_eq!(ask(json!({ "session_id": id, "use": "preview", "port": 8080 })).await, "200");
    assert_eq!(ask(json!({ "session_id": id, "use": "terminal", "lease_token": 1 })).await, "200");
    assert_eq!(ask(json!({ "session_id": id, "use": "other" })).await, "422 VALIDATION");
    assert_eq!(ask(json!({ "session_id": "odd", "use": "events" })).await, "400 INVALID_FORMAT");
}
