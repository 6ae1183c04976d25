//! What goes wrong has one shape, whatever it is, and says nothing that the caller should not know.

use crate::house::{As, House, problem_holds, said, text};
use serde_json::{Value, json};

/// AP-1
#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too_and_nobody_hears_of_them() {
    let house = House::open().await;
    assert_eq!(said(house.get(As::Nobody, "/v1/nothing").await).await, "401 UNAUTHENTICATED");
    assert_eq!(said(house.get(As::Owner, "/v1/nothing").await).await, "404 ROUTE_NOT_FOUND");
    assert_eq!(said(house.get(As::Nobody, "/nothing").await).await, "404 ROUTE_NOT_FOUND");
    let patched = house.request(As::Nobody, "PATCH", "/v1/sessions").send().await.unwrap();
    assert_eq!(said(patched).await, "401 UNAUTHENTICATED");
    let patched = house.request(As::Owner, "PATCH", "/v1/sessions").send().await.unwrap();
    let allow = patched.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert_eq!(said(patched).await, "405 METHOD_NOT_ALLOWED");
}

/// AU-1, AP-1
#[tokio::test]
async fn authentication_comes_before_format_and_body() {
    let house = House::open().await;
    let answer = house.get(As::Nobody, "/v1/sessions/no-id").await;
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert_eq!(said(answer).await, "401 UNAUTHENTICATED");
    for secret in ["", "tnr_wrong", "tnr_", "eyJhbGciOiJub25lIn0.e30.", "\u{e4}"] {
        let request = house.request(As::Nobody, "POST", "/v1/sessions").bearer_auth(secret).body("{");
        assert_eq!(said(request.send().await.unwrap()).await, "401 UNAUTHENTICATED", "{secret:?}");
    }
}

/// ID-4, AP-1
#[tokio::test]
async fn what_is_no_id_is_said_to_be_none() {
    let house = House::open().await;
    for id in ["no-id", "exec_20261121_020944_4AD060D9", "exec_20261321_020944_4ad060d9", "%20", "%ff"] {
        let answer = house.get(As::Owner, &format!("/v1/sessions/{id}")).await;
        assert_eq!(answer.status(), 400, "{id}");
        problem_holds(&answer.json().await.unwrap(), 400);
    }
    let answer: Value = house.get(As::Owner, "/v1/sessions/no-id").await.json().await.unwrap();
    assert_eq!((&answer["code"], &answer["reason"]), (&json!("INVALID_FORMAT"), &json!("invalid_format")));
}

