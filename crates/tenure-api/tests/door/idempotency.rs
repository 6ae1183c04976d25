//! The same request twice is answered the same (LC-6).

use crate::house::{As, House, said, text};
use serde_json::{Value, json};

async fn keyed(house: &House, who: As, path: &str, key: &str, body: &str) -> reqwest::Response {
    let request = house.request(who, "POST", path).header("Idempotency-Key", key).body(body.to_owned());
    request.send().await.unwrap()
}

/// LC-6
#[tokio::test]
async fn the_same_key_and_body_make_one_session() {
    let house = House::open().await;
    let body = r#"{"metadata":{"a":"1"},"limits":{"pids":64}}"#;
    let first = keyed(&house, As::Owner, "/v1/sessions", "k", body).await;
    assert_eq!((first.status(), first.headers().get("idempotent-replayed")), (reqwest::StatusCode::CREATED, None));
    let first = first.bytes().await.unwrap();
    let same_otherwise_written = r#"{ "limits": {"pids": 64}, "metadata": {"a": "1"} }"#;
    let again = keyed(&house, As::Owner, "/v1/sessions", "k", same_otherwise_written).await;
    assert_eq!(
        (again.status(), &again.headers()["idempotent-replayed"]),
        (reqwest::StatusCode::CREATED, &"true".parse().unwrap())
    );
    assert_eq!(again.bytes().await.unwrap(), first);
    let other = keyed(&house, As::Owner, "/v1/sessions", "k", "{}").await;
    assert_eq!(said(other).await, "409 IDEMPOTENCY_CONFLICT");
    let somebody_elses = keyed(&house, As::Other, "/v1/sessions", "k", "{}").await;
    assert_eq!(said(somebody_elses).await, "201");
    let all: Value = house.get(As::Owner, "/v1/sessions").await.json().await.unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

/// LC-6
#[tokio::test]
async fn duplicates_at_the_same_time_wait_for_the_first() {
    let house = House::open().await;
    let all = (0..8).map(|_| keyed(&house, As::Owner, "/v1/sessions", "k", "{}"));
    let mut ids = Vec::new();
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.status(), 201);
        ids.push(text(&answer.json().await.unwrap(), "id"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

/// LC-6
#[tokio::test]
async fn an_exec_runs_once_and_its_answer_outlives_the_session() {
    let house = House::open().await;
    let id = house.session_id().await;
    let exec = format!("/v1/sessions/{id}/exec");
    let body = r#"{"cmd":["exit","3"]}"#;
    let first: Value = keyed(&house, As::Owner, &exec, "k", body).await.json().await.unwrap();
    assert_eq!(first["exit_code"], 3);
    house.post(As::Owner, &format!("/v1/sessions/{id}/terminate"), json!({})).await;
    let again: Value = keyed(&house, As::Owner, &exec, "k", body).await.json().await.unwrap();
    assert_eq!(again, first);
    let elsewhere = house.session_id().await;
    let other = keyed(&house, As::Owner, &format!("/v1/sessions/{elsewhere}/exec"), "k", body).await;
    assert_eq!(said(other).await, "409 IDEMPOTENCY_CONFLICT", "another session is another request");
}

/// LC-6
#[tokio::test]
async fn what_was_refused_is_not_remembered() {
    let house = House::open().await;
    assert_eq!(said(keyed(&house, As::Owner, "/v1/sessions", "k", "{").await).await, "400 BAD_REQUEST");
    assert_eq!(said(keyed(&house, As::Owner, "/v1/sessions", "k", "{}").await).await, "201");
    let long = "k".repeat(256);
    assert_eq!(said(keyed(&house, As::Owner, "/v1/sessions", &long, "{}").await).await, "422 VALIDATION");
}
