//! Execs over HTTP (EN-3, EN-4).

use crate::house::{As, House, said, text};
use serde_json::{Value, json};

async fn ran(house: &House, id: &str, body: Value) -> Value {
    let answer = house.post(As::Owner, &format!("/v1/sessions/{id}/exec"), body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["tenure-generation"], "1");
    answer.json().await.unwrap()
}

/// EN-3
#[tokio::test]
async fn every_way_to_end_is_told_apart() {
    let house = House::open().await;
    let id = house.session_id().await;
    let cat = ran(&house, &id, json!({ "cmd": ["cat"], "stdin": "hello" })).await;
    assert_eq!((&cat["stdout"], &cat["exit_code"], &cat["generation"]), (&json!("hello"), &json!(0), &json!(1)));
    let exit = ran(&house, &id, json!({ "cmd": ["exit", "7"] })).await;
    assert_eq!((&exit["state"], &exit["exit_code"], &exit["signal"]), (&json!("exited"), &json!(7), &Value::Null));
    let killed = ran(&house, &id, json!({ "cmd": ["die"] })).await;
    assert_eq!(
        (&killed["state"], &killed["exit_code"], &killed["signal"]),
        (&json!("killed"), &Value::Null, &json!(9))
    );
    let oom = ran(&house, &id, json!({ "cmd": ["oom"] })).await;
    assert_eq!(oom["oom_killed"], true);
    let late = ran(&house, &id, json!({ "cmd": ["run"], "timeout_ms": 50 })).await;
    assert_eq!((&late["timed_out"], &late["exit_code"]), (&json!(true), &Value::Null));
    let absent = ran(&house, &id, json!({ "cmd": ["absent"] })).await;
    assert_eq!((&absent["state"], &absent["exit_code"]), (&json!("failed"), &Value::Null));
}

/// EN-3, EN-4
#[tokio::test]
async fn output_is_whole_by_offset_and_bounded_in_the_answer() {
    let house = House::open().await;
    let id = house.session_id().await;
    let much = ran(&house, &id, json!({ "cmd": ["much"] })).await;
    assert_eq!(text(&much, "stdout").len(), 1 << 20);
    assert_eq!((&much["truncated_at"], &much["stdout_bytes"]), (&json!(1 << 20), &json!(3 << 20)));
    let exec = text(&much, "exec_id");
    let path = format!("/v1/sessions/{id}/execs/{exec}/output?offset={}", (3 << 20) - 5);
    let rest = house.get(As::Owner, &path).await;
    assert_eq!(rest.headers()["tenure-next-offset"], (3 << 20).to_string());
    assert_eq!(rest.headers()["tenure-running"], "false");
    assert_eq!(rest.bytes().await.unwrap(), "xxxxx");
    let odd = format!("/v1/sessions/{id}/execs/{exec}/output?stream=other");
    assert_eq!(said(house.get(As::Owner, &odd).await).await, "400 BAD_REQUEST");
    let bytes = ran(&house, &id, json!({ "cmd": ["bytes"] })).await;
    assert_eq!(bytes["stdout"], "\u{fffd}\u{fffd}x");
}

/// EN-3
#[tokio::test]
async fn what_runs_in_the_background_is_seen_fed_and_signalled() {
    let house = House::open().await;
    let id = house.session_id().await;
    let exec = house.exec_running(&id).await;
    let base = format!("/v1/sessions/{id}/execs");
    let stdin = house.request(As::Owner, "POST", &format!("{base}/{exec}/stdin?eof=true")).body("more");
    assert_eq!(said(stdin.send().await.unwrap()).await, "204");
    let listed: Value = house.get(As::Owner, &base).await.json().await.unwrap();
    assert_eq!((&listed["items"][0]["exec_id"], &listed["items"][0]["stdout"]), (&json!(exec), &Value::Null));
    let kill = format!("{base}/{exec}/kill");
    assert_eq!(said(house.post(As::Owner, &kill, json!({ "signal": 99 })).await).await, "422 VALIDATION");
    assert_eq!(said(house.post(As::Owner, &kill, json!({ "signal": "SIGKILL" })).await).await, "200");
    let ended = async {
        loop {
            let exec: Value = house.get(As::Owner, &format!("{base}/{exec}")).await.json().await.unwrap();
            if exec["state"] != "started" && exec["state"] != "intended" {
                return exec;
            }
        }
    };
    let ended = tokio::time::timeout(crate::house::SOON, ended).await.unwrap();
    assert_eq!((&ended["state"], &ended["signal"]), (&json!("killed"), &json!(9)));
    assert_eq!(said(house.post(As::Owner, &kill, json!({ "signal": 9 })).await).await, "409 EXEC_ENDED");
}

/// TM-7
#[tokio::test]
async fn whoever_waits_hears_of_the_end_with_what_was_printed() {
    let house = House::open().await;
    let id = house.session_id().await;
    let path = format!("/v1/sessions/{id}/exec");
    let waits = house.request(As::Owner, "POST", &path).json(&json!({ "cmd": ["run"] }));
    let waits = tokio::spawn(waits.send());
    house.until(&id, "running").await;
    let printed = async {
        loop {
            let listed: Value = house.get(As::Owner, &format!("{path}s")).await.json().await.unwrap();
            let exec = text(&listed["items"][0], "exec_id");
            let output = house.get(As::Owner, &format!("{path}s/{exec}/output")).await;
            if output.bytes().await.is_ok_and(|bytes| bytes == "begun\n") {
                return;
            }
        }
    };
    tokio::time::timeout(crate::house::SOON, printed).await.unwrap();
    house.post(As::Owner, &format!("/v1/sessions/{id}/terminate"), json!({})).await;
    let answer = waits.await.unwrap().unwrap();
    assert_eq!(answer.status(), 410);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["captured"]["stdout"], "begun\n");
    assert_eq!(problem["reason"], "user_request");
}

/// GV-2
#[tokio::test]
async fn one_exec_too_many_is_refused_where_the_session_says_so() {
    let house = House::open().await;
    let limits = json!({ "limits": { "max_concurrent_execs": 1, "on_exec_limit": "reject" } });
    let id = text(&house.session(limits).await, "id");
    house.exec_running(&id).await;
    let body = json!({ "cmd": ["true"] });
    let refused = house.post(As::Owner, &format!("/v1/sessions/{id}/exec"), body).await;
    assert_eq!(said(refused).await, "429 EXEC_LIMIT");
}
