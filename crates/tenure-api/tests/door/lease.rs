//! Leases over real connections (LS-1, LS-2, LS-3, LS-7).

use crate::house::{As, House, said, text};
use reqwest::Response;
use serde_json::{Value, json};

/// The owner, as the holder of this token.
async fn holding(house: &House, method: &str, path: &str, token: u64) -> Response {
    house.request(As::Owner, method, path).header("Tenure-Lease-Token", token).send().await.unwrap()
}

/// LS-1, LS-2
#[tokio::test]
async fn a_heartbeat_says_until_when_and_is_kept_by_nobody() {
    let house = House::open().await;
    let made = house.session(json!({ "lease": { "ttl_ms": 60_000, "heartbeat_interval_ms": 5000 } })).await;
    assert_eq!(made["lease"], json!({ "token": 1, "ttl_ms": 60_000, "heartbeat_interval_ms": 5000 }));
    assert_eq!((&made["heartbeat_interval"], &made["last_heartbeat"]), (&json!(5), &Value::Null));
    let (id, first) = (text(&made, "id"), text(&made, "lease_expires_at"));
    let beat = async || {
        let heard = holding(&house, "POST", &format!("/v1/sessions/{id}/heartbeat"), 1).await;
        assert_eq!((heard.status().as_u16(), heard.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
        let heard: Value = heard.json().await.unwrap();
        assert_eq!((&heard["session_id"], &heard["acknowledged"]), (&json!(id), &json!(true)));
        assert_eq!(heard.as_object().unwrap().len(), 3);
        text(&heard, "lease_expires_at")
    };
    house.pass(2000);
    let second = beat().await;
    assert!(second > first);
    house.pass(2000);
    assert_eq!(beat().await, second);
    house.pass(3000);
    assert!(beat().await > second);
    let read: Value = house.get(As::Owner, &format!("/v1/sessions/{id}")).await.json().await.unwrap();
    assert!(read["last_heartbeat"].is_string() && read["lease_expires_at"].is_string(), "{read}");
}

/// LS-2, LS-3
#[tokio::test]
async fn a_heartbeat_that_comes_too_late_is_told_state_and_reason() {
    let house = House::open().await;
    let made = house.session(json!({ "lease": {} })).await;
    let path = format!("/v1/sessions/{}/heartbeat", text(&made, "id"));
    house.pass(60_000);
    let late = holding(&house, "POST", &path, 1).await;
    assert_eq!(late.status(), 410);
    let late: Value = late.json().await.unwrap();
    assert_eq!((&late["state"], &late["reason"]), (&json!("terminated"), &json!("lease_expired")));
    assert_eq!(late["terminated_at"], made["lease_expires_at"]);
    let free = house.session_id().await;
    assert_eq!(said(holding(&house, "POST", &format!("/v1/sessions/{free}/heartbeat"), 1).await).await, "409 NO_LEASE");
    let unknown = "/v1/sessions/exec_20261121_020944_00000000/heartbeat";
    assert_eq!(said(holding(&house, "POST", unknown, 1).await).await, "404 NOT_FOUND");
}

/// LS-1, LS-7
#[tokio::test]
async fn a_lease_is_taken_with_a_token_that_only_its_taker_hears() {
    let house = House::open().await;
    let id = house.session_id().await;
    let path = format!("/v1/sessions/{id}/lease");
    let taken = house.request(As::Owner, "POST", &path).send().await.unwrap();
    assert_eq!(taken.status(), 200);
    let taken: Value = taken.json().await.unwrap();
    assert_eq!((&taken["lease"]["token"], &taken["lease"]["ttl_ms"]), (&json!(1), &json!(60_000)));
    assert_eq!(said(house.post(As::Owner, &path, json!({})).await).await, "409 LEASE_HELD");
    assert_eq!(said(house.post(As::Owner, &path, json!({ "takeover": "yes" })).await).await, "422 VALIDATION");
    assert_eq!(said(house.post(As::Owner, &path, json!({ "ttl_ms": 1 })).await).await, "422 VALIDATION");
    let terms = json!({ "ttl_ms": 1000, "heartbeat_interval_ms": 100, "takeover": true });
    let over: Value = house.post(As::Owner, &path, terms).await.json().await.unwrap();
    assert_eq!(over["lease"], json!({ "token": 2, "ttl_ms": 1000, "heartbeat_interval_ms": 100 }));
    assert_eq!(said(holding(&house, "DELETE", &path, 1).await).await, "412 STALE_LEASE");
    let free: Value = holding(&house, "DELETE", &path, 2).await.json().await.unwrap();
    let nothing = [&free["lease"], &free["lease_expires_at"], &free["heartbeat_interval"], &free["last_heartbeat"]];
    assert_eq!(nothing, [&Value::Null; 4]);
    assert_eq!(said(holding(&house, "DELETE", &path, 2).await).await, "200");
    let again: Value = house.post(As::Owner, &path, json!({})).await.json().await.unwrap();
    assert_eq!(again["lease"]["token"], 3);
}
