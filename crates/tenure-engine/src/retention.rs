//! Retention: ended sessions are archived, one way, and later purged down to a tombstone (TR-6).
//!
//! ```text
//!  pack the output beside its files ─► one transaction: archive, rows gone, audit ─► remove the files ─► settled
//!                                      one transaction: purge, audit              ─► remove the archive ─► settled
//! ```
//!
//! What is broken off anywhere is done by the next pass: before the transaction all of it again, after it what is not settled. Nothing is removed that
//! the store does not say is kept elsewhere, or to be gone. A pass costs what is due.

use crate::archived_output::OutputPlace;
use crate::engine::Engine;
use crate::error::EngineError;
use serde_json::{Value, json};
use std::time::Duration;
use tenure_session::{Session, SessionId, Timestamp, Trigger};
use tenure_store::{
    ArchiveRecord, AuditDraft, Changed, ContentDigest, RetentionArchive, RetentionDue, RetentionPurge, RetentionQueue,
};

/// Most sessions in one look at the store.
const BATCH: u32 = 100;

/// What one pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    /// Sessions that it archived.
    pub archived: Vec<SessionId>,
    /// Sessions that it purged.
    pub purged: Vec<SessionId>,
    /// How many it could not archive, purge or tidy now. The next pass tries again.
    pub failed: u64,
}

impl Engine {
    /// Archives and purges every session whose time has come. It costs what is due, and may be run by anybody at any time: each is archived and purged once.
    pub async fn retain(&self) -> Result<Retained, EngineError> {
        let _turn = self.retaining().lock().await;
        let mut retained = Retained::default();
        self.retain_unsettled(&mut retained).await?;
        let (now, settings) = (self.now(), self.settings());
        let queues = [
            (RetentionQueue::Ended, settings.archive_after_ms),
            (RetentionQueue::Deleted, settings.undelete_window_ms),
            (RetentionQueue::Archived, settings.purge_after_ms),
        ];
        for (queue, after_ms) in queues {
            let by = i64::try_from(after_ms).unwrap_or(i64::MAX);
            // What would have come before time began is not due.
            if let Some(by) = now.as_ms().checked_sub(by).filter(|by| *by >= 0) {
                self.retain_queue(queue, Timestamp::from_ms(by), &mut retained).await?;
            }
        }
        Ok(retained)
    }

    /// Does so for as long as it is polled, about so often: never twice at the same distance, so that several do not keep step.
    pub async fn retain_on(&self, every: Duration) {
        loop {
            let jitter = self.random::<1>().map_or(0, |[byte]| u64::from(byte));
            // Between three quarters and five quarters of it.
            tokio::time::sleep(every.mul_f64(0.75 + jitter as f64 / 512.0)).await;
            match self.retain().await {
                Ok(retained) if retained == Retained::default() => {}
                Ok(Retained { archived, purged, failed }) => {
                    tracing::info!(archived = archived.len(), purged = purged.len(), failed, "retention");
                }
                Err(error) => tracing::warn!(%error, chain = error.chain(), "a pass of retention broke off"),
            }
        }
    }

