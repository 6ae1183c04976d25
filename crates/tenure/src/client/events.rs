//! Server-sent events: what is told as it happens.

use super::{broken, of_problem};
use crate::failure::{CliCode, Failure};
use reqwest::Response;
use serde_json::Value;

/// Longest event that is taken.
const EVENT_MAX: usize = 16 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What kind.
    pub name: String,
    /// What it says.
    pub data: Value,
}

/// Events as they come.
pub struct Events {
    response: Response,
    waiting: Vec<u8>,
    /// How much of what waits holds no end of an event.
    looked_at: usize,
}

impl Events {
    /// Those of an answer.
    pub fn new(response: Response) -> Events {
        Events { response, waiting: Vec::new(), looked_at: 0 }
    }

    /// The next one; nothing where it is over. The server's last word, where it could not go on, is a failure.
    pub async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            while let Some(block) = self.block() {
                match parse(&block)? {
                    Some(Event { name, data: Value::Object(problem) }) if name == "error" => {
                        let status = problem.get("status").and_then(Value::as_u64).unwrap_or(500);
                        return Err(of_problem(problem, u16::try_from(status).unwrap_or(500)));
                    }
                    Some(event) => return Ok(Some(event)),
                    None => {}
                }
            }
            match self.response.chunk().await.map_err(|error| broken(&error))? {
                Some(chunk) => self.waiting.extend_from_slice(&chunk),
                None => return Ok(None),
            }
            if self.waiting.len() > EVENT_MAX {
                return Err(Failure::new(CliCode::NotOurs, "the server sends an event without an end"));
            }
        }
    }

    /// Takes the next event off what waits.
    fn block(&mut self) -> Option<String> {
        let from = self.looked_at.saturating_sub(1);
        match self.waiting[from..].windows(2).position(|pair| pair == b"\n\n") {
            Some(at) => {
                let block: Vec<u8> = self.waiting.drain(..from + at + 2).collect();
                self.looked_at = 0;
                Some(String::from_utf8_lossy(&block).into_owned())
            }
            None => {
                self.looked_at = self.waiting.len();
                None
            }
        }
    }
}

fn parse(block: &str) -> Result<Option<Event>, Failure> {
    let (mut name, mut data) = (String::from("message"), String::new());
    for line in block.lines() {
        if let Some(value) = line.strip_prefix("event:") {
            name = value.trim().to_owned();
        } else if let Some(value) = line.strip_prefix("data:") {
            data += value.strip_prefix(' ').unwrap_or(value);
        }
    }
    if data.is_empty() {
        return Ok(None);
    }
    let data = serde_json::from_str(&data).map_err(|error| {
        Failure::new(CliCode::NotOurs, format!("the server sent an event that is no JSON: {error}"))
    })?;
    Ok(Some(Event { name, data }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn all(chunks: Vec<&'static [u8]>) -> Result<Vec<Event>, Failure> {
        let chunks = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(bytes::Bytes::from_static(chunk)));
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let mut events = Events::new(http::Response::new(body).into());
        let mut found = Vec::new();
        while let Some(event) = events.next().await? {
            found.push(event);
        }
        Ok(found)
    }

    /// CL-2: an event is whole, however it is cut on its way; what keeps the line alive is none.
    #[tokio::test]
    async fn events_are_whole_however_they_are_cut() {
        let chunks: Vec<&[u8]> =
            vec![b"event: a\nda", b"ta: {\"n\":1}\n", b"\n: still here\n\nevent: b\ndata: 2\n\nevent: c"];
        let found = all(chunks).await.unwrap();
        let found: Vec<_> = found.iter().map(|event| (event.name.as_str(), event.data.to_string())).collect();
        assert_eq!(found, [("a", "{\"n\":1}".to_owned()), ("b", "2".to_owned())]);
    }

    /// CL-2: a stream that cannot go on says why, and that is the failure.
    #[tokio::test]
    async fn the_last_word_of_a_stream_is_its_failure() {
        let failure =
            all(vec![b"event: error\ndata: {\"code\":\"GONE\",\"status\":410,\"detail\":\"over\"}\n\n"]).await;
        assert!(failure.unwrap_err().is(crate::failure::Code::Gone));
    }
}
