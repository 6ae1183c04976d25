//! WebSockets: the handshake passes, then bytes go both ways until either side is done or time is up.

use crate::preview::connection::Exchange;
use crate::preview::forward::Until;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};

/// How long one side may go on sending after the other has ended.
const LINGER: Duration = Duration::from_secs(10);
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Whether a request asks for a WebSocket. Other protocols are not passed: nobody here would know what they say.
pub(super) fn asks(parts: &Parts) -> bool {
    let names = |name, word: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && names(header::CONNECTION, "upgrade")
        && names(header::UPGRADE, "websocket")
}

/// Says in a request or an answer that from here on it is a WebSocket.
pub(super) fn say(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// Whether an answer agrees to it.
pub(super) fn agrees<B>(response: &Response<B>) -> bool {
    let upgrade = response.headers().get(header::UPGRADE);
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        && upgrade.is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
}

/// Joins the visitor's connection and the server's, once both have been handed over.
pub(super) fn join(visitor: OnUpgrade, exchange: Exchange, until: Until) {
    let Exchange { response, mover } = exchange;
    tokio::spawn(async move {
        let joined = async {
            let (Ok(visitor), Ok(server)) = tokio::join!(visitor, hyper::upgrade::on(response)) else { return };
            carry(TokioIo::new(visitor), TokioIo::new(server)).await;
        };
        tokio::select! {
            () = joined => {}
            () = until => {}
        }
        drop(mover);
    });
}

/// Carries bytes both ways. Whichever ends first, the other has a little time left: it must not keep the session at work for ever.
async fn carry(visitor: impl AsyncRead + AsyncWrite, server: impl AsyncRead + AsyncWrite) {
    let (mut from_visitor, mut to_visitor) = split(visitor);
    let (mut from_server, mut to_server) = split(server);
    let inwards = async {
        let _ = copy(&mut from_visitor, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let outwards = async {
        let _ = copy(&mut from_server, &mut to_visitor).await;
        let _ = to_visitor.shutdown().await;
    };
    tokio::pin!(inwards, outwards);
    tokio::select! {
        () = &mut inwards => drop(tokio::time::timeout(LINGER, outwards).await),
        () = &mut outwards => drop(tokio::time::timeout(LINGER, inwards).await),
    }
}
