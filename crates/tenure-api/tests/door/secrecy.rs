//! What is somebody else's was never there.

use crate::house::{As, House};
use reqwest::Response;
use serde_json::json;
use std::collections::BTreeMap;

const UNKNOWN: &str = "exec_20200101_000000_00000000";

/// Everything of an answer, but its time, its request's ID, and the ID that was asked for.
async fn seen(answer: Response, id: &str) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let status = answer.status().as_u16();
    let mut headers: BTreeMap<String, String> = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.remove("date");
    headers.remove("x-request-id");
    let body = answer.text().await.unwrap().replace(id, "ID");
    (status, headers, body.into_bytes())
}

/// TR-3
#[tokio::test]
async fn a_session_of_somebody_else_is_answered_byte_for_byte_as_one_that_never_was() {
    let house = House::open().await;
    let foreign = house.session_id().await;
    house.post(As::Owner, &format!("/v1/sessions/{foreign}/terminate"), json!({})).await;
    let body = json!({ "cmd": ["true"] });
    for (method, rest) in [
        ("GET", ""),
        ("GET", "/status"),
        ("GET", "/events"),
        ("GET", "/execs/x_0000000000000000"),
        ("GET", "/files?path=x"),
        ("PUT", "/files?path=x"),
        ("POST", "/exec"),
        ("POST", "/extend"),
        ("POST", "/environment"),
        ("GET", "/preview/8080/"),
        ("DELETE", ""),
    ] {
        let ask = async |id: &str| {
            let request = house.request(As::Other, method, &format!("/v1/sessions/{id}{rest}")).json(&body);
            seen(request.send().await.unwrap(), id).await
        };
        let (theirs, nobodys) = (ask(&foreign).await, ask(UNKNOWN).await);
        assert_eq!(theirs.0, 404, "{method} {rest}");
        assert_eq!(theirs, nobodys, "{method} {rest}");
    }
}

/// TR-3
#[tokio::test]
async fn a_list_holds_ones_own_alone() {
    let house = House::open().await;
    house.session_id().await;
    let theirs: serde_json::Value = house.get(As::Other, "/v1/sessions").await.json().await.unwrap();
    assert_eq!(theirs["items"], json!([]));
    let asked: serde_json::Value = house.get(As::Other, "/v1/sessions?owner=alice").await.json().await.unwrap();
    assert_eq!(asked["items"], json!([]));
    let all: serde_json::Value = house.get(As::Admin, "/v1/sessions?owner=alice").await.json().await.unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

/// TR-1, TR-2
#[tokio::test]
async fn a_deleted_session_is_read_where_that_is_asked_for() {
    let house = House::open().await;
    let id = house.session_id().await;
    let path = format!("/v1/sessions/{id}");
    house.request(As::Owner, "DELETE", &path).send().await.unwrap();
    let problem: serde_json::Value = house.get(As::Owner, &path).await.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["reason"]), (&json!("NOT_FOUND"), &json!("deleted")));
    for rest in ["", "/status", "/explain", "/audit", "/execs", "/events"] {
        let answer = house.get(As::Owner, &format!("{path}{rest}?include_deleted=true")).await;
        assert_eq!(answer.status(), 200, "{rest}");
    }
    let session: serde_json::Value =
        house.get(As::Owner, &format!("{path}?include_deleted=true")).await.json().await.unwrap();
    assert_eq!((&session["phase"], &session["termination_reason"]), (&json!("DELETED"), &json!("deleted")));
    let list: serde_json::Value = house.get(As::Owner, "/v1/sessions").await.json().await.unwrap();
    assert_eq!(list["items"], json!([]));
    house.post(As::Owner, &format!("{path}/undelete"), json!({})).await;
    assert_eq!(house.get(As::Owner, &path).await.status(), 200);
}
