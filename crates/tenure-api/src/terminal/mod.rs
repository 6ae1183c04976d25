//! Terminals over WebSocket: who may, and what is wanted (EN-7).
//!
//! ```text
//!  GET …/terminal ─► enter (here) ─► 101 ─► engine's gate ─► view.rs: what is typed in, what is printed out ─► close.rs: a code that says why
//! ```
//!
//! A browser sees nothing of an answer that is no WebSocket. So whoever asks for one gets one, and hears why it is closed by its code; only a page of another
//! origin is refused before.

mod close;
mod view;

use crate::asked::{Answered, Asked, Shared};
use crate::auth;
use crate::host::same_origin;
use crate::pass::pass;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use tenure_engine::{Call, Code, EngineError, TerminalRequest, WindowSize};
use tenure_session::Operation;

/// Most bytes in one message, either way.
const MESSAGE_MAX: usize = 64 << 10;
/// Most bytes that wait to be written to a connection that takes none.
const WAITING_MAX: usize = 256 << 10;

/// The subprotocol of JSON messages, and that whose output comes as bytes.
const PLAIN: &str = "tenure.terminal";
const RAW: &str = "tenure.terminal.raw";
/// The subprotocol that carries a ticket.
const TICKET: &str = "tenure.ticket.";

/// The size of a terminal whose viewer does not say.
const SIZE: WindowSize = WindowSize { rows: 24, cols: 80 };

/// The ticket among the subprotocols that a request offers.
pub(crate) fn ticket(headers: &HeaderMap) -> Option<&str> {
    protocols(headers).find_map(|name| name.strip_prefix(TICKET))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).map(str::trim)
}

/// Answers a request for a terminal.
pub(crate) async fn open(State(door): State<Shared>, request: Request) -> Response {
    pass(door, Some(Operation::Terminal), request, |door, request| async move {
        let (mut parts, body) = request.into_parts();
        if !same_origin(&parts.headers) {
            return Err(Problem::new(Code::AccessDenied, "the request comes from a page of another origin"));
        }
        match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
            Ok(upgrade) => enter(door, upgrade, parts).await,
            Err(_) => Err(no_websocket(door, parts, body).await),
        }
    })
    .await
}

/// What to say to whoever asks in another way: what the gate says, and otherwise that this is a WebSocket.
async fn no_websocket(door: Shared, parts: Parts, body: Body) -> Problem {
    let asked = match auth::somebody(&door, &parts) {
        Ok(credential) => Asked::new(door, Operation::Terminal, credential, parts, body).await,
        Err(problem) => Err(problem),
    };
    match asked {
        Ok(asked) => {
            let what = "a terminal is a WebSocket: GET, with Connection: upgrade and Upgrade: websocket";
            asked.misread(EngineError::BadRequest(what.to_owned())).await
        }
        Err(problem) => problem,
    }
}

async fn enter(door: Shared, mut upgrade: WebSocketUpgrade, parts: Parts) -> Answered {
    let Ok(room) = door.terminals.clone().try_acquire_owned() else {
        return Err(Problem::new(Code::Unavailable, "too many terminals are open"));
    };
    let offered = protocols(&parts.headers);
    let chosen = offered.filter(|name| [RAW, PLAIN].contains(name) || name.starts_with(TICKET));
    // What says more than a ticket goes before it.
    if let Some(chosen) = chosen.max_by_key(|name| [PLAIN, RAW].iter().position(|known| known == name).map(|at| at + 1))
        && let Ok(value) = HeaderValue::from_str(chosen)
    {
        upgrade.set_selected_protocol(value);
    }
    let raw = upgrade.selected_protocol().is_some_and(|chosen| chosen == RAW);
    let asked = match auth::credential(&door, Operation::Terminal, &parts) {
        Ok(credential) => Asked::new(door, Operation::Terminal, credential, parts, Body::empty()).await,
        Err(problem) => Err(problem),
    };
    let upgrade = upgrade.max_message_size(MESSAGE_MAX).max_frame_size(MESSAGE_MAX);
    let upgrade = upgrade.write_buffer_size(0).max_write_buffer_size(WAITING_MAX);
    Ok(upgrade.on_upgrade(move |socket| async move {
        match asked {
            Ok(asked) => serve(&asked, socket, raw).await,
            Err(problem) => close::refuse(socket, problem).await,
        }
        drop(room);
    }))
}

async fn serve(asked: &Asked, socket: WebSocket, raw: bool) {
    let wanted = wanted(asked);
    let raw = raw || wanted.as_ref().is_ok_and(|(_, raw)| *raw);
    let call = match asked.call() {
        // A ticket speaks for the lease's holder as whom it was made, whatever else the request says.
        Ok(call) => Call { token: asked.credential.lease().unwrap_or(call.token), ..call },
        Err(problem) => return close::refuse(socket, problem).await,
    };
    let request = wanted.map(|(request, _)| request);
    match asked.door.engine.terminal_open(&call, asked.id(), request).await {
        Ok(terminal) => view::view(asked, terminal, socket, raw).await,
        Err(error) => close::over(socket, error).await,
    }
}

/// What is wanted, and whether output is to come as bytes.
fn wanted(asked: &Asked) -> Result<(TerminalRequest, bool), EngineError> {
    let query = asked.query(&["exec_id", "cmd*", "rows", "cols", "raw", "ticket"])?;
    let size = WindowSize {
        rows: query.parsed("rows")?.unwrap_or(SIZE.rows),
        cols: query.parsed("cols")?.unwrap_or(SIZE.cols),
    };
    let exec_id = query.text("exec_id").filter(|text| !text.is_empty()).map(str::to_owned);
    let cmd = query.all("cmd").filter(|word| !word.is_empty() || query.all("cmd").count() > 1);
    let request = TerminalRequest { exec_id, cmd: cmd.map(str::to_owned).collect(), size };
    Ok((request, query.flag("raw")?))
}