/// AP-1
#[tokio::test]
async fn bodies_that_cannot_be_taken_say_what_is_wrong_with_them() {
    let house = House::open().await;
    let sent = async |body: &str| {
        let request = house.request(As::Owner, "POST", "/v1/sessions").body(body.to_owned());
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap();
        problem_holds(&problem, status);
        problem
    };
    assert_eq!(sent("{").await["code"], "BAD_REQUEST");
    assert_eq!(sent("\u{0}").await["code"], "BAD_REQUEST");
    let unknown = sent(r#"{"color":"red"}"#).await;
    assert_eq!((&unknown["code"], unknown["status"].as_u64()), (&json!("VALIDATION"), Some(422)));
    assert!(unknown["invalid_fields"].to_string().contains("color"), "{unknown}");
    let wrong = sent(r#"{"limits":{"pids":"many"}}"#).await;
    assert_eq!(wrong["invalid_fields"][0]["field"], "limits.pids");
    let large = sent(&format!(r#"{{"metadata":{{"a":"{}"}}}}"#, "x".repeat(2 << 20))).await;
    assert_eq!((&large["code"], &large["limit"]), (&json!("TOO_LARGE"), &json!(1 << 20)));
    let id = house.session_id().await;
    let empty = house.request(As::Owner, "POST", &format!("/v1/sessions/{id}/transition")).body("{}");
    let empty: Value = empty.send().await.unwrap().json().await.unwrap();
    assert_eq!(empty["missing_fields"], json!(["to"]));
}

/// TM-4
#[tokio::test]
async fn what_is_wrong_with_a_body_or_query_is_said_after_what_is_wrong_with_the_session() {
    let house = House::open().await;
    let id = house.session_id().await;
    let exec = format!("/v1/sessions/{id}/exec");
    let sent = async |who, path: &str, body: String| {
        said(house.request(who, "POST", path).body(body).send().await.unwrap()).await
    };
    let too_large = "x".repeat(2 << 20);
    assert_eq!(sent(As::Owner, &exec, "{".to_owned()).await, "400 BAD_REQUEST");
    assert_eq!(sent(As::Owner, &exec, too_large.clone()).await, "413 TOO_LARGE");
    assert_eq!(sent(As::Other, &exec, "{".to_owned()).await, "404 NOT_FOUND");
    assert_eq!(sent(As::Other, &exec, too_large.clone()).await, "404 NOT_FOUND");
    let odd = format!("/v1/sessions/{id}/files?color=red");
    assert_eq!(said(house.get(As::Owner, &odd).await).await, "400 BAD_REQUEST");
    assert_eq!(said(house.get(As::Other, &odd).await).await, "404 NOT_FOUND");
    house.post(As::Owner, &format!("/v1/sessions/{id}/terminate"), json!({})).await;
    assert_eq!(sent(As::Owner, &exec, "{".to_owned()).await, "410 GONE");
    assert_eq!(sent(As::Owner, &exec, too_large).await, "410 GONE");
    assert_eq!(said(house.get(As::Owner, &odd).await).await, "410 GONE");
}

/// TM-1, TM-2, TM-3
#[tokio::test]
async fn after_the_end_the_answer_says_why_and_when() {
    let house = House::open().await;
    let id = house.session_id().await;
    let terminate = format!("/v1/sessions/{id}/terminate");
    let first = house.post(As::Owner, &terminate, json!({ "reason": "completed", "detail": "all done" })).await;
    let first: Value = first.json().await.unwrap();
    let again: Value = house.post(As::Admin, &terminate, json!({})).await.json().await.unwrap();
    assert_eq!(again["termination_reason"], "completed");
    assert_eq!(again["terminated_at"], first["terminated_at"]);
    let gone = house.post(As::Owner, &format!("/v1/sessions/{id}/exec"), json!({ "cmd": ["true"] })).await;
    assert_eq!(gone.status(), 410);
    let gone: Value = gone.json().await.unwrap();
    assert_eq!(gone["reason"], "completed");
    assert_eq!(gone["terminated_at"], first["terminated_at"]);
    assert_eq!(gone["termination_detail"], "all done");
    assert_eq!((&gone["state"], text(&gone, "session_id")), (&json!("terminated"), id));
}

/// LC-3
#[tokio::test]
async fn an_illegal_transition_names_the_legal_ones() {
    let house = House::open().await;
    let id = house.session_id().await;
    let answer = house.post(As::Owner, &format!("/v1/sessions/{id}/transition"), json!({ "to": "created" })).await;
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "INVALID_TRANSITION");
    assert_eq!(problem["state"], "ready");
    let allowed = problem["allowed_transitions"].as_array().unwrap();
    assert!(allowed.contains(&json!("paused")) && !allowed.contains(&json!("created")), "{problem}");
}

/// AP-1
#[tokio::test]
async fn a_panic_is_an_internal_error_that_tells_nothing() {
    let house = House::open().await;
    let answer = house.post(As::Owner, "/v1/sessions", json!({ "env": { "PANIC": "1" } })).await;
    assert_eq!(answer.status(), 500);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body = answer.text().await.unwrap();
    assert!(!body.contains("secret of this panic"), "{body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&problem["code"], text(&problem, "request_id")), (&json!("INTERNAL"), id));
    assert_eq!(house.get(As::Owner, "/v1/sessions").await.status(), 200, "the server goes on");
}

/// LS-7
#[tokio::test]
async fn while_a_lease_is_held_its_token_is_asked_for() {
    let house = House::open().await;
    let made = house.session(json!({ "lease": { "ttl_ms": 60_000, "heartbeat_interval_ms": 1500 } })).await;
    let (id, token) = (text(&made, "id"), made["lease"]["token"].as_u64().unwrap());
    assert_eq!(made["heartbeat_interval"], 1.5);
    let exec = format!("/v1/sessions/{id}/exec");
    let body = json!({ "cmd": ["true"] });
    assert_eq!(said(house.post(As::Owner, &exec, body.clone()).await).await, "412 STALE_LEASE");
    assert_eq!(said(house.post(As::Admin, &exec, body.clone()).await).await, "412 STALE_LEASE");
    let with = async |token: String| {
        let request = house.request(As::Owner, "POST", &exec).header("Tenure-Lease-Token", token).json(&body);
        said(request.send().await.unwrap()).await
    };
    assert_eq!(with(token.to_string()).await, "200");
    assert_eq!(with((token + 1).to_string()).await, "412 STALE_LEASE");
    assert_eq!(with("one".to_owned()).await, "400 BAD_REQUEST");
    let read: Value = house.get(As::Owner, &format!("/v1/sessions/{id}")).await.json().await.unwrap();
    assert_eq!(read["lease"], Value::Null, "only whoever took it hears the token");
}
