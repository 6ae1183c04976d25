//! One viewer of a terminal: what it types goes in, what is printed comes out, each at its own pace.
//!
//! What is typed waits in a bounded queue while the program does not read; then nothing more is read from the viewer. What is printed waits in its file
//! while the viewer does not read.

use crate::asked::Asked;
use crate::problem::Problem;
use crate::terminal::{MESSAGE_MAX, close};
use crate::wire::terminal::{TerminalSaid, TerminalTold};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use std::pin::Pin;
use std::time::Duration;
use tenure_engine::{Code, EngineError, Terminal, TerminalEvent, TerminalInput, WindowSize};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::AbortOnDropHandle;

/// How often a viewer is asked whether it is still there, and how long it may say nothing.
const ASK: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(50);
/// How long a message may take to be sent. Whoever reads more slowly comes back later.
const SEND: Duration = Duration::from_secs(60);
/// How many messages wait for a program that does not read.
const TYPED: usize = 16;

/// Most bytes of text in one message: each may take six once it is escaped.
const PIECE: usize = (MESSAGE_MAX - 64) / 6;

/// What a viewer wants of a terminal.
enum Wish {
    Type(Bytes),
    Resize(WindowSize),
    Redraw(WindowSize),
}

/// Why a viewer is gone.
enum Gone {
    /// It said so, or its connection broke.
    Left,
    /// The program has ended.
    Exited,
    /// The door closes.
    Closing,
    /// It said what cannot be understood; the code, and why.
    Wrong(u16, &'static str),
    /// The terminal cannot be looked at any more.
    Over(EngineError),
    /// The credential is good for nothing any more, or a request was wrong.
    Refused(Problem),
}

struct Viewer {
    socket: WebSocket,
    raw: bool,
    /// The beginning of a character whose end was not printed yet.
    torn: Vec<u8>,
    /// Ends when the credential or the door does.
    until: Pin<Box<dyn Future<Output = Gone> + Send>>,
}

/// Shows a terminal until somebody has enough.
pub(super) async fn view(asked: &Asked, mut terminal: Terminal, socket: WebSocket, raw: bool) {
    let (credential_ended, closing) = (asked.credential.ended(&asked.door), asked.door.closing.clone());
    let until = Box::pin(async move {
        tokio::select! {
            () = credential_ended => Gone::Refused(Problem::unauthenticated()),
            () = closing.cancelled() => Gone::Closing,
        }
    });
    let mut viewer = Viewer { socket, raw, torn: Vec::new(), until };
    let gone = viewer.look(&mut terminal).await;
    // From here on it is not looked at: it must not keep its session at work.
    drop(terminal);
    let socket = viewer.socket;
    match gone {
        Gone::Left => {}
        Gone::Exited => close::close(socket, close::NORMAL, "exited").await,
        Gone::Closing => close::close(socket, close::AWAY, "the service stops; the terminal goes on").await,
        Gone::Wrong(code, why) => close::close(socket, code, why).await,
        Gone::Over(error) => close::over(socket, error).await,
        Gone::Refused(problem) => close::refuse(socket, problem).await,
    }
}

impl Viewer {
    async fn look(&mut self, terminal: &mut Terminal) -> Gone {
        let (wishes, wished) = mpsc::channel(TYPED);
        let mut feeding = AbortOnDropHandle::new(tokio::spawn(feed(terminal.input(), wished)));
        if let Some(size) = terminal.redraw() {
            // It is the first, so there is room for it.
            let _ = wishes.try_send(Wish::Redraw(size));
        }
        let (mut waiting, mut refused) = (None::<Wish>, false);
        let mut heard_at = Instant::now();
        let mut ask = interval_at(heard_at + ASK, ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                gone = &mut self.until => return gone,
                fed = &mut feeding, if !refused => match fed {
                    Ok(Err(error)) => return Gone::Refused(error.into()),
                    // What is typed now, nobody reads.
                    Ok(Ok(())) | Err(_) => refused = true,
                },
                place = wishes.reserve(), if waiting.is_some() => {
                    if let (Ok(place), Some(wish)) = (place, waiting.take()) {
                        place.send(wish);
                    }
                }
                said = self.socket.recv(), if waiting.is_none() => {
                    heard_at = Instant::now();
                    match understood(said) {
                        Ok(wish) => waiting = wish,
                        Err(gone) => return gone,
                    }
                }
                now = ask.tick() => {
                    // Where nothing is read from it, it cannot be heard.
                    if waiting.is_none() && now.duration_since(heard_at) > SILENCE {
                        return Gone::Left;
                    }
                    if let Err(gone) = self.send(Message::Ping(Bytes::new())).await {
                        return gone;
                    }
                }
                event = terminal.next() => {
                    if let Err(gone) = self.show(event).await {
                        return gone;
                    }
                }
            }
        }
    }

