//! `tenure key`: API keys. A secret is told once, when it is made.

use super::run::parse_time;
use super::session::given;
use super::show::{Column, Show, text};
use crate::client::Client;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::time::Duration;

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a key, and print its secret
    Create {
        /// Who bears it
        #[arg(long)]
        user: String,
        /// What it lets its bearer do: user or admin
        #[arg(long, default_value = "user", value_parser = ["user", "admin"])]
        role: String,
        /// A name for people
        #[arg(long)]
        label: Option<String>,
        /// For how long it is good, as in 90d [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        expires_in: Option<Duration>,
    },
    /// List keys, without their secrets
    List,
    /// Make a key good for nothing, at once
    Revoke {
        /// The key's ID
        key: String,
    },
    /// Give a key another secret, and print it
    Rotate {
        /// The key's ID
        key: String,
    },
}

const LIST: &[Column] = &[
    ("ID", "id"),
    ("ROLE", "role"),
    ("USER", "user"),
    ("LABEL", "label"),
    ("CREATED", "created_at"),
    ("EXPIRES", "expires_at"),
    ("REVOKED", "revoked_at"),
];

/// Runs one of them.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Create { user, role, label, expires_in } => {
            let expires_in_ms = expires_in.map(|time| time.as_millis() as u64);
            let body = given(json!({ "role": role, "user": user, "label": label, "expires_in_ms": expires_in_ms }));
            secret(show, &client.post(&["keys"], &body).await?)?;
        }
        Command::List => show.list(&client.get(&["keys"], &[]).await?, LIST)?,
        Command::Revoke { key } => {
            let revoked = client.delete(&["keys", &key], &[]).await?;
            if show.json {
                show.raw(&if revoked.is_null() { json!({ "revoked": key }) } else { revoked })?;
            }
        }
        Command::Rotate { key } => secret(show, &client.post(&["keys", &key, "rotate"], &Value::Null).await?)?,
    }
    Ok(0)
}

/// The secret alone on standard output, for whoever puts it where it belongs.
fn secret(show: Show, key: &Value) -> Result<(), Failure> {
    if !show.json {
        eprintln!("{}: this secret is told once", text(&key["id"]));
    }
    show.line(key, &text(&key["secret"]))
}
