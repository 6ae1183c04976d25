//! Connections that are slow, large, or odd.

use crate::house::{As, House, SOON};
use std::time::Duration;
use tenure_api::ServeSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn spoken(house: &House, said: &[u8]) -> String {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut heard)).await.expect("the door closes");
    String::from_utf8_lossy(&heard).into_owned()
}

/// AP-1
#[tokio::test]
async fn a_head_that_never_ends_is_not_waited_for() {
    let settings = ServeSettings { head_timeout: Duration::from_millis(300), ..ServeSettings::default() };
    let house = House::open_with(settings, &[]).await;
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.unwrap();
    let drip = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, drip).await.expect("the door closes");
    assert_eq!(house.get(As::Nobody, "/healthz").await.status(), 200);
}

/// AP-1
#[tokio::test]
async fn a_head_that_is_too_large_is_refused_in_words() {
    let house = House::open().await;
    let large = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n", "x".repeat(40_000));
    let heard = spoken(&house, format!("{large}Connection: close\r\n\r\n").as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 431") && heard.contains("HEADERS_TOO_LARGE"), "{heard}");
    let many: String = (0..150).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{many}\r\n");
    let heard = spoken(&house, many.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 431") && heard.contains("HEADERS_TOO_LARGE"), "{heard}");
    let huge = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Huge: {}", "x".repeat(1 << 20));
    let heard = spoken(&house, huge.as_bytes()).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{heard}");
}

/// AP-1
#[tokio::test]
async fn what_is_no_http_does_no_harm() {
    let house = House::open().await;
    for said in [
        &b"\x00\x01\x02\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let heard = spoken(&house, said).await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 4"), "{heard}");
    }
    let no_host = spoken(&house, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(no_host.starts_with("HTTP/1.1 400") && no_host.contains("BAD_REQUEST"), "{no_host}");
    assert_eq!(house.get(As::Nobody, "/healthz").await.status(), 200);
}

/// AP-1
#[tokio::test]
async fn more_connections_than_may_be_wait_their_turn() {
    let settings = ServeSettings { max_connections: 1, ..ServeSettings::default() };
    let house = House::open_with(settings, &[]).await;
    let first = TcpStream::connect(house.address).await.unwrap();
    let second = tokio::spawn({
        let request = house.request(As::Nobody, "GET", "/healthz");
        async move { request.send().await.unwrap().status().as_u16() }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(tokio::time::timeout(SOON, second).await.unwrap().unwrap(), 200);
}

/// AP-1
#[tokio::test]
async fn what_is_in_flight_finishes_when_the_door_closes() {
    let house = House::open().await;
    let id = house.session_id().await;
    let body = serde_json::json!({ "cmd": ["run"], "timeout_ms": 300 });
    let request = house.request(As::Owner, "POST", &format!("/v1/sessions/{id}/exec")).json(&body);
    let waits = tokio::spawn(request.send());
    house.until(&id, "running").await;
    house.closing.cancel();
    assert_eq!(waits.await.unwrap().unwrap().status(), 200);
    assert!(TcpStream::connect(house.address).await.is_err(), "nobody else is let in");
}
