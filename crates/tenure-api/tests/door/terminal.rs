//! Terminals over WebSocket, with a real client: what is told, what is typed, and by which code each is closed (EN-7, AU-2).

use crate::house::{As, House, SOON, said, text};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tenure_session::Operation;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// The push's promise.
const WITHIN: Duration = Duration::from_secs(1);

/// One end of a terminal.
struct Client {
    socket: WebSocketStream<TcpStream>,
    protocol: Option<String>,
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
enum Heard {
    Told(Value),
    Bytes(Vec<u8>),
    Closed(u16, String),
    /// Without a word.
    Cut,
}

impl Client {
    async fn say(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    async fn types(&mut self, data: &str) {
        self.say(Message::text(json!({ "type": "input", "data": data }).to_string())).await;
    }

    async fn hears(&mut self) -> Heard {
        loop {
            let heard = tokio::time::timeout(SOON, self.socket.next()).await.expect("something comes");
            return match heard {
                Some(Ok(Message::Text(text))) => Heard::Told(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(bytes))) => Heard::Bytes(bytes.to_vec()),
                Some(Ok(Message::Close(Some(frame)))) => Heard::Closed(frame.code.into(), frame.reason.to_string()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(None)) | Err(_)) | None => Heard::Cut,
            };
        }
    }

    async fn told(&mut self, kind: &str) -> Value {
        loop {
            match self.hears().await {
                Heard::Told(told) if told["type"] == kind => return told,
                Heard::Told(_) | Heard::Bytes(_) => {}
                other => panic!("no {kind}: {other:?}"),
            }
        }
    }

    /// What is printed up to this text.
    async fn sees(&mut self, end: &str) -> String {
        let mut seen = String::new();
        while !seen.ends_with(end) {
            seen.push_str(self.told("output").await["data"].as_str().unwrap());
        }
        seen
    }

    /// All that comes until it is closed.
    async fn until_closed(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            let heard = self.hears().await;
            all.push(heard.clone());
            if matches!(heard, Heard::Closed(..) | Heard::Cut) {
                return all;
            }
        }
    }

    /// The code it is closed with, and why.
    async fn closed(&mut self) -> (u16, String) {
        match self.until_closed().await.pop() {
            Some(Heard::Closed(code, why)) => (code, why),
            other => panic!("not closed: {other:?}"),
        }
    }
}

