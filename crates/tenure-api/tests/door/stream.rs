//! Streams: what happens is told within a second, and they end when they must.

use crate::house::{As, House, SOON, said, text};
use reqwest::Response;
use serde_json::{Value, json};
use std::time::Duration;

/// The push's promise.
const WITHIN: Duration = Duration::from_secs(1);

/// Reads events one after another.
pub struct Events {
    answer: Response,
    read: String,
}

impl Events {
    pub fn of(answer: Response) -> Events {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events { answer, read: String::new() }
    }

    /// The next event's name and data; `None` at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())) {
                self.read = rest;
                if event.starts_with(':') {
                    continue;
                }
                let (name, data) = event.split_once('\n').unwrap();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                return Some((name.strip_prefix("event: ").unwrap().to_owned(), data));
            }
            let chunk = tokio::time::timeout(SOON, self.answer.chunk()).await.expect("something comes").ok()??;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// ST-1, ST-2
#[tokio::test]
async fn a_change_of_status_is_told_within_a_second_and_the_end_is_the_last() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut events = Events::of(house.get(As::Owner, &format!("/v1/sessions/{id}/events")).await);
    let (name, first) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &first["display_state"]), ("status", &json!("ready")));
    for (what, shows) in [("pause", "paused"), ("resume", "ready"), ("terminate", "terminated")] {
        house.post(As::Owner, &format!("/v1/sessions/{id}/{what}"), json!({})).await;
        let (_, told) = tokio::time::timeout(WITHIN, events.next()).await.expect("within a second").unwrap();
        assert_eq!(told["display_state"], shows);
    }
    assert_eq!(events.next().await, None);
    let mut after = Events::of(house.get(As::Owner, &format!("/v1/sessions/{id}/events")).await);
    assert_eq!(after.next().await.unwrap().1["termination_reason"], "user_request");
    assert_eq!(after.next().await, None);
}

/// AU-2
#[tokio::test]
async fn a_stream_ends_when_its_credential_does() {
    let house = House::open().await;
    let id = house.session_id().await;
    let request = json!({ "role": "user", "user": "alice" });
    let key: Value = house.post(As::Admin, "/v1/keys", request).await.json().await.unwrap();
    let request = house.request(As::Nobody, "GET", &format!("/v1/sessions/{id}/events"));
    let mut events = Events::of(request.bearer_auth(text(&key, "secret")).send().await.unwrap());
    events.next().await.unwrap();
    let revoked = house.request(As::Admin, "DELETE", &format!("/v1/keys/{}", text(&key, "id")));
    assert_eq!(revoked.send().await.unwrap().status(), 200);
    assert_eq!(events.next().await, None);
}

/// EN-3
#[tokio::test]
async fn a_program_is_followed_from_its_beginning_to_its_end() {
    let house = House::open().await;
    let id = house.session_id().await;
    let exec = format!("/v1/sessions/{id}/exec");
    let body = json!({ "cmd": ["print", "out", "err"], "stream": true });
    let mut events = Events::of(house.post(As::Owner, &exec, body).await);
    let mut names = Vec::new();
    while let Some((name, data)) = events.next().await {
        match name.as_str() {
            "started" => assert!(text(&data, "exec_id").starts_with("x_")),
            "stdout" => assert_eq!(data, json!({ "data": "out" })),
            "stderr" => assert_eq!(data, json!({ "data": "err" })),
            "exit" => assert_eq!((&data["state"], &data["exit_code"]), (&json!("exited"), &json!(0))),
            other => panic!("{other}"),
        }
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["exit", "started", "stderr", "stdout"]);
    let body = json!({ "cmd": ["bytes"], "stream": true });
    let mut events = Events::of(house.post(As::Owner, &exec, body).await);
    events.next().await.unwrap();
    assert_eq!(events.next().await.unwrap().1["data_base64"], "//54", "bytes that are no text are told whole");
}

/// TM-7, EN-3
#[tokio::test]
async fn a_followed_program_ends_with_its_session_and_the_stream_says_why() {
    let house = House::open().await;
    let id = house.session_id().await;
    let body = json!({ "cmd": ["run"], "stream": true });
    let mut events = Events::of(house.post(As::Owner, &format!("/v1/sessions/{id}/exec"), body).await);
    events.next().await.unwrap();
    house.post(As::Owner, &format!("/v1/sessions/{id}/terminate"), json!({})).await;
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let (name, problem) = last.unwrap();
    assert_eq!((name.as_str(), &problem["code"]), ("error", &json!("GONE")));
    assert_eq!(problem["reason"], "user_request");
}

/// EN-5
#[tokio::test]
async fn changes_of_files_are_told_as_they_happen() {
    let house = House::open().await;
    let id = house.session_id().await;
    let watch = format!("/v1/sessions/{id}/watch?path=/workspace&recursive=true");
    let mut events = Events::of(house.get(As::Owner, &watch).await);
    let write = house.request(As::Owner, "PUT", &format!("/v1/sessions/{id}/files?path=new")).body("x");
    assert_eq!(said(write.send().await.unwrap()).await, "204");
    let (name, change) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &change["path"]), ("change", &json!("/workspace/new")));
}

/// AP-1
#[tokio::test]
async fn a_door_that_closes_ends_long_streams() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut events = Events::of(house.get(As::Owner, &format!("/v1/sessions/{id}/events")).await);
    events.next().await.unwrap();
    house.closing.cancel();
    assert_eq!(events.next().await, None);
}
