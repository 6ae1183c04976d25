//! The service itself, its keys, and its metrics.

use crate::house::{As, House, said, text};
use serde_json::{Value, json};

/// MT-1
#[tokio::test]
async fn metrics_are_read_by_administrators_and_by_a_secret_of_their_own() {
    let house = House::open().await;
    house.session_id().await;
    let scraped = house.request(As::Nobody, "GET", "/metrics").bearer_auth("scraper").send().await.unwrap();
    assert!(scraped.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let metrics = scraped.text().await.unwrap();
    assert!(metrics.contains("tenure_requests_total{operation=\"session_create\",status=\"201\"} 1"), "{metrics}");
    assert!(metrics.contains("tenure_request_seconds_bucket"), "{metrics}");
    assert!(metrics.contains("tenure_sessions"), "{metrics}");
    let elsewhere = house.request(As::Nobody, "GET", "/v1/sessions").bearer_auth("scraper").send().await.unwrap();
    assert_eq!(said(elsewhere).await, "401 UNAUTHENTICATED");
}

/// AU-1
#[tokio::test]
async fn a_key_works_until_it_is_revoked_or_rotated() {
    let house = House::open().await;
    let made = house.post(As::Admin, "/v1/keys", json!({ "role": "user", "user": "carol", "label": "ci" })).await;
    let made: Value = made.json().await.unwrap();
    let (id, secret) = (text(&made, "id"), text(&made, "secret"));
    let with = async |secret: &str| {
        let request = house.request(As::Nobody, "GET", "/v1/sessions").bearer_auth(secret);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(with(&secret).await, 200);
    let rotated = house.post(As::Admin, &format!("/v1/keys/{id}/rotate"), json!({})).await;
    let rotated = text(&rotated.json().await.unwrap(), "secret");
    assert_eq!((with(&secret).await, with(&rotated).await), (401, 200));
    let listed = house.get(As::Admin, "/v1/keys").await.text().await.unwrap();
    assert!(listed.contains(&id) && !listed.contains(&rotated), "secrets are told once");
    house.request(As::Admin, "DELETE", &format!("/v1/keys/{id}")).send().await.unwrap();
    assert_eq!(with(&rotated).await, 401);
}

/// EN-8
#[tokio::test]
async fn access_is_authorized_or_denied_without_a_word_why() {
    let house = House::open().await;
    let id = house.session_id().await;
    let ask = async |user: &str, id: &str| {
        house.post(As::Admin, "/v1/access/authorize", json!({ "session_id": id, "user_id": user })).await
    };
    let granted: Value = ask("alice", &id).await.json().await.unwrap();
    assert_eq!((&granted["authorized"], &granted["session_id"]), (&json!(true), &json!(id)));
    let theirs = ask("bob", &id).await.text().await.unwrap();
    let nobodys = ask("bob", "exec_20200101_000000_00000000").await.text().await.unwrap();
    assert_eq!(theirs, nobodys);
    let denied = house.post(As::Admin, "/v1/access/deny", json!({ "session_id": id, "reason": "left the team" })).await;
    let denied = denied.text().await.unwrap();
    assert!(denied.contains("ACCESS_DENIED") && !denied.contains("left"), "{denied}");
    let audit = house.get(As::Admin, &format!("/v1/audit?session_id={id}&action=access_deny")).await;
    assert_eq!(audit.json::<Value>().await.unwrap()["items"][0]["reason"], "left the team");
}

/// TR-5
#[tokio::test]
async fn the_audit_is_listed_and_verified() {
    let house = House::open().await;
    house.session_id().await;
    let verified: Value = house.post(As::Admin, "/v1/audit/verify", json!({})).await.json().await.unwrap();
    assert_eq!((&verified["intact"], &verified["problem"]), (&json!(true), &Value::Null));
    let page: Value = house.get(As::Admin, "/v1/audit?limit=1").await.json().await.unwrap();
    let cursor = text(&page, "next_cursor");
    let next: Value = house.get(As::Admin, &format!("/v1/audit?limit=1&cursor={cursor}")).await.json().await.unwrap();
    assert_ne!(page["items"][0]["position"], next["items"][0]["position"]);
    assert_eq!(said(house.get(As::Admin, "/v1/audit?limit=1001").await).await, "400 BAD_REQUEST");
}

/// AP-1
#[tokio::test]
async fn a_session_is_shown_as_the_documentation_says() {
    let house = House::open().await;
    let session = house.session(json!({ "metadata": { "team": "blue" } })).await;
    let fields = [
        "id",
        "owner",
        "template",
        "state",
        "phase",
        "reason",
        "created_at",
        "updated_at",
        "last_activity_at",
        "terminated_at",
        "termination_reason",
        "termination_detail",
        "failure",
        "deleted_at",
        "limits",
        "expires_at",
        "lease_expires_at",
        "heartbeat_interval",
        "last_heartbeat",
        "lease",
        "environment",
        "metadata",
        "turn_id",
        "branch",
        "links",
    ];
    for field in fields {
        assert!(session.get(field).is_some(), "{field} in {session}");
    }
    assert_eq!((&session["owner"], &session["template"]), (&json!("alice"), &json!("default")));
    assert_eq!(
        (&session["state"], &session["phase"], &session["reason"]),
        (&json!("ready"), &json!("ACTIVE"), &json!("ok"))
    );
    assert_eq!(session["environment"]["state"], "ready");
    assert_eq!((&session["limits"]["enforced"]["disk"], &session["turn_id"]), (&json!(true), &json!(0)));
    assert_eq!(session["metadata"], json!({ "team": "blue" }));
}

/// AP-1
#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let house = House::open().await;
    for team in ["blue", "red", "blue"] {
        house.session(json!({ "metadata": { "team": team } })).await;
    }
    let blue: Value = house.get(As::Owner, "/v1/sessions?metadata=team:blue&state=ready").await.json().await.unwrap();
    assert_eq!(blue["items"].as_array().unwrap().len(), 2);
    let first: Value = house.get(As::Owner, "/v1/sessions?limit=2").await.json().await.unwrap();
    let rest = format!("/v1/sessions?limit=2&cursor={}", text(&first, "next_cursor"));
    let rest: Value = house.get(As::Owner, &rest).await.json().await.unwrap();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &Value::Null));
    for odd in ["limit=0", "state=odd", "phase=active", "metadata=x", "owner=%20", "color=red", "limit=1&limit=2"] {
        let answer = house.get(As::Owner, &format!("/v1/sessions?{odd}")).await;
        assert_eq!(said(answer).await, "400 BAD_REQUEST", "{odd}");
    }
}