async fn dial(house: &House, path: &str, more: &[(&'static str, &str)]) -> Result<Client, Error> {
    let mut request = format!("ws://localhost:{}{path}", house.address.port()).into_client_request()?;
    for (name, value) in more {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(house.address).await.unwrap();
    let (socket, answer) = tokio::time::timeout(SOON, client_async(request, stream)).await.expect("in time")?;
    let protocol = answer.headers().get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned());
    Ok(Client { socket, protocol })
}

async fn open(house: &House, who: As, id: &str, query: &str) -> Client {
    let bearer = house.secret(who).map(|secret| format!("Bearer {secret}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    dial(house, &format!("/v1/sessions/{id}/terminal?{query}"), &headers).await.unwrap()
}

async fn ticket(house: &House, id: &str, more: Value) -> String {
    let mut body = json!({ "session_id": id, "use": "terminal" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made: Value = house.post(As::Owner, "/v1/tickets", body).await.json().await.unwrap();
    text(&made, "ticket")
}

/// EN-7, LC-8
#[tokio::test]
async fn a_terminal_is_opened_typed_on_resized_and_ended() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut client = open(&house, As::Owner, &id, "cmd=echo&cmd=hello%20&rows=30&cols=90").await;
    let status = client.told("status").await;
    assert_eq!((&status["state"], &status["exec_state"]), (&json!("running"), &json!("started")));
    assert!(status["remaining_seconds"].as_u64().is_some_and(|left| left > 0), "{status}");
    client.types("typed ").await;
    client.say(Message::binary(&b"raw "[..])).await;
    client.say(Message::text(r#"{"type":"resize","rows":5,"cols":6}"#)).await;
    assert_eq!(client.sees("]").await, "hello typed raw [5x6]");
    client.types("\u{4}").await;
    let last = client.told("status").await;
    assert_eq!((&last["exec_state"], &last["exit_code"]), (&json!("exited"), &json!(0)), "{last}");
    assert_eq!(client.closed().await, (1000, "exited".to_owned()));
    let path = format!("/v1/sessions/{id}/execs/{}", text(&last, "exec_id"));
    let exec: Value = house.get(As::Owner, &path).await.json().await.unwrap();
    assert_eq!((&exec["tag"], &exec["stdout"]), (&json!("terminal"), &json!("hello typed raw [5x6]")));
}

/// EN-7: whoever closes leaves the program running, and sees on coming back what was printed; as bytes, where that is asked for.
#[tokio::test]
async fn who_comes_back_sees_what_was_printed() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut first = open(&house, As::Owner, &id, "cmd=echo&cmd=%C3%B6ne").await;
    let exec = text(&first.told("status").await, "exec_id");
    first.sees("öne").await;
    first.socket.close(None).await.unwrap();
    assert!(matches!(first.until_closed().await.pop(), Some(Heard::Cut | Heard::Closed(..))));
    let mut second = open(&house, As::Owner, &id, &format!("exec_id={exec}&rows=10&cols=20")).await;
    assert_eq!(second.sees("]").await, "öne[10x19][10x20]", "its program draws it again in the new size");
    let mut third = open(&house, As::Admin, &id, &format!("exec_id={exec}&rows=10&cols=20&raw=true")).await;
    assert_eq!(third.told("status").await["exec_id"], json!(exec));
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"[10x20][10x19][10x20]") {
        match third.hears().await {
            Heard::Bytes(more) => bytes.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert!(bytes.starts_with("öne".as_bytes()));
    third.types(" all of them").await;
    second.sees(" all of them").await;
    let controls = vec![0x01; 60_000];
    third.say(Message::binary(controls)).await;
    third.types("end").await;
    second.sees("end").await;
    let mut fourth = open(&house, As::Owner, &id, &format!("exec_id={exec}")).await;
    assert!(fourth.sees("[24x80]").await.len() > 60_000, "what takes much more room in JSON comes as well");
}

/// AU-2, TR-3: to a stranger it is as if there were no such session, to the byte.
#[tokio::test]
async fn the_code_says_why_it_is_closed() {
    let house = House::open().await;
    let id = house.session_id().await;
    assert_eq!(open(&house, As::Nobody, &id, "").await.closed().await, (4001, "UNAUTHENTICATED".to_owned()));
    let unknown = "exec_20200101_000000_00000000";
    let told = async |who, id: &str| {
        let told = open(&house, who, id, "").await.until_closed().await;
        told.into_iter()
            .map(|heard| match heard {
                Heard::Told(told) => told.to_string().replace(id, "ID"),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let foreign = told(As::Other, &id).await;
    assert_eq!(foreign, told(As::Other, unknown).await);
    assert_eq!(foreign.last().unwrap(), r#"Closed(4004, "NOT_FOUND")"#);
    let closed = async |id: &str, query: &str| open(&house, As::Owner, id, query).await.closed().await;
    assert_eq!(closed(&id, "exec_id=x_0000000000000001").await, (4004, "EXEC_NOT_FOUND".to_owned()));
    assert_eq!(closed(&id, "exec_id=odd").await, (1008, "INVALID_FORMAT".to_owned()));
    assert_eq!(closed("odd", "").await, (1008, "INVALID_FORMAT".to_owned()));
    assert_eq!(closed(&id, "color=red").await, (1008, "BAD_REQUEST".to_owned()));
    assert_eq!(closed(&id, "rows=0").await, (1008, "VALIDATION".to_owned()));
    assert_eq!(closed(&house.session_initializing().await, "").await, (4005, "NOT_READY".to_owned()));
    house.post(As::Owner, &format!("/v1/sessions/{id}/pause"), json!({})).await;
    assert_eq!(closed(&id, "").await, (4005, "SESSION_PAUSED".to_owned()));
    house.post(As::Owner, &format!("/v1/sessions/{id}/terminate"), json!({})).await;
    let mut ended = open(&house, As::Owner, &id, "").await;
    let told = ended.told("termination").await;
    assert_eq!(told["reason"], "user_request");
    assert!(told["terminated_at"].is_string(), "{told}");
    assert_eq!(ended.closed().await, (4006, "user_request".to_owned()));
}

/// TM-7, ST-2: told within a second.
#[tokio::test]
async fn the_end_of_the_session_is_told_and_closes() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut client = open(&house, As::Owner, &id, "cmd=echo").await;
    client.told("status").await;
    house.post(As::Owner, &format!("/v1/sessions/{id}/pause"), json!({})).await;
    let told = tokio::time::timeout(WITHIN, client.told("status")).await.expect("within a second");
    assert_eq!(told["state"], "paused");
    house.post(As::Owner, &format!("/v1/sessions/{id}/terminate"), json!({})).await;
    let told = tokio::time::timeout(WITHIN, client.told("termination")).await.expect("within a second");
    assert_eq!(told["reason"], "user_request");
    assert_eq!(client.closed().await.0, 4006);
}

/// AU-2: in the query and as a subprotocol, once, for this session and as the lease's holder.
#[tokio::test]
async fn a_ticket_opens_one_terminal_once() {
    let house = House::open().await;
    let (id, other) = (house.session_id().await, house.session_id().await);
    let by_query =
        async |id: &str, ticket: &str| open(&house, As::Nobody, id, &format!("cmd=echo&ticket={ticket}")).await;
    let good = ticket(&house, &id, json!({})).await;
    by_query(&id, &good).await.told("status").await;
    assert_eq!(by_query(&id, &good).await.closed().await.0, 4001, "it is spent");
    let misused = ticket(&house, &id, json!({})).await;
    assert_eq!(by_query(&other, &misused).await.closed().await.0, 4001, "it is for another session");
    let by_protocol = async |offers: &str| {
        let path = format!("/v1/sessions/{id}/terminal?cmd=echo");
        dial(&house, &path, &[("sec-websocket-protocol", offers)]).await
    };
    let alone = format!("tenure.ticket.{}", ticket(&house, &id, json!({})).await);
    let mut client = by_protocol(&alone).await.unwrap();
    assert_eq!(client.protocol.as_deref(), Some(alone.as_str()));
    client.told("status").await;
    let beside = format!("tenure.ticket.{}, tenure.terminal", ticket(&house, &id, json!({})).await);
    let mut client = by_protocol(&beside).await.unwrap();
    assert_eq!(client.protocol.as_deref(), Some("tenure.terminal"), "the ticket is not said again");
    client.told("status").await;
    let events = house.post(As::Owner, "/v1/tickets", json!({ "session_id": id, "use": "events" })).await;
    let events = text(&events.json().await.unwrap(), "ticket");
    assert_eq!(by_query(&id, &events).await.closed().await.0, 4001, "it is for events");
    let terminal = ticket(&house, &id, json!({})).await;
    let path = format!("/v1/sessions/{id}/events?ticket={terminal}");
    assert_eq!(said(house.get(As::Nobody, &path).await).await, "401 UNAUTHENTICATED", "it is for a terminal");
}

/// AU-2, LS-7
#[tokio::test]
async fn a_ticket_speaks_for_the_holder_of_the_lease() {
    let house = House::open().await;
    let id = house.session_id().await;
    let lease = async |body: Value| -> Value {
        house.post(As::Owner, &format!("/v1/sessions/{id}/lease"), body).await.json().await.unwrap()
    };
    let token = lease(json!({})).await["lease"]["token"].as_u64().unwrap();
    let with = async |more: Value| {
        let ticket = ticket(&house, &id, more).await;
        open(&house, As::Nobody, &id, &format!("cmd=echo&ticket={ticket}")).await
    };
    assert_eq!(with(json!({})).await.closed().await, (4005, "STALE_LEASE".to_owned()));
    let mut holder = with(json!({ "lease_token": token })).await;
    let exec = text(&holder.told("status").await, "exec_id");
    assert_eq!(open(&house, As::Owner, &id, "").await.closed().await, (4005, "STALE_LEASE".to_owned()));
    let next = lease(json!({ "takeover": true })).await["lease"]["token"].as_u64().unwrap();
    assert_eq!(holder.closed().await, (4005, "STALE_LEASE".to_owned()), "somebody else took it");
    assert_eq!(with(json!({ "lease_token": token })).await.closed().await.0, 4005);
    let bearer = format!("Bearer {}", house.secret(As::Owner).unwrap());
    let headers = [("authorization", bearer.as_str()), ("tenure-lease-token", &next.to_string())];
    let path = format!("/v1/sessions/{id}/terminal?exec_id={exec}");
    assert_eq!(dial(&house, &path, &headers).await.unwrap().told("status").await["exec_id"], json!(exec));
}

/// AU-2
#[tokio::test]
async fn the_end_of_the_credential_or_of_the_door_closes() {
    let house = House::open().await;
    let id = house.session_id().await;
    let request = json!({ "role": "user", "user": "alice" });
    let key: Value = house.post(As::Admin, "/v1/keys", request).await.json().await.unwrap();
    let bearer = format!("Bearer {}", text(&key, "secret"));
    let path = format!("/v1/sessions/{id}/terminal?cmd=echo");
    let mut client = dial(&house, &path, &[("authorization", &bearer)]).await.unwrap();
    client.told("status").await;
    house.request(As::Admin, "DELETE", &format!("/v1/keys/{}", text(&key, "id"))).send().await.unwrap();
    assert_eq!(client.closed().await, (4001, "UNAUTHENTICATED".to_owned()));
    let mut client = open(&house, As::Owner, &id, "cmd=echo").await;
    client.told("status").await;
    house.closing.cancel();
    assert_eq!(client.closed().await.0, 1001);
}

/// AU-2
#[tokio::test]
async fn a_page_of_another_origin_opens_no_terminal() {
    let house = House::open().await;
    let id = house.session_id().await;
    let ticket = ticket(&house, &id, json!({})).await;
    let path = format!("/v1/sessions/{id}/terminal?cmd=echo&ticket={ticket}");
    for origin in ["http://evil.example", "null", "http://localhost"] {
        let refused = dial(&house, &path, &[("origin", origin)]).await.err();
        assert!(matches!(&refused, Some(Error::Http(answer)) if answer.status() == 403), "{origin}: {refused:?}");
    }
    let own = format!("http://localhost:{}", house.address.port());
    dial(&house, &path, &[("origin", &own)]).await.unwrap().told("status").await;
}

/// EN-7, TM-4
#[tokio::test]
async fn without_an_upgrade_the_gate_answers_first() {
    let house = House::open().await;
    let id = house.session_id().await;
    let path = format!("/v1/sessions/{id}/terminal");
    assert_eq!(said(house.get(As::Nobody, &path).await).await, "401 UNAUTHENTICATED");
    assert_eq!(said(house.get(As::Other, &path).await).await, "404 NOT_FOUND");
    assert_eq!(said(house.get(As::Owner, &path).await).await, "400 BAD_REQUEST");
    assert_eq!(Operation::Terminal.row().name, "terminal");
}

/// EN-7: a viewer that does not keep to what is agreed is closed, and nobody else notices.
#[tokio::test]
async fn hostile_messages_close_only_their_own_view() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut victim = open(&house, As::Owner, &id, "cmd=echo&cmd=here").await;
    let exec = text(&victim.told("status").await, "exec_id");
    let query = format!("exec_id={exec}");
    let closed = async |message: Message| {
        let mut client = open(&house, As::Owner, &id, &query).await;
        client.told("status").await;
        client.say(message).await;
        client.closed().await
    };
    for odd in [
        "",
        "{}",
        "null",
        "[1,2]",
        r#"{"type":"other"}"#,
        r#"{"type":"input"}"#,
        r#"{"type":"input","data":7}"#,
        r#"{"type":"input","data":"x","more":1}"#,
        r#"{"type":"resize","rows":-1,"cols":2}"#,
        r#"{"type":"resize","rows":70000,"cols":2}"#,
    ] {
        assert_eq!(closed(Message::text(odd)).await, (1008, "BAD_REQUEST".to_owned()), "{odd}");
    }
    let deep = "[".repeat(60_000);
    assert_eq!(closed(Message::text(deep)).await.0, 1008);
    for (rows, cols) in [(0, 0), (0, 80), (1001, 80), (65535, 65535)] {
        let size = json!({ "type": "resize", "rows": rows, "cols": cols }).to_string();
        assert_eq!(closed(Message::text(size)).await, (1008, "VALIDATION".to_owned()));
    }
    assert_eq!(closed(Message::binary(vec![b'x'; 65_537])).await.0, 1009);
    assert_eq!(closed(Message::text("x".repeat(100_000))).await.0, 1009);
    victim.types(" still").await;
    victim.sees(" still").await;
}

/// EN-7
#[tokio::test]
async fn hostile_frames_close_only_their_own_view() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut victim = open(&house, As::Owner, &id, "cmd=echo&cmd=here").await;
    let exec = text(&victim.told("status").await, "exec_id");
    let frames: [&[u8]; 6] = [
        // Not masked; a reserved opcode; reserved bits; a fragmented ping; a continuation of nothing; a text that is none.
        b"\x81\x01x",
        b"\x83\x81\0\0\0\0x",
        b"\xf1\x81\0\0\0\0x",
        b"\x09\x81\0\0\0\0x",
        b"\x80\x81\0\0\0\0x",
        b"\x81\x82\0\0\0\0\xff\xfe",
    ];
    let huge: &[u8] = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x";
    for frame in frames.into_iter().chain([huge]) {
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let head = format!(
            "GET /v1/sessions/{id}/terminal?exec_id={exec} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {}\r\n\r\n",
            house.secret(As::Owner).unwrap()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(frame).await.unwrap();
        let mut heard = Vec::new();
        tokio::time::timeout(SOON, stream.read_to_end(&mut heard)).await.expect("it is closed").unwrap();
        assert!(heard.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&heard));
        let code: &[u8] = if frame == huge { &1009u16.to_be_bytes() } else { &1002u16.to_be_bytes() };
        assert!(heard.windows(2).any(|two| two == code), "{frame:?}: {}", String::from_utf8_lossy(&heard));
    }
    victim.types(" still").await;
    victim.sees(" still").await;
}

/// EN-7: what a viewer does not read waits in its file, and stops neither the program nor whoever else looks.
#[tokio::test]
async fn a_viewer_that_does_not_read_stops_nobody() {
    let house = House::open().await;
    let id = house.session_id().await;
    let mut reads = open(&house, As::Owner, &id, "cmd=echo&raw=true").await;
    let exec = text(&reads.told("status").await, "exec_id");
    let mut asleep = open(&house, As::Owner, &id, &format!("exec_id={exec}")).await;
    asleep.told("status").await;
    asleep.sees("[24x80]").await;
    let (mut seen, piece) = (0, vec![b'y'; 60_000]);
    for number in 1..=200 {
        reads.say(Message::binary(piece.clone())).await;
        while seen < number * piece.len() {
            if let Heard::Bytes(bytes) = reads.hears().await {
                seen += bytes.iter().filter(|byte| **byte == b'y').count();
            }
        }
    }
    let mut late = 0;
    while late < 200 * piece.len() {
        late += asleep.told("output").await["data"].as_str().unwrap().bytes().filter(|byte| *byte == b'y').count();
    }
}
