//! One connection to a server whose answer may never come: what is known then is told apart from what is not.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything here takes; what takes longer hangs, and that is a finding.
const PATIENCE: Duration = Duration::from_secs(90);

/// A request.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// With its query.
    pub path: String,
    /// `Idempotency-Key`, if it has one.
    pub key: Option<String>,
    /// What is sent.
    pub body: Vec<u8>,
    /// Another credential than the connection's.
    pub credential: Option<String>,
    /// As whose holder it is asked.
    pub holder: Holder,
}

/// Which lease token a request carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Holder {
    /// That of the session's holder, where there is one.
    #[default]
    Rightful,
    /// None.
    Nobody,
    /// This one.
    Of(u64),
}

impl Request {
    /// Without a body.
    pub fn new(method: &'static str, path: impl Into<String>) -> Request {
        Request { method, path: path.into(), ..Request::default() }
    }

    /// With a JSON body.
    pub fn json(method: &'static str, path: impl Into<String>, body: &Value) -> Request {
        Request { body: body.to_string().into_bytes(), ..Request::new(method, path) }
    }
}

/// An answer that came whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its body as JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The code of a problem; empty where it is none.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and body, for reports.
    pub fn told(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        format!("{} {}", self.status, body.chars().take(600).collect::<String>())
    }
}

/// The server was gone before its answer was: whether it did what was asked nobody knows.
#[derive(Debug)]
pub struct Broken {
    /// What the kernel said.
    pub why: String,
    /// Whether nothing was sent.
    pub unsent: bool,
    /// Whether the server neither answered nor went.
    pub hung: bool,
}

/// A connection that is kept open, and made again where it broke.
pub struct Connection {
    address: SocketAddr,
    credential: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// To this server, as the bearer of this key.
    pub fn new(address: SocketAddr, credential: &str) -> Connection {
        Connection { address, credential: credential.to_owned(), stream: None }
    }

    /// Asks, and waits for the whole answer.
    pub fn ask(&mut self, request: &Request, token: Option<u64>) -> Result<Answer, Broken> {
        let unsent = self.connect().err().map(|why| Broken { why: why.to_string(), unsent: true, hung: false });
        if let Some(unsent) = unsent {
            return Err(unsent);
        }
        self.exchange(request, token).map_err(|error| {
            self.stream = None;
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            let hung = matches!(kind, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
            Broken { why: format!("{error:#}"), unsent: false, hung }
        })
    }

    /// Where the server is, and as the bearer of what it is asked.
    pub fn place(&self) -> (SocketAddr, &str) {
        (self.address, &self.credential)
    }

    fn connect(&mut self) -> std::io::Result<()> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.stream = Some(BufReader::new(stream));
        }
        Ok(())
    }

    fn exchange(&mut self, request: &Request, token: Option<u64>) -> anyhow::Result<Answer> {
        let credential = request.credential.as_ref().unwrap_or(&self.credential);
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, self.address);
        head += &format!("Authorization: Bearer {credential}\r\nContent-Length: {}\r\n", request.body.len());
        if let Some(key) = &request.key {
            head += &format!("Idempotency-Key: {key}\r\n");
        }
        if let Some(token) = token {
            head += &format!("Tenure-Lease-Token: {token}\r\n");
        }
        if request.body.first() == Some(&b'{') {
            head += "Content-Type: application/json\r\n";
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.extend_from_slice(&request.body);
        let stream = self.stream.as_mut().context("not connected")?;
        stream.get_mut().write_all(&bytes)?;
        let (status, length, chunked) = read_head(stream)?;
        let body = if chunked { read_chunks(stream)? } else { read_exactly(stream, length)? };
        Ok(Answer { status, body })
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.ends_with('\n'), "the connection ended");
    Ok(line.trim_end().to_owned())
}

fn read_head(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(u16, usize, bool)> {
    let line = read_line(stream)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
    let (mut length, mut chunked) = (0, false);
    loop {
        let line = read_line(stream)?.to_ascii_lowercase();
        match line.split_once(':') {
            None => return Ok((status, length, chunked)),
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
            Some(_) => {}
        }
    }
}

fn read_exactly(stream: &mut BufReader<TcpStream>, length: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&read_line(stream)?, 16)?;
        body.extend(read_exactly(stream, size)?);
        read_line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}
