//! `tenure execs`: the programs that were run in a session, what they printed, and signals for those that still run.

use super::session::PageArgs;
use super::show::{Column, Show, text};
use crate::client::{Client, broken};
use crate::failure::Failure;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the programs that were run
    List {
        /// The session's ID
        session: String,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show one
    Get(One),
    /// Print what it printed, from the beginning or from an offset on
    Output {
        #[command(flatten)]
        one: One,
        /// stdout or stderr
        #[arg(long, default_value = "stdout", value_parser = ["stdout", "stderr"])]
        stream: String,
        /// Where to begin, in bytes
        #[arg(long, default_value_t = 0, value_name = "BYTE")]
        offset: u64,
    },
    /// Send it a signal
    Kill {
        #[command(flatten)]
        one: One,
        /// Its name or number
        #[arg(long, default_value = "TERM")]
        signal: String,
    },
}

/// One exec.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The session's ID
    session: String,
    /// The exec's ID
    exec: String,
}

const LIST: &[Column] = &[
    ("ID", "exec_id"),
    ("STATE", "state"),
    ("EXIT", "exit_code"),
    ("SIGNAL", "signal"),
    ("STARTED", "started_at"),
    ("MS", "duration_ms"),
    ("CMD", "cmd"),
];

/// Runs one of them.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::List { session, page } => {
            let parameters = page.parameters();
            let query: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
            show.list(&client.list(&["sessions", &session, "execs"], &query, page.all()).await?, LIST)?;
        }
        Command::Get(One { session, exec }) => {
            show.record(&client.get(&["sessions", &session, "execs", &exec], &[]).await?)?;
        }
        Command::Output { one, stream, offset } => output(client, &one, &stream, offset).await?,
        Command::Kill { one: One { session, exec }, signal } => {
            let signal = signal.parse::<u32>().map_or_else(|_| Value::from(signal), Value::from);
            let path = ["sessions", session.as_str(), "execs", exec.as_str(), "kill"];
            let answer = client.post(&path, &json!({ "signal": signal })).await?;
            show.line(&answer, &format!("{exec} {}", text(&answer["state"])))?;
        }
    }
    Ok(0)
}

async fn output(client: &Client, one: &One, stream: &str, offset: u64) -> Result<(), Failure> {
    let query = [("stream", stream), ("offset", &offset.to_string())];
    let path = ["sessions", one.session.as_str(), "execs", one.exec.as_str(), "output"];
    let mut response = client.send(client.request(Method::GET, &path, &query)?).await?;
    let mut stdout = tokio::io::stdout();
    while let Some(chunk) = response.chunk().await.map_err(|error| broken(&error))? {
        stdout.write_all(&chunk).await?;
    }
    stdout.flush().await?;
    Ok(())
}
