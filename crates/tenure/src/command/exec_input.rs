//! A program that is fed from standard input: it runs in the background, and its output is read as it grows.

use crate::client::{Client, broken};
use crate::failure::Failure;
use reqwest::{Body, Method};
use serde_json::Value;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;

/// How long to wait before looking again: the first time, and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// Feeds it until our input ends, copies its output until it ends, and answers with what is said of it.
pub async fn carry(client: &Client, session: &str, exec: &str) -> Result<Value, Failure> {
    let feeding = tokio::spawn(feed(client.clone(), session.to_owned(), exec.to_owned()));
    let ended = copy(client, session, exec).await;
    // A program that ends without reading its input is no failure.
    feeding.abort();
    ended
}

async fn feed(client: Client, session: String, exec: String) -> Result<(), Failure> {
    let path = ["sessions", session.as_str(), "execs", exec.as_str(), "stdin"];
    let input = Body::wrap_stream(ReaderStream::new(tokio::io::stdin()));
    client.send(client.request(Method::POST, &path, &[("eof", "true")])?.body(input)).await?;
    Ok(())
}

async fn copy(client: &Client, session: &str, exec: &str) -> Result<Value, Failure> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let (mut read, mut wait) = ([0; 2], LOOK.0);
    loop {
        // Asked first: what it printed before it ended is there when its end is.
        let now = client.get(&["sessions", session, "execs", exec], &[]).await?;
        let before = read;
        read[0] = more(client, session, exec, ("stdout", read[0]), &mut stdout).await?;
        read[1] = more(client, session, exec, ("stderr", read[1]), &mut stderr).await?;
        if !now["ended_at"].is_null() {
            return Ok(now);
        }
        wait = if read == before { (wait * 2).min(LOOK.1) } else { LOOK.0 };
        tokio::time::sleep(wait).await;
    }
}

/// Copies what is new of one stream, and answers with how far it was read.
async fn more(
    client: &Client,
    session: &str,
    exec: &str,
    (stream, offset): (&str, u64),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<u64, Failure> {
    let query = [("stream", stream), ("offset", &offset.to_string())];
    let request = client.request(Method::GET, &["sessions", session, "execs", exec, "output"], &query)?;
    let mut response = client.send(request).await?;
    let mut read = offset;
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        to.write_all(&chunk).await?;
        read += chunk.len() as u64;
    }
    to.flush().await?;
    Ok(read)
}
