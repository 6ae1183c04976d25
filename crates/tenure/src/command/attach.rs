//! `tenure attach`: a terminal in a session, which goes on when one leaves it, and is come back to.

use super::attach_modes::Modes;
use super::exec::{not_started, tell};
use super::show::{Show, text};
use crate::client::{Client, Socket, of_problem};
use crate::failure::{Code, Failure};
use crate::terminal::{RawTerminal, size};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

/// Ctrl-P, then Ctrl-Q: away, and the program goes on.
const LEAVE: [u8; 2] = [0x10, 0x11];
/// What a terminal's line discipline takes for the end of input.
const END_OF_INPUT: &[u8] = b"\x04";
/// Most bytes that are sent at once.
const TYPED_MAX: usize = 16 << 10;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ctrl-P Ctrl-Q leaves; the program goes on, and --exec comes back to it.\n\
                  Exit code: as for `tenure exec`; 0 after leaving.")]
pub struct Args {
    /// The session's ID
    session: String,
    /// Come back to this terminal instead of opening one
    #[arg(long, value_name = "ID", conflicts_with = "cmd")]
    exec: Option<String>,
    /// The program and its arguments [default: a shell]
    #[arg(last = true, value_name = "CMD")]
    cmd: Vec<String>,
}

/// How a view of a terminal ended.
enum Left {
    /// Its program ended.
    Exited,
    /// By the keys for that.
    Keys,
    /// By a signal.
    Signal(i32),
}

/// Shows a terminal until it ends or is left.
pub async fn run(client: &Client, show: Show, args: Args) -> Result<u8, Failure> {
    let socket = open(client, &args).await?;
    let raw = RawTerminal::enter()?;
    let (sink, stream) = socket.split();
    let mut view = View { stream, modes: Modes::default(), exec: args.exec.clone() };
    let left = view.carry(sink, raw.is_some()).await;
    if raw.is_some() {
        let mut stdout = tokio::io::stdout();
        // Whoever reads it may have gone.
        let _ = stdout.write_all(view.modes.undone().as_bytes()).await;
        let _ = stdout.flush().await;
    }
    drop(raw);
    let exec = view.exec.unwrap_or_default();
    match left {
        Ok(Left::Exited) => tell(show, &client.get(&["sessions", &args.session, "execs", &exec], &[]).await?),
        Ok(Left::Keys) => {
            eprintln!("\ntenure: left; it goes on. Come back with: tenure attach {} --exec {exec}", args.session);
            Ok(0)
        }
        Ok(Left::Signal(number)) => Ok(u8::try_from(128 + number).unwrap_or(u8::MAX)),
        Err(failure) => Err(match args.cmd.first() {
            Some(program) if exec.is_empty() => not_started(failure, program),
            _ => failure,
        }),
    }
}

async fn open(client: &Client, args: &Args) -> Result<Socket, Failure> {
    let size = size();
    let (rows, cols) = (size.rows.to_string(), size.cols.to_string());
    let mut query = vec![("raw", "true"), ("rows", rows.as_str()), ("cols", cols.as_str())];
    query.extend(args.exec.as_deref().map(|exec| ("exec_id", exec)));
    query.extend(args.cmd.iter().map(|word| ("cmd", word.as_str())));
    client.socket(&["sessions", &args.session, "terminal"], &query).await
}

/// What is heard of a terminal.
struct View {
    stream: SplitStream<Socket>,
    modes: Modes,
    exec: Option<String>,
}

