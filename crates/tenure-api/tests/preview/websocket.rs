//! WebSockets through a preview: a real client, a real server, and what cuts them.

use crate::house::{House, SOON, Seen, revoke};
use futures_util::{SinkExt, StreamExt};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response as Answer;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

type Said = Arc<Mutex<Vec<(String, String)>>>;

/// A server inside that says everything again, and remembers the headers of the handshake.
fn echo(house: &House) -> Said {
    let said = Said::default();
    let remembered = said.clone();
    house.inside(move |stream| {
        let said = remembered.clone();
        async move {
            #[allow(clippy::result_large_err)]
            let remember = |request: &Request, mut response: Response| {
                let headers = request.headers().iter();
                let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
                said.lock().unwrap().extend(headers);
                response.headers_mut().insert("set-cookie", "a=b".parse().unwrap());
                if let Some(protocol) = request.headers().get("sec-websocket-protocol") {
                    response.headers_mut().insert("sec-websocket-protocol", protocol.clone());
                }
                Ok(response)
            };
            let Ok(mut socket) = accept_hdr_async(stream, remember).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    });
    said
}

async fn connect(
    house: &House,
    path: &str,
    more: &[(&'static str, &str)],
) -> Result<(WebSocketStream<TcpStream>, Answer), Error> {
    let mut request = format!("ws://localhost:{}{path}", house.address.port()).into_client_request()?;
    for (name, value) in more {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(house.address).await.unwrap();
    tokio::time::timeout(SOON, client_async(request, stream)).await.expect("in time")
}

async fn says_again(socket: &mut WebSocketStream<TcpStream>, message: Message) {
    socket.send(message.clone()).await.unwrap();
    let heard = tokio::time::timeout(SOON, socket.next()).await.expect("in time").unwrap().unwrap();
    assert_eq!(heard, message);
}

/// Waits until the connection is no more.
async fn is_cut(mut socket: WebSocketStream<TcpStream>) {
    let cut = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(SOON, cut).await.expect("the connection is cut");
}

/// EN-6
#[tokio::test]
async fn a_websocket_passes_both_ways() {
    let house = House::open().await;
    let said = echo(&house);
    let path = format!("{}/socket", house.own_path());
    let more = [("origin", "null"), ("sec-websocket-protocol", "chat"), ("cookie", "console=secret")];
    let (mut socket, response) = connect(&house, &path, &more).await.unwrap();
    assert_eq!(response.headers().get("sec-websocket-protocol").unwrap(), "chat");
    assert!(response.headers().get("set-cookie").is_none());
    says_again(&mut socket, Message::text("hello")).await;
    says_again(&mut socket, Message::binary(vec![7; 3 << 20])).await;
    for _ in 0..200 {
        says_again(&mut socket, Message::text("again")).await;
    }
    let said = said.lock().unwrap().clone();
    let find = |name: &str| said.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(find("host"), Some("localhost:8080"));
    assert_eq!(find("cookie"), None);
    assert!(said.iter().all(|(_, value)| !value.contains("pvt_")), "{said:?}");
    socket.close(None).await.unwrap();
    is_cut(socket).await;
}

/// AU-2, EN-6
#[tokio::test]
async fn a_websocket_is_opened_by_a_ticket_or_a_key() {
    let house = House::open().await;
    echo(&house);
    let path = format!("{}/socket?ticket={}", house.path(), house.ticket());
    let (mut socket, _) = connect(&house, &path, &[]).await.unwrap();
    says_again(&mut socket, Message::text("hello")).await;
    assert!(connect(&house, &path, &[]).await.is_err(), "once");
    let bearer = format!("Bearer {}", house.key);
    let path = format!("{}/socket", house.path());
    let (mut socket, _) = connect(&house, &path, &[("authorization", &bearer)]).await.unwrap();
    says_again(&mut socket, Message::text("hello")).await;
    assert!(connect(&house, &path, &[]).await.is_err());
    let evil = [("authorization", bearer.as_str()), ("origin", "https://evil.example")];
    assert!(connect(&house, &path, &evil).await.is_err());
}

/// EN-6, TM-6
#[tokio::test]
async fn the_end_of_the_session_cuts_a_websocket() {
    let house = House::open().await;
    echo(&house);
    let (mut socket, _) = connect(&house, &format!("{}/", house.own_path()), &[]).await.unwrap();
    says_again(&mut socket, Message::text("hello")).await;
    house.end().await;
    is_cut(socket).await;
}

/// AU-2, EN-6
#[tokio::test]
async fn the_end_of_the_credential_cuts_a_websocket() {
    let house = House::open().await;
    echo(&house);
    let (mut socket, _) = connect(&house, &format!("{}/", house.own_path()), &[]).await.unwrap();
    says_again(&mut socket, Message::text("hello")).await;
    revoke(&house.engine, &house.owner.credential).await;
    is_cut(socket).await;
}

/// EN-6
#[tokio::test]
async fn the_end_of_the_door_cuts_a_websocket() {
    let house = House::open().await;
    echo(&house);
    let (mut socket, _) = connect(&house, &format!("{}/", house.own_path()), &[]).await.unwrap();
    says_again(&mut socket, Message::text("hello")).await;
    house.closing.cancel();
    is_cut(socket).await;
}

/// EN-6
#[tokio::test]
async fn a_server_that_does_not_speak_websocket_answers_as_it_does() {
    let house = House::open().await;
    let seen: Seen = house.inside_says("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
    let refused = connect(&house, &format!("{}/", house.own_path()), &[]).await.unwrap_err();
    assert!(matches!(&refused, Error::Http(response) if response.status() == 400), "{refused}");
    assert_eq!(seen.header("upgrade").as_deref(), Some("websocket"));
    house.inside_says("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n");
    let refused = connect(&house, &format!("{}/", house.own_path()), &[]).await.unwrap_err();
    assert!(matches!(&refused, Error::Http(response) if response.status() == 502), "{refused}");
}
