//! `tenure file`: the files of a session, with `-` for standard input and output.

use super::show::{Column, Show, text};
use crate::client::{Client, broken};
use crate::failure::{Code, Failure};
use reqwest::{Body, Method};
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Read a file
    Read {
        #[command(flatten)]
        at: At,
        /// Where to write it; `-` is standard output
        #[arg(default_value = "-", value_name = "TO")]
        to: PathBuf,
    },
    /// Write a file
    Write {
        #[command(flatten)]
        at: At,
        /// What to write; `-` is standard input
        #[arg(default_value = "-", value_name = "FROM")]
        from: PathBuf,
    },
    /// Delete a file or a directory
    Delete {
        #[command(flatten)]
        at: At,
        /// Also a directory that is not empty
        #[arg(long, short = 'r')]
        recursive: bool,
    },
    /// Say what is at a path
    Stat(At),
    /// List a directory
    List {
        /// The session's ID
        session: String,
        /// The directory
        #[arg(default_value = "/workspace")]
        path: String,
    },
    /// Follow changes below a path
    Watch {
        #[command(flatten)]
        at: At,
        /// Also in the directories below
        #[arg(long, short = 'r')]
        recursive: bool,
    },
}

/// A path in a session.
#[derive(Debug, clap::Args)]
pub struct At {
    /// The session's ID
    session: String,
    /// The path inside; a relative one begins at /workspace
    path: String,
}

const LIST: &[Column] = &[("TYPE", "type"), ("SIZE", "size"), ("MODIFIED", "modified_at"), ("NAME", "name")];

/// Runs one of them.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Read { at, to } => read(client, &at, &to).await?,
        Command::Write { at, from } => write(client, &at, &from).await?,
        Command::Delete { at, recursive } => {
            let query = [("path", at.path.as_str()), ("recursive", if recursive { "true" } else { "false" })];
            client.delete(&["sessions", &at.session, "files"], &query).await?;
            if show.json {
                show.raw(&json!({ "deleted": at.path }))?;
            }
        }
        Command::Stat(at) => {
            let stat = client.get(&["sessions", &at.session, "stat"], &[("path", &at.path)]).await?;
            show.record(&stat)?;
            if !stat["exists"].as_bool().unwrap_or(true) {
                return Ok(Code::FileNotFound.row().exit);
            }
        }
        Command::List { session, path } => {
            let listing = client.get(&["sessions", &session, "dirs"], &[("path", &path)]).await?;
            show.list_of(&listing, "entries", LIST)?;
        }
        Command::Watch { at, recursive } => watch(client, show, &at, recursive).await?,
    }
    Ok(0)
}

fn here(path: &Path, what: &str, error: std::io::Error) -> Failure {
    let code = if error.kind() == std::io::ErrorKind::NotFound { Code::FileNotFound } else { Code::FileConflict };
    Failure::new(code, format!("cannot {what} {}: {error}", path.display()))
}

async fn read(client: &Client, at: &At, to: &Path) -> Result<(), Failure> {
    let request = client.request(Method::GET, &["sessions", &at.session, "files"], &[("path", &at.path)])?;
    let mut response = client.send(request).await?;
    // Only now: a file that cannot be read must not empty the one here.
    let mut out: Box<dyn AsyncWrite + Unpin> = if to == Path::new("-") {
        Box::new(tokio::io::stdout())
    } else {
        Box::new(tokio::fs::File::create(to).await.map_err(|error| here(to, "write", error))?)
    };
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        out.write_all(&chunk).await?;
    }
    out.flush().await?;
    Ok(())
}

async fn write(client: &Client, at: &At, from: &Path) -> Result<(), Failure> {
    let input: Box<dyn AsyncRead + Send + Sync + Unpin> = if from == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        Box::new(tokio::fs::File::open(from).await.map_err(|error| here(from, "read", error))?)
    };
    let request = client.request(Method::PUT, &["sessions", &at.session, "files"], &[("path", &at.path)])?;
    client.send(request.body(Body::wrap_stream(ReaderStream::new(input)))).await?;
    Ok(())
}

async fn watch(client: &Client, show: Show, at: &At, recursive: bool) -> Result<(), Failure> {
    let query = [("path", at.path.as_str()), ("recursive", if recursive { "true" } else { "false" })];
    let request = client.request(Method::GET, &["sessions", &at.session, "watch"], &query)?;
    let mut events = client.events(request).await?;
    while let Some(event) = events.next().await? {
        show.line(&event.data, &format!("{:8} {}", text(&event.data["kind"]), text(&event.data["path"])))?;
    }
    Ok(())
}
