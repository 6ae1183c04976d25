//! `tenure template` where a server has the data directory: the same, through it.

use super::show::{Column, Show, text};
use super::template::{AddArgs, Command};
use crate::client::Client;
use crate::failure::Failure;
use serde_json::json;
use std::fs::{File, TryLockError};
use std::path::Path;

const LIST: &[Column] =
    &[("NAME", "name"), ("VERSION", "version"), ("BASE", "base"), ("PROFILE", "profile"), ("CREATED", "created_at")];

/// Whether a server has this data directory now.
pub fn is_served(data_dir: &Path) -> bool {
    let Ok(lock) = File::open(data_dir.join("server.lock")) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Runs one of them.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Add(args) => add(client, show, &args).await?,
        Command::List => show.list(&client.get(&["templates"], &[]).await?, LIST)?,
        Command::Show { name } => show.record(&client.get(&["templates", &name], &[]).await?)?,
        Command::Remove { name } => {
            client.delete(&["templates", &name], &[]).await?;
            if show.json {
                show.raw(&json!({ "removed": name }))?;
            }
        }
    }
    Ok(0)
}

async fn add(client: &Client, show: Show, args: &AddArgs) -> Result<(), Failure> {
    let added = client.post(&["templates"], &args.body()?).await?;
    show.line(&added, &format!("{}@{}", text(&added["name"]), text(&added["version"])))
}
