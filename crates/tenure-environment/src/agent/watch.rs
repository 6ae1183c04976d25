//! Changes to files inside, as they happen.

use crate::agent::Client;
use crate::agent::connection::{broken, out_of_turn};
use crate::error::AgentError;
use std::fmt;
use tenure_protocol::{ChangeKind, PATH_MAX, Reply, Request};

/// Something changed at a path inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Where, as the agent tells it: absolute, and for people where it is not UTF-8.
    pub path: String,
}

/// A watch. Dropping it ends it, and the connection with it.
pub struct Watcher {
    client: Client,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl Client {
    /// Watches a file or directory, and the directories below it if `recursive`. What changes after this returns is told.
    pub async fn watch(mut self, path: &str, recursive: bool) -> Result<Watcher, AgentError> {
        match self.ask(&Request::Watch { path: path.to_owned(), recursive }).await? {
            Reply::Done => Ok(Watcher { client: self }),
            _ => out_of_turn(),
        }
    }
}

impl Watcher {
    /// The next change. Cancel-safe.
    pub async fn next(&mut self) -> Result<Change, AgentError> {
        match self.client.reader.reply().await? {
            // A path may have grown threefold where replacement characters stand for bytes.
            Reply::Change { kind, path } if path.starts_with('/') && path.len() <= 3 * PATH_MAX => {
                Ok(Change { kind, path })
            }
            Reply::Change { .. } => Err(broken("a change at a place that is no path")),
            _ => out_of_turn(),
        }
    }
}