    async fn show(&mut self, event: Result<Option<TerminalEvent>, EngineError>) -> Result<(), Gone> {
        match event {
            Ok(Some(TerminalEvent::Output(bytes))) if self.raw => self.send(Message::Binary(bytes.into())).await,
            Ok(Some(TerminalEvent::Output(bytes))) => {
                let text = whole(&mut self.torn, bytes);
                for data in pieces(&text) {
                    self.tell(&TerminalTold::Output { data }).await?;
                }
                Ok(())
            }
            Ok(Some(TerminalEvent::Status(status))) => self.tell(&TerminalTold::status(&status)).await,
            Ok(None) => Err(Gone::Exited),
            Err(error) => Err(Gone::Over(error)),
        }
    }

    async fn tell(&mut self, told: &TerminalTold<'_>) -> Result<(), Gone> {
        self.send(Message::Text(told.text().into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        tokio::select! {
            biased;
            sent = tokio::time::timeout(SEND, self.socket.send(message)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Gone::Left),
            },
            gone = &mut self.until => Err(gone),
        }
    }
}

/// What a viewer said: a wish, or nothing that anybody need do something about.
fn understood(said: Option<Result<Message, axum::Error>>) -> Result<Option<Wish>, Gone> {
    let message = match said {
        Some(Ok(message)) => message,
        Some(Err(error)) => return Err(broken(&error)),
        None => return Err(Gone::Left),
    };
    match message {
        Message::Binary(bytes) => Ok(Some(Wish::Type(bytes))),
        Message::Text(text) => match serde_json::from_str(&text) {
            Ok(TerminalSaid::Input { data }) => Ok(Some(Wish::Type(data.into()))),
            Ok(TerminalSaid::Resize { rows, cols }) => Ok(Some(Wish::Resize(WindowSize { rows, cols }))),
            Err(error) => {
                let why = format!("a message is no input and no resize: {error}");
                Err(Gone::Refused(Problem::new(Code::BadRequest, why)))
            }
        },
        Message::Ping(_) | Message::Pong(_) => Ok(None),
        Message::Close(_) => Err(Gone::Left),
    }
}

/// What a message that is none comes to.
fn broken(error: &axum::Error) -> Gone {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some() {
            return Gone::Left;
        }
        cause = error.source();
    }
    // Its type is not known here, only its words.
    match error.to_string() {
        words if words.contains("too long") || words.contains("too large") || words.contains("too big") => {
            Gone::Wrong(close::TOO_LARGE, "a message may have 65536 bytes")
        }
        _ => Gone::Wrong(close::PROTOCOL, "that is no WebSocket"),
    }
}

/// Does what is wished, one after another. An error is the viewer's own fault.
async fn feed(input: Option<TerminalInput>, mut wished: mpsc::Receiver<Wish>) -> Result<(), EngineError> {
    let Some(input) = input else { return Ok(()) };
    while let Some(wish) = wished.recv().await {
        let done = match wish {
            Wish::Type(bytes) => input.write(&bytes).await,
            Wish::Resize(size) => input.resize(size).await,
            Wish::Redraw(size) => input.redraw(size).await,
        };
        match done {
            Ok(()) => {}
            Err(error @ EngineError::Invalid { .. }) => return Err(error),
            // The end of the session or of the lease whoever looks hears; a program that just ended reads no more.
            Err(error) => tracing::debug!(%error, "what was typed did not arrive"),
        }
    }
    Ok(())
}

/// The text of these bytes, but for a character at their end that goes on later.
fn whole(torn: &mut Vec<u8>, bytes: Vec<u8>) -> String {
    let mut all = std::mem::take(torn);
    all.extend(bytes);
    let goes_on = |length: &usize| {
        let error = std::str::from_utf8(&all[all.len() - length..]).err();
        error.is_some_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    let length = (1..=all.len().min(3)).find(goes_on).unwrap_or(0);
    *torn = all.split_off(all.len() - length);
    String::from_utf8_lossy(&all).into_owned()
}

/// The same text in pieces that fit into a message each, however they are escaped.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let most = rest.len().min(PIECE);
        let at = (0..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(most);
        let piece;
        (piece, rest) = rest.split_at(at);
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

const _: () = assert!(MESSAGE_MAX == 65536, "as it is told");

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-7
    #[test]
    fn characters_are_whole_however_they_are_cut() {
        let text = "a€ö𝄞z";
        for size in 1..5 {
            let (mut torn, mut heard) = (Vec::new(), String::new());
            for piece in text.as_bytes().chunks(size) {
                heard += &whole(&mut torn, piece.to_vec());
            }
            assert_eq!((heard.as_str(), torn.len()), (text, 0), "in pieces of {size}");
        }
        assert_eq!(whole(&mut Vec::new(), vec![b'a', 0xff, b'b']), "a\u{fffd}b");
    }

    /// EN-7
    #[test]
    fn every_message_is_bounded_however_it_is_escaped() {
        for text in ["\u{1b}".repeat(65_536), "€".repeat(20_000), "x".to_owned(), String::new()] {
            let told: Vec<_> = pieces(&text).map(|data| TerminalTold::Output { data }.text()).collect();
            assert!(told.iter().all(|told| told.len() <= MESSAGE_MAX));
            assert_eq!(pieces(&text).collect::<String>(), text);
        }
    }
}
