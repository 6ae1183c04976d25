//! `tenure preview`: ports of a session that can be reached from outside.

use super::show::{Column, Show, text};
use crate::client::Client;
use crate::failure::{Code, Failure};
use serde_json::{Value, json};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a port reachable, and print where
    Register(Port),
    /// List the ports that can be reached
    List {
        /// The session's ID
        session: String,
    },
    /// Make a port unreachable
    Remove(Port),
    /// Say whether something answers at a port
    Health(Port),
    /// Print an address that a browser can open, for 30 seconds and once
    OpenUrl(Port),
}

/// A port in a session.
#[derive(Debug, clap::Args)]
pub struct Port {
    /// The session's ID
    session: String,
    /// The port inside, 1024 to 65535
    port: u16,
}

const LIST: &[Column] = &[("PORT", "port"), ("URL", "url"), ("SINCE", "created_at")];

/// Runs one of them.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Register(Port { session, port }) => {
            let preview = client.post(&["sessions", &session, "previews"], &json!({ "port": port })).await?;
            show.line(&preview, &absolute(client, &preview))?;
        }
        Command::List { session } => show.list(&client.get(&["sessions", &session, "previews"], &[]).await?, LIST)?,
        Command::Remove(Port { session, port }) => {
            client.delete(&["sessions", &session, "previews", &port.to_string()], &[]).await?;
            if show.json {
                show.raw(&json!({ "removed": port }))?;
            }
        }
        Command::Health(Port { session, port }) => {
            let health = client.get(&["sessions", &session, "previews", &port.to_string(), "health"], &[]).await?;
            show.record(&health)?;
            if !health["healthy"].as_bool().unwrap_or(false) {
                return Ok(Code::PreviewUnreachable.row().exit);
            }
        }
        Command::OpenUrl(port) => open_url(client, show, &port).await?,
    }
    Ok(0)
}

/// The address with the server's own in front, where it is one below it.
fn absolute(client: &Client, preview: &Value) -> String {
    let url = text(&preview["url"]);
    if url.starts_with('/') { format!("{}{url}", client.base().as_str().trim_end_matches('/')) } else { url }
}

async fn open_url(client: &Client, show: Show, Port { session, port }: &Port) -> Result<(), Failure> {
    let previews = client.get(&["sessions", session, "previews"], &[]).await?;
    let items = previews["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(preview) = items.iter().find(|preview| preview["port"] == *port) else {
        let message = format!("port {port} of {session} is not registered");
        return Err(Failure::new(Code::PreviewNotFound, message).hint("`tenure preview register` does that"));
    };
    let ask = json!({ "session_id": session, "use": "preview", "port": port });
    let ticket = client.post(&["tickets"], &ask).await?;
    let url = absolute(client, preview);
    let sign = if url.contains('?') { '&' } else { '?' };
    let url = format!("{}{sign}ticket={}", url, text(&ticket["ticket"]));
    show.line(&json!({ "url": url, "expires_at": ticket["expires_at"] }), &url)
}