    async fn retain_queue(
        &self,
        queue: RetentionQueue,
        by: Timestamp,
        retained: &mut Retained,
    ) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let due = RetentionDue { queue, by, after, limit: BATCH };
            let batch = self.store().retention_due(due).await?;
            for session in &batch {
                let done = match queue {
                    RetentionQueue::Ended | RetentionQueue::Deleted => self.archive(session, queue).await,
                    RetentionQueue::Archived => self.purge(session).await,
                };
                match (done, queue) {
                    (Ok(false), _) => {}
                    (Ok(true), RetentionQueue::Archived) => retained.purged.push(session.id.clone()),
                    (Ok(true), RetentionQueue::Ended | RetentionQueue::Deleted) => {
                        retained.archived.push(session.id.clone());
                    }
                    (Err(error), _) => {
                        // One session's trouble does not keep the others.
                        tracing::warn!(session = %session.id, %error, chain = error.chain(), "a session was not archived or purged");
                        retained.failed += 1;
                    }
                }
            }
            match batch.last() {
                Some(last) if batch.len() == BATCH as usize => after = Some((instant(last, queue), last.id.clone())),
                _ => return Ok(()),
            }
        }
    }

    /// Archives a session. Whether it was done: it may have been deleted or brought back meanwhile.
    async fn archive(&self, session: &Session, queue: RetentionQueue) -> Result<bool, EngineError> {
        let place = self.output_place(&session.id);
        let output = blocking(move || place.pack().map_err(|error| unwritten(&error))).await?;
        let content = self.store().retention_content(&session.id).await?;
        let content = content.ok_or_else(|| EngineError::Internal(format!("{} has no content", session.id)))?;
        let content =
            blocking(move || content.pack().map_err(|error| EngineError::Internal(error.to_string()))).await?;
        let metadata = json!({ "execs": content.execs, "content": shown(content.digest), "output": output.map(shown) });
        let at = self.now();
        let why = if queue == RetentionQueue::Deleted { "deleted" } else { "ended" };
        let entry = entry(session, "archive", why, at, metadata);
        let (id, deleted_at) = (session.id.clone(), session.deleted_at);
        let change = RetentionArchive { id, at, deleted_at, content, output, entry };
        match self.store().retention_archive(change).await? {
            Changed::Done(session) => {
                self.meters().sessions_archived.inc();
                self.retain_settle(&session.id, false).await?;
                Ok(true)
            }
            Changed::Refused(now) => {
                // What was packed for nothing is packed again when its time has come.
                if now.archived_at.is_none() {
                    let place = self.output_place(&now.id);
                    blocking(move || place.remove_archive().map_err(|error| unwritten(&error))).await?;
                }
                Ok(false)
            }
            Changed::Missing => Err(EngineError::Internal(format!("{} vanished", session.id))),
        }
    }

    /// Purges an archived session. Whether it was done.
    async fn purge(&self, session: &Session) -> Result<bool, EngineError> {
        let record = self.store().retention_record(&session.id).await?;
        let record = record.ok_or_else(|| EngineError::Internal(format!("{} has no archive", session.id)))?;
        let metadata = json!({ "content": shown(record.content), "output": record.output.map(shown) });
        let at = self.now();
        let entry = entry(session, "purge", "archived", at, metadata);
        let change = RetentionPurge { id: session.id.clone(), at, entry };
        match self.store().retention_purge(change).await? {
            Changed::Done(session) => {
                self.meters().sessions_purged.inc();
                self.retain_settle(&session.id, true).await?;
                Ok(true)
            }
            Changed::Refused(_) => Ok(false),
            Changed::Missing => Err(EngineError::Internal(format!("{} vanished", session.id))),
        }
    }

    /// Finishes what a crash broke off after the store had said what is to be.
    async fn retain_unsettled(&self, retained: &mut Retained) -> Result<(), EngineError> {
        loop {
            let found: Vec<ArchiveRecord> = self.store().retention_unsettled(BATCH).await?;
            let mut failed = 0;
            for record in &found {
                if let Err(error) = self.retain_settle(&record.session_id, record.purged_at.is_some()).await {
                    tracing::warn!(session = %record.session_id, %error, chain = error.chain(), "files were not removed");
                    failed += 1;
                }
            }
            retained.failed += failed;
            // Those that failed would be found again.
            if failed > 0 || found.len() < BATCH as usize {
                return Ok(());
            }
        }
    }

    /// Removes the files that the store says are kept in the archive, and the archive where it says that it was purged.
    async fn retain_settle(&self, id: &SessionId, purged: bool) -> Result<(), EngineError> {
        let place = self.output_place(id);
        let removed = move || {
            place.remove_files()?;
            if purged { place.remove_archive() } else { Ok(()) }
        };
        blocking(move || removed().map_err(|error| unwritten(&error))).await?;
        Ok(self.store().retention_settled(id, purged).await?)
    }

    pub(crate) fn output_place(&self, id: &SessionId) -> OutputPlace {
        OutputPlace::new(&self.settings().output_dir, id)
    }

    /// An archived session with the words about it, which are in its archive; a purged one has none.
    pub(crate) async fn archived_words(&self, mut session: Session) -> Result<Session, EngineError> {
        if session.archived_at.is_some() && session.purged_at.is_none() {
            let content = self.store().retention_content(&session.id).await?;
            session.metadata = content.map(|content| content.metadata).unwrap_or_default();
        }
        Ok(session)
    }
}

/// The instant by which a session stands in a queue.
fn instant(session: &Session, queue: RetentionQueue) -> Timestamp {
    let ended_at = session.end.as_ref().map(|end| end.at);
    match queue {
        RetentionQueue::Ended | RetentionQueue::Archived => ended_at,
        RetentionQueue::Deleted => session.deleted_at,
    }
    .unwrap_or(session.created_at)
}

fn entry(session: &Session, action: &str, why: &str, at: Timestamp, metadata: Value) -> AuditDraft {
    AuditDraft {
        session_id: Some(session.id.clone()),
        at,
        old_state: Some(session.state),
        new_state: Some(session.state),
        trigger: Trigger::SystemTimeout,
        actor: "system".to_owned(),
        action: action.to_owned(),
        reason: Some(why.to_owned()),
        metadata,
    }
}

fn shown(digest: ContentDigest) -> Value {
    json!({ "sha256": digest.sha256.to_string(), "bytes": digest.bytes })
}

fn unwritten(error: &std::io::Error) -> EngineError {
    EngineError::Unavailable { what: "the output cannot be archived now", chain: error.to_string() }
}

/// Does what takes a while on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string())))
}
