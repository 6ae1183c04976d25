//! Terminals under load: what was typed and seen is on the screen of whoever comes back.

use crate::client::{Client, Stopped};
use crate::facts::{Certainty, End, Typed};
use crate::http::Answer;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, client};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// How long what was typed may take to be printed.
const SHOWN_WITHIN: Duration = Duration::from_secs(5);
/// How long one look waits for more.
const LOOK: Duration = Duration::from_millis(500);
/// Words typed in one terminal: all of them are in what a viewer sees first.
const WORDS_MAX: usize = 200;
/// Terminals of which nobody knows whether they are there.
const PERHAPS_MAX: usize = 3;

/// A viewer of a terminal.
struct Viewer {
    socket: WebSocket<TcpStream>,
    screen: String,
}

/// How a terminal cannot be looked at.
enum Unseen {
    /// The connection broke.
    Broken,
    /// The server said why not.
    Refused(Answer),
    /// Its session ended.
    Ended(End),
}

impl Client {
    /// Opens a terminal of this session or comes back to it, and types.
    pub(crate) fn terminal(&mut self, index: usize) -> Result<(), Stopped> {
        if self.sessions[index].terminal.is_none() && self.sessions[index].terminals_perhaps >= PERHAPS_MAX {
            return Ok(());
        }
        let Some(mut viewer) = self.terminal_open(index)? else { return Ok(()) };
        for _ in 0..=self.random.below(3) {
            let word = self.word("typed");
            let Some(typed) = &mut self.sessions[index].terminal else { return Ok(()) };
            if typed.words.len() >= WORDS_MAX {
                return Ok(());
            }
            typed.words.push((word.clone(), Certainty::Perhaps));
            if viewer.socket.send(Message::binary(format!("{word}\n").into_bytes())).is_err() {
                self.tally.unknown += 1;
                return Err(Stopped);
            }
            let seen = viewer.look_until(|screen| screen.matches(&word).count() >= 2);
            match seen {
                Ok(true) => {
                    let typed = self.sessions[index].terminal.iter_mut().flat_map(|typed| typed.words.last_mut());
                    typed.for_each(|(_, certainty)| *certainty = Certainty::Yes);
                    self.acknowledged("typed and shown");
                }
                Ok(false) if self.may_be_cut(index) => return Ok(()),
                // It may be frozen by nobody but this client.
                Ok(false) => self.lost(format!("{word} was typed, and not shown: {:?}", viewer.screen)),
                Err(unseen) => return self.unseen(index, unseen).map(|_| ()),
            }
        }
        Ok(())
    }

    /// What was typed is there: everything that was shown before, in its order, once echoed and once printed.
    pub(crate) fn terminal_look(&mut self, index: usize) -> Result<(), Stopped> {
        let Some(mut viewer) = self.terminal_open(index)? else { return Ok(()) };
        let Some(typed) = self.sessions[index].terminal.clone() else { return Ok(()) };
        let certain: Vec<&String> =
            typed.words.iter().filter(|(_, certainty)| *certainty == Certainty::Yes).map(|(word, _)| word).collect();
        let whole = |screen: &str| certain.iter().all(|word| screen.matches(&format!("{word}\r\n")).count() >= 2);
        if let Err(unseen) = viewer.look_until(whole) {
            return self.unseen(index, unseen).map(|_| ());
        }
        let times = |word: &str| viewer.screen.matches(&format!("{word}\r\n")).count();
        let places: Vec<Option<usize>> = certain.iter().map(|word| viewer.screen.find(word.as_str())).collect();
        let good = certain.iter().all(|word| times(word) == 2)
            && places.is_sorted()
            && typed.words.iter().all(|(word, _)| times(word) <= 2);
        let id = self.sessions[index].id.clone();
        self.check(good, || format!("the terminal of {id} shows {:?}; typed was {:?}", viewer.screen, typed.words));
        Ok(())
    }

    /// A viewer, once the terminal said which it is. Nothing, where the session does not allow one.
    fn terminal_open(&mut self, index: usize) -> Result<Option<Viewer>, Stopped> {
        let session = &mut self.sessions[index];
        let known = session.terminal.as_ref().map(|typed| typed.exec_id.clone());
        let wanted = match &known {
            Some(exec) => format!("exec_id={exec}"),
            None => "cmd=cat".to_owned(),
        };
        let path = format!("/v1/sessions/{}/terminal?raw=true&{wanted}", session.id);
        let token = session.hold.held;
        session.states.insert("running".to_owned());
        let Some(connection) = &self.connection else { return Err(Stopped) };
        let (address, key) = connection.place();
        if known.is_none() {
            session.terminals_perhaps += 1;
        }
        let opened = Viewer::open(&format!("ws://{address}{path}"), key, token).and_then(|mut viewer| {
            let status = viewer.status()?;
            Ok((viewer, status))
        });
        let (viewer, status) = match opened {
            Ok(opened) => opened,
            Err(unseen) => {
                // What was let in, and met the end of its session or of its host, is in the ledger.
                let kept_out =
                    matches!(&unseen, Unseen::Refused(answer) if answer.status < 500 && answer.status != 410);
                self.unseen(index, unseen)?;
                let session = &mut self.sessions[index];
                session.terminals_perhaps -= usize::from(kept_out && known.is_none());
                return Ok(None);
            }
        };
        let exec_id = status["exec_id"].as_str().unwrap_or_default().to_owned();
        let session = &mut self.sessions[index];
        session.states.retain(|state| state == "running" || state == "paused");
        if let Some(known) = known {
            let alive = status["exec_state"] == "started" && exec_id == known;
            let excused = self.agents_die() || self.sessions[index].reasons.contains("killed");
            self.check(alive || excused, || format!("the terminal {known} is {status}"));
        } else {
            session.terminals_perhaps -= 1;
            session.terminal = Some(Typed { exec_id, words: Vec::new() });
            self.acknowledged("terminal");
        }
        Ok(Some(viewer))
    }

