//! How a terminal's WebSocket is closed: with a last message that says why, and a code that a browser can see.

use crate::problem::Problem;
use crate::wire::terminal::TerminalTold;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use std::time::Duration;
use tenure_engine::{Code, EngineError};

/// The program has ended; the door closes; what came is no such protocol, no such message, or too large.
pub(super) const NORMAL: u16 = 1000;
pub(super) const AWAY: u16 = 1001;
pub(super) const PROTOCOL: u16 = 1002;
pub(super) const TOO_LARGE: u16 = 1009;
const POLICY: u16 = 1008;
const INTERNAL: u16 = 1011;
const AGAIN_LATER: u16 = 1013;
/// Ours: no credential, or none any more; not with this role; not there; not now; ended.
const AUTH: u16 = 4001;
const ROLE: u16 = 4003;
const NOT_FOUND: u16 = 4004;
const NOT_READY: u16 = 4005;
const ENDED: u16 = 4006;

/// How long the other side may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// Most messages that are read meanwhile.
const READ_MAX: usize = 64;

/// The code that a problem closes with.
pub(super) fn code(problem: &Problem) -> u16 {
    match (problem.code(), problem.code().row().status) {
        (Code::Recovering, _) | (_, 409 | 412) => NOT_READY,
        (_, 401) => AUTH,
        (_, 403) => ROLE,
        (_, 404) => NOT_FOUND,
        (_, 410) => ENDED,
        (_, 429 | 502 | 503 | 507) => AGAIN_LATER,
        (_, 500) => INTERNAL,
        _ => POLICY,
    }
}

/// Closes because of a problem.
pub(super) async fn refuse(mut socket: WebSocket, problem: Problem) {
    if let Some(chain) = problem.chain() {
        tracing::error!(code = problem.code().row().name, chain, "a terminal cannot go on");
    }
    tell(&mut socket, &TerminalTold::error(&problem)).await;
    close(socket, code(&problem), problem.code().row().name).await;
}

/// Closes because it cannot go on: the session's end is told as such.
pub(super) async fn over(mut socket: WebSocket, error: EngineError) {
    match &error {
        EngineError::Gone { end, .. } | EngineError::Archived { end, .. } => {
            tell(&mut socket, &TerminalTold::termination(end)).await;
            close(socket, ENDED, end.reason.as_str()).await;
        }
        _ => refuse(socket, error.into()).await,
    }
}

async fn tell(socket: &mut WebSocket, told: &TerminalTold<'_>) {
    let sent = socket.send(Message::Text(told.text().into()));
    let _ = tokio::time::timeout(GOODBYE, sent).await;
}

/// Closes with this code, and waits a moment for the other side to do the same: otherwise the code might not arrive.
pub(super) async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    let frame = CloseFrame { code, reason: reason.into() };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            for _ in 0..READ_MAX {
                if !matches!(socket.recv().await, Some(Ok(_))) {
                    break;
                }
            }
        }
    };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}
