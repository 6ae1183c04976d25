//! Plain HTTP, so that a test sees the answer itself: its status, its headers, its body.
#![allow(clippy::unwrap_used)]

use crate::own::Own;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Response {
    /// Whether it says when to come again.
    pub fn says_when_to_retry(&self) -> bool {
        self.head.to_ascii_lowercase().contains("retry-after:")
    }
}

/// Asks as the administrator.
pub fn ask(server: &Own, method: &str, path: &str, body: &str) -> Response {
    let key = std::fs::read_to_string(server.seen_dir().join("admin.key")).unwrap();
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        key.trim(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{method} {path}: no answer but {answer:?}\n{}", server.log()));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Response { status, head: head.to_owned(), body: serde_json::from_str(body).unwrap_or(Value::Null) }
}
