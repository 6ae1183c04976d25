//! One connection to a server, as cheap as can be: the client's own work is part of every figure.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(60);

/// A connection that is kept open.
pub struct Client {
    stream: BufReader<TcpStream>,
    head: String,
    body: Vec<u8>,
}

impl Client {
    /// Connects, and sends this key with every request.
    pub fn connect(address: SocketAddr, key: &str) -> anyhow::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, BOUND)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(BOUND))?;
        let head = format!("Host: {address}\r\nAuthorization: Bearer {key}\r\n");
        Ok(Client { stream: BufReader::new(stream), head, body: Vec::new() })
    }

    /// Asks, and answers with the status; the body is in [`Client::body`].
    pub fn ask(&mut self, method: &str, path: &str, body: Option<&str>) -> anyhow::Result<u16> {
        let body = body.unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request =
            format!("{method} {path} HTTP/1.1\r\n{}{kind}Content-Length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status line")?;
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(status)
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Asks, and expects this status and a JSON body.
    pub fn expect(&mut self, method: &str, path: &str, body: Option<&str>, status: u16) -> anyhow::Result<Value> {
        let found = self.ask(method, path, body)?;
        ensure!(found == status, "{method} {path}: {found}: {}", String::from_utf8_lossy(&self.body));
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// Makes a session, and answers with its ID.
    pub fn create(&mut self) -> anyhow::Result<String> {
        let session = self.expect("POST", "/v1/sessions", Some("{}"), 201)?;
        Ok(session["id"].as_str().context("a session without an ID")?.to_owned())
    }

    /// Runs `/bin/true` in a session.
    pub fn run_true(&mut self, id: &str) -> anyhow::Result<()> {
        let path = format!("/v1/sessions/{id}/exec");
        let done = self.expect("POST", &path, Some(r#"{"cmd":["/bin/true"]}"#), 200)?;
        ensure!(done["exit_code"] == 0, "/bin/true: {done}");
        Ok(())
    }

    /// Ends a session.
    pub fn end(&mut self, id: &str) -> anyhow::Result<()> {
        self.expect("POST", &format!("/v1/sessions/{id}/terminate"), Some("{}"), 200).map(drop)
    }
}
