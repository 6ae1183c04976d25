//! Files inside: everything that is asked and answered at once. What moves a file's bytes is next door.

use crate::agent::Client;
use crate::agent::connection::{broken, out_of_turn};
use crate::agent::transfer::{FileReader, FileWriter};
use crate::error::AgentError;
use tenure_protocol::{ENTRIES_MAX, Entry, FileKind, Reply, Request, Stat};

/// Longest name in a directory: 255 bytes, each of which may have become a replacement character.
const ENTRY_NAME_MAX: usize = 3 * 255;

/// A directory's entries, or the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In no particular order.
    pub entries: Vec<Entry>,
    /// Whether there are more. Then the client has stopped listening, and is of no further use.
    pub truncated: bool,
}

impl Client {
    /// What is at a path, links followed; `None` where nothing is.
    pub async fn stat(&mut self, path: &str) -> Result<Option<Stat>, AgentError> {
        let Reply::Stat { stat } = self.ask(&Request::Stat { path: path.to_owned() }).await? else {
            return out_of_turn();
        };
        self.rest();
        Ok(stat.map(permission_bits_only))
    }

    /// Lists a directory, at most `most` entries of it.
    pub async fn list(&mut self, path: &str, most: usize) -> Result<Listing, AgentError> {
        let mut reply = self.ask(&Request::List { path: path.to_owned() }).await;
        let mut entries = Vec::new();
        loop {
            match self.settle_failure(reply)? {
                Reply::Done => {
                    self.rest();
                    return Ok(Listing { entries, truncated: false });
                }
                Reply::Entries { entries: more } => {
                    check_entries(&more)?;
                    let room = most - entries.len();
                    let truncated = more.len() > room;
                    entries.extend(
                        more.into_iter()
                            .take(room)
                            .map(|Entry { name, stat }| Entry { name, stat: permission_bits_only(stat) }),
                    );
                    if truncated {
                        return Ok(Listing { entries, truncated });
                    }
                }
                _ => return out_of_turn(),
            }
            reply = self.reader.reply().await;
        }
    }

    /// Removes a file, a link (never what it points to) or a directory, with all it holds if `recursive`.
    pub async fn file_delete(&mut self, path: &str, recursive: bool) -> Result<(), AgentError> {
        self.command(&Request::FileDelete { path: path.to_owned(), recursive }).await
    }

    /// Makes a directory and those above it; one that exists is no error.
    pub async fn make_dir(&mut self, path: &str) -> Result<(), AgentError> {
        self.command(&Request::MakeDir { path: path.to_owned() }).await
    }

    /// Moves a file or directory; replaces a file.
    pub async fn rename(&mut self, from: &str, to: &str) -> Result<(), AgentError> {
        self.command(&Request::Rename { from: from.to_owned(), to: to.to_owned() }).await
    }

    /// Reads a regular file from `offset`, at most `length` bytes, or to its end as it is then.
    pub async fn file_read(
        mut self,
        path: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<(Stat, FileReader), AgentError> {
        let request = Request::FileRead { path: path.to_owned(), offset, length };
        let Reply::File { stat } = self.ask(&request).await? else { return out_of_turn() };
        if stat.kind != FileKind::File {
            return Err(broken("the bytes of something that is no regular file"));
        }
        Ok((permission_bits_only(stat), FileReader::new(self, length)))
    }

    /// Writes a regular file, with `mode` if it is new. It appears whole when [`FileWriter::finish`] succeeds; a writer that is
    /// dropped before leaves what was there.
    pub async fn file_write(mut self, path: &str, mode: Option<u32>) -> Result<FileWriter, AgentError> {
        let request = Request::FileWrite { path: path.to_owned(), mode };
        self.begin(&request).await?;
        self.writer.message(&request).await?;
        Ok(FileWriter::new(self))
    }
}

fn permission_bits_only(stat: Stat) -> Stat {
    Stat { mode: stat.mode & 0o7777, ..stat }
}

/// Names become parts of paths in callers: nothing that leads elsewhere may pass for one.
fn check_entries(entries: &[Entry]) -> Result<(), AgentError> {
    let sound = |entry: &Entry| {
        (1..=ENTRY_NAME_MAX).contains(&entry.name.len())
            && !entry.name.contains(['/', '\0'])
            && entry.name != "."
            && entry.name != ".."
    };
    if entries.len() <= ENTRIES_MAX && entries.iter().all(sound) {
        return Ok(());
    }
    Err(broken("directory entries that no directory has"))
}
