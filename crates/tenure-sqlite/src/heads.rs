//! Signed heads of the audit: kept beside it, and in a file outside the database, so that a tail removed together with its head shows (TR-5).

use crate::failure::Failure;
use crate::open::OpenError;
use ed25519_dalek::SigningKey;
use rusqlite::{Connection, OptionalExtension, params};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tenure_session::Timestamp;
use tenure_store::SignedHead;
use tenure_store::audit::{log, sign_head};

/// At most one head in this time.
const INTERVAL: Duration = Duration::from_secs(1);

/// How the audit's end is signed: at most once a second after entries were added, and when the store is closed.
///
/// The file is appended to after the head was committed, and not flushed: after a power cut its last heads may be missing, never wrong. What was added
/// within the last second before a crash is covered by the head that the next start signs.
#[derive(Clone)]
pub struct HeadSigning {
    /// With this key. It is kept outside the database.
    pub key: SigningKey,
    /// Into this file as well: a line of JSON for each head. It is made where there is none.
    pub file: PathBuf,
    /// Says what time it is, on the line of time of the audit's entries.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// The signer, in the writer's thread.
pub(crate) struct Heads {
    signing: HeadSigning,
    file: File,
    /// Whether the line may have grown since it was last signed.
    outdated: bool,
    signed_at: Option<Timestamp>,
}

impl Heads {
    /// Opens the file, without the torn end that a crash may have left.
    pub fn open(signing: HeadSigning) -> Result<Heads, OpenError> {
        let at = |error| OpenError::Io { path: signing.file.clone(), error };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&signing.file).map_err(at)?;
        let read = log::read_heads(BufReader::new(&file)).map_err(OpenError::Heads)?;
        if file.metadata().map_err(at)?.len() > read.intact_bytes {
            file.set_len(read.intact_bytes).map_err(at)?;
        }
        file.seek(SeekFrom::End(0)).map_err(at)?;
        // The last run may have ended before it signed what it wrote.
        Ok(Heads { signing, file, outdated: true, signed_at: None })
    }

    /// The line may have grown.
    pub fn outdated(&mut self) {
        self.outdated = true;
    }

    /// In how long a head is due; `None` where nothing is to be signed.
    pub fn due_in(&self) -> Option<Duration> {
        self.outdated.then(|| match self.signed_at {
            None => Duration::ZERO,
            Some(signed_at) => INTERVAL.saturating_sub(Duration::from_millis((self.signing.now)().ms_since(signed_at))),
        })
    }

    /// Signs the line's end, unless that was signed already.
    pub fn sign(&mut self, connection: &Connection) -> Result<(), Failure> {
        let now = (self.signing.now)();
        // Also where it fails, so that it is not tried without a pause.
        let before = self.signed_at.replace(now);
        let Some((position, line_hash)) = unsigned_end(connection)? else {
            (self.outdated, self.signed_at) = (false, before);
            return Ok(());
        };
        let line_hash = line_hash.parse().map_err(Failure::impossible)?;
        let head = sign_head(&self.signing.key, position, line_hash, now);
        keep(connection, &head)?;
        self.outdated = false;
        let line = log::line(&head).map_err(Failure::impossible)?;
        self.file.write_all(&line).map_err(|error| Failure::Impossible(format!("the file of heads: {error}")))
    }
}

/// The end of the line, where no head names it yet.
fn unsigned_end(connection: &Connection) -> Result<Option<(u64, String)>, Failure> {
    let end = connection.prepare_cached(
        "SELECT position, line_hash FROM audit
         WHERE position = (SELECT max(position) FROM audit)
           AND position > (SELECT coalesce(max(position), 0) FROM audit_heads)",
    )?;
    let mut end = end;
    Ok(end.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn keep(connection: &Connection, head: &SignedHead) -> Result<(), Failure> {
    let mut insert = connection
        .prepare_cached("INSERT INTO audit_heads (position, line_hash, at, signature) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![head.position, head.line_hash, head.at.as_ms(), head.signature])?;
    Ok(())
}