    fn unseen(&mut self, index: usize, unseen: Unseen) -> Result<(), Stopped> {
        match unseen {
            Unseen::Broken => {
                self.tally.unknown += 1;
                Err(Stopped)
            }
            Unseen::Ended(end) => {
                self.ended(index, end);
                Ok(())
            }
            Unseen::Refused(answer) => {
                let answer = self.believed(answer)?;
                self.refused(index, "terminal", &answer);
                Ok(())
            }
        }
    }

    /// The terminals in the ledger: the known one, and no more than may have been opened.
    pub(crate) fn terminals_check(&mut self, index: usize, rows: &[Value], lives: bool) {
        let session = &self.sessions[index];
        let (id, known, perhaps) = (session.id.clone(), session.terminal.clone(), session.terminals_perhaps);
        let excused = session.reasons.contains("killed") || session.may_be_over() || !lives;
        let row = known.as_ref().map(|typed| rows.iter().find(|row| row["exec_id"] == typed.exec_id.as_str()));
        if let Some(row) = row {
            let alive = row.is_some_and(|row| row["state"] == "started" || excused);
            self.check(alive, || format!("the terminal of {id} is {row:?}; known is {known:?}"));
        }
        let most = usize::from(known.is_some()) + perhaps;
        self.check(rows.len() <= most, || format!("{id} has {} terminals, of {most}: {rows:?}", rows.len()));
    }
}

impl Viewer {
    fn open(url: &str, key: &str, token: Option<u64>) -> Result<Viewer, Unseen> {
        let mut request = url.into_client_request().map_err(|_| Unseen::Broken)?;
        let address = request.uri().authority().map(|place| place.as_str().to_owned()).unwrap_or_default();
        let header = |text: String| HeaderValue::from_str(&text).map_err(|_| Unseen::Broken);
        request.headers_mut().insert("authorization", header(format!("Bearer {key}"))?);
        if let Some(token) = token {
            request.headers_mut().insert("tenure-lease-token", header(token.to_string())?);
        }
        let stream = TcpStream::connect(address).map_err(|_| Unseen::Broken)?;
        let _ = (stream.set_nodelay(true), stream.set_read_timeout(Some(Duration::from_secs(30))));
        let (socket, _) = client(request, stream).map_err(|_| Unseen::Broken)?;
        let _ = socket.get_ref().set_read_timeout(Some(LOOK));
        Ok(Viewer { socket, screen: String::new() })
    }

    /// The first word of the server: which terminal it is.
    fn status(&mut self) -> Result<Value, Unseen> {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if let Some(status) = self.next()? {
                return Ok(status);
            }
        }
        Err(Unseen::Broken)
    }

    /// Looks until this is so, or for long enough. Whether it is.
    fn look_until(&mut self, is_so: impl Fn(&str) -> bool) -> Result<bool, Unseen> {
        let until = Instant::now() + SHOWN_WITHIN;
        while !is_so(&self.screen) {
            if Instant::now() > until {
                return Ok(false);
            }
            self.next()?;
        }
        Ok(true)
    }

    /// Takes what comes next; a status is handed back.
    fn next(&mut self) -> Result<Option<Value>, Unseen> {
        match self.socket.read() {
            Ok(Message::Binary(bytes)) => self.screen += &String::from_utf8_lossy(&bytes),
            Ok(Message::Text(text)) => {
                let told: Value = serde_json::from_str(&text).unwrap_or_default();
                return match told["type"].as_str() {
                    Some("status") => Ok(Some(told)),
                    Some("termination") => Err(End::of(&told).map_or(Unseen::Broken, Unseen::Ended)),
                    _ => Err(refused(&told["problem"])),
                };
            }
            Ok(_) => {}
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Err(Unseen::Broken),
        }
        Ok(None)
    }
}

fn refused(problem: &Value) -> Unseen {
    let status = problem["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(0);
    Unseen::Refused(Answer { status, body: problem.to_string().into_bytes() })
}
