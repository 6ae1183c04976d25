//! What programs print: files of the host that the tenant cannot reach (EN-4).

use crate::archived_output::OutputPlace;
use crate::engine::Engine;
use crate::error::{Captured, EngineError};
use crate::live::Live;
use crate::output_room::OutputShare;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use tenure_session::{ExecId, Session, SessionId};
use tenure_store::StreamTotal;

/// Which of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Its output.
    Stdout,
    /// Its error output.
    Stderr,
}

impl OutputStream {
    fn file_name(self, exec: &ExecId) -> String {
        match self {
            OutputStream::Stdout => format!("{exec}.stdout"),
            OutputStream::Stderr => format!("{exec}.stderr"),
        }
    }
}

/// What was printed, from an offset on.
#[derive(Debug)]
pub struct OutputRead {
    /// The open file, at the offset.
    pub file: tokio::fs::File,
    /// Where it begins.
    pub offset: u64,
    /// How much follows now.
    pub bytes: u64,
    /// Whether more may follow later.
    pub running: bool,
    /// How much was dropped at the cap, as far as is known.
    pub dropped: u64,
}

impl Engine {
    pub(crate) fn output_path(&self, session: &SessionId, exec: &ExecId, stream: OutputStream) -> PathBuf {
        self.output_dir(session).join(stream.file_name(exec))
    }

    /// What may be kept of the output of a program that is to be started.
    pub(crate) fn output_share(&self, session: &Session, live: &Live) -> OutputShare {
        live.output.share(
            self.settings().exec_output_cap_bytes,
            session.limits.disk_bytes,
            &self.output_dir(&session.id),
        )
    }

    /// What may still be kept of the output of one that was found again: what its agent says, within reason.
    pub(crate) fn output_share_of_old(&self, session: &Session, live: &Live, room_bytes: u64) -> OutputShare {
        live.output.share_of_old(room_bytes.min(self.settings().exec_output_cap_bytes), &self.output_dir(&session.id))
    }

    fn output_dir(&self, session: &SessionId) -> PathBuf {
        self.settings().output_dir.join(session.as_str())
    }

    /// Makes the two files of an exec, for the agent to write to.
    pub(crate) fn output_files(&self, session: &SessionId, exec: &ExecId) -> std::io::Result<Vec<OwnedFd>> {
        let dir = self.output_dir(session);
        if let Err(error) = DirBuilder::new().mode(0o700).create(&dir)
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        [OutputStream::Stdout, OutputStream::Stderr]
            .into_iter()
            .map(|stream| {
                let path = self.output_path(session, exec, stream);
                let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
                Ok(OwnedFd::from(file))
            })
            .collect()
    }

    /// How much is in an exec's files.
    pub(crate) async fn output_totals(&self, session: &SessionId, exec: &ExecId) -> (StreamTotal, StreamTotal) {
        let size = async |stream| {
            let path = self.output_path(session, exec, stream);
            StreamTotal { bytes: tokio::fs::metadata(path).await.map_or(0, |meta| meta.len()), dropped: 0 }
        };
        (size(OutputStream::Stdout).await, size(OutputStream::Stderr).await)
    }

    /// An exec's file, at its beginning: from its own place, or out of the archive of its session.
    pub(crate) async fn output_open(
        &self,
        session: &SessionId,
        exec: &ExecId,
        stream: OutputStream,
    ) -> std::io::Result<tokio::fs::File> {
        let (place, name) = (self.output_place(session), stream.file_name(exec));
        let opened = tokio::task::spawn_blocking(move || place.open(&name)).await;
        opened.map_err(std::io::Error::other)?.map(tokio::fs::File::from_std)
    }

    /// The first bytes of an exec's outputs. What cannot be read is left out, and said in the log.
    pub(crate) async fn output_captured(&self, session: &SessionId, exec: &ExecId) -> Captured {
        let (place, most) = (self.output_place(session), self.settings().exec_inline_bytes);
        let names = [OutputStream::Stdout, OutputStream::Stderr].map(|stream| stream.file_name(exec));
        // Many programs print nothing. To see that costs less than a thread to read on.
        if place.are_empty(&names) {
            return Captured::default();
        }
        let read = tokio::task::spawn_blocking(move || names.map(|name| first_bytes(&place, &name, most))).await;
        let [stdout, stderr] = read.unwrap_or_else(|_| [Vec::new(), Vec::new()]);
        Captured { stdout, stderr }
    }
}

fn first_bytes(place: &OutputPlace, name: &str, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = place.open(name).and_then(|file| file.take(most).read_to_end(&mut bytes));
    if let Err(error) = read
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(name, %error, "output could not be read");
    }
    bytes
}

pub(crate) fn output_unavailable(error: &std::io::Error) -> EngineError {
    EngineError::Unavailable { what: "the output cannot be read or written now", chain: error.to_string() }
}