impl View {
    async fn carry(&mut self, sink: SplitSink<Socket, Message>, tty: bool) -> Result<Left, Failure> {
        let mut typing = tokio::spawn(typed(sink, tty));
        let (mut ended, mut hung_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
        let (mut interrupted, mut types) = (signal(SignalKind::interrupt())?, true);
        let left = loop {
            tokio::select! {
                message = self.stream.next() => if let Some(left) = self.heard(message).await? {
                    break left;
                },
                typed = &mut typing, if types => {
                    types = false;
                    if let Ok(Some(mut sink)) = typed {
                        // Where that takes long, the connection's end says it.
                        let _ = tokio::time::timeout(GOODBYE, sink.close()).await;
                        break Left::Keys;
                    }
                }
                _ = ended.recv() => break Left::Signal(SignalKind::terminate().as_raw_value()),
                _ = hung_up.recv() => break Left::Signal(SignalKind::hangup().as_raw_value()),
                _ = interrupted.recv() => break Left::Signal(SignalKind::interrupt().as_raw_value()),
            }
        };
        typing.abort();
        Ok(left)
    }

    async fn heard(
        &mut self,
        message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    ) -> Result<Option<Left>, Failure> {
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                self.modes.printed(&bytes);
                let mut stdout = tokio::io::stdout();
                stdout.write_all(&bytes).await?;
                stdout.flush().await?;
                Ok(None)
            }
            Some(Ok(Message::Text(told))) => self.told(&serde_json::from_str(&told).unwrap_or_default()).map(|()| None),
            Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1000 => Ok(Some(Left::Exited)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
            Some(Ok(Message::Close(_)) | Err(_)) | None => {
                let failure = Failure::new(Code::Unavailable, "the connection to the server broke");
                let exec = self.exec.as_deref().unwrap_or("ID");
                Err(failure
                    .hint(format!("the terminal goes on while its session lives; --exec {exec} comes back to it")))
            }
        }
    }

    fn told(&mut self, told: &Value) -> Result<(), Failure> {
        match told["type"].as_str() {
            Some("status") => self.exec = Some(text(&told["exec_id"])),
            Some("termination") => {
                let (at, why) = (text(&told["terminated_at"]), text(&told["reason"]));
                let message = format!("the session ended at {at} for the reason {why}");
                return Err(Failure::new(Code::Gone, message).details(told.clone()));
            }
            Some("error") => {
                let problem = told["problem"].as_object().cloned().unwrap_or_default();
                let status =
                    problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
                return Err(of_problem(problem, status.unwrap_or(500)));
            }
            // A newer server may tell more.
            _ => {}
        }
        Ok(())
    }
}

/// Sends what is typed, and each new size. Its end comes back where it was left by its keys.
async fn typed(mut sink: SplitSink<Socket, Message>, tty: bool) -> Option<SplitSink<Socket, Message>> {
    let mut resized = signal(SignalKind::window_change()).ok();
    let (mut stdin, mut buffer, mut keys, mut open) = (tokio::io::stdin(), vec![0; TYPED_MAX], Keys::default(), true);
    loop {
        let message = tokio::select! {
            read = stdin.read(&mut buffer), if open => match read {
                Ok(count @ 1..) if tty => {
                    let (bytes, left) = keys.pressed(&buffer[..count]);
                    if left {
                        return Some(sink);
                    }
                    Message::binary(bytes)
                }
                Ok(count @ 1..) => Message::binary(buffer[..count].to_vec()),
                Ok(0) | Err(_) => {
                    open = false;
                    Message::binary(END_OF_INPUT)
                }
            },
            Some(()) = async { resized.as_mut()?.recv().await }, if tty => {
                let size = size();
                Message::text(json!({ "type": "resize", "rows": size.rows, "cols": size.cols }).to_string())
            }
            else => return None,
        };
        if sink.send(message).await.is_err() {
            return None;
        }
    }
}

/// Looks for the keys that leave.
#[derive(Debug, Default)]
struct Keys {
    first_pressed: bool,
}

impl Keys {
    /// What is to be passed on, and whether it is left now.
    fn pressed(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            let first_pressed = std::mem::replace(&mut self.first_pressed, byte == LEAVE[0]);
            match (first_pressed, byte == LEAVE[1]) {
                (true, true) => return (passed, true),
                (true, false) => passed.push(LEAVE[0]),
                (false, _) => {}
            }
            if !self.first_pressed {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-7
    #[test]
    fn only_both_keys_in_their_order_leave() {
        let check = |typed: &[&[u8]], passed: &[u8], left: bool| {
            let (mut keys, mut all, mut gone) = (Keys::default(), Vec::new(), false);
            for piece in typed {
                let (bytes, now) = keys.pressed(piece);
                all.extend(bytes);
                gone |= now;
            }
            assert_eq!((all.as_slice(), gone), (passed, left), "{typed:?}");
        };
        check(&[b"ls\r"], b"ls\r", false);
        check(&[b"a\x10\x11"], b"a", true);
        check(&[b"\x10", b"\x11"], b"", true);
        check(&[b"\x10", b"x\x11"], b"\x10x\x11", false);
        check(&[b"\x10\x10\x11"], b"\x10", true);
        check(&[b"\x11\x10", b"\x1b[A"], b"\x11\x10\x1b[A", false);
    }
}
