//! Retention: what a session leaves behind goes into its archive, one way, and later from there (TR-6).
//!
//! Each change is one transaction. The schema lets a session's rows go only once it is archived, and lets it be archived only by its archive's row.

use crate::audit;
use crate::exec;
use crate::failure::Failure;
use crate::preview;
use crate::row;
use crate::session::{self, sessions};
use crate::writer::Writing;
use rusqlite::{Connection, Row, named_params, params};
use tenure_session::{EnvironmentState, Session, SessionId};
use tenure_store::{
    ArchiveContent, ArchiveRecord, Changed, ContentDigest, RetentionArchive, RetentionDue, RetentionPurge,
    RetentionQueue,
};

const COLUMNS: &str =
    "session_id, archived_at, purged_at, execs, content_digest, content_bytes, output_digest, output_bytes";

/// Sessions whose time in a queue has come, earliest first.
pub(crate) fn due(sql: &Connection, due: &RetentionDue) -> Result<Vec<Session>, Failure> {
    let (after, id) = due.after.as_ref().map_or((i64::MIN, ""), |(at, id)| (at.as_ms(), id.as_str()));
    sessions(sql, &due_query(due.queue), params![due.by.as_ms(), after, id, due.limit])
}

/// The same words as the indexes have, so that they are used.
pub(crate) fn due_query(queue: RetentionQueue) -> String {
    let nothing_left = "coalesce(environment_state, 'none') IN ('none', 'gone')";
    let (at, condition) = match queue {
        RetentionQueue::Ended => (
            "terminated_at",
            format!("archived_at IS NULL AND deleted_at IS NULL AND terminated_at IS NOT NULL AND {nothing_left}"),
        ),
        RetentionQueue::Deleted => {
            ("deleted_at", format!("archived_at IS NULL AND deleted_at IS NOT NULL AND {nothing_left}"))
        }
        RetentionQueue::Archived => ("terminated_at", "archived_at IS NOT NULL AND purged_at IS NULL".to_owned()),
    };
    let columns = session::COLUMNS;
    format!(
        "SELECT {columns} FROM sessions WHERE {condition} AND {at} <= ?1 AND ({at}, id) > (?2, ?3) ORDER BY {at}, id LIMIT ?4"
    )
}

/// The archive of a session, without its content.
pub(crate) fn record(sql: &Connection, id: &SessionId) -> Result<Option<ArchiveRecord>, Failure> {
    let mut query = sql.prepare_cached(&format!("SELECT {COLUMNS} FROM archives WHERE session_id = ?1"))?;
    let mut rows = query.query(params![id.as_str()])?;
    rows.next()?.map(archive).transpose()
}

/// Archives whose files may not agree with them.
pub(crate) fn unsettled(sql: &Connection, limit: u32) -> Result<Vec<ArchiveRecord>, Failure> {
    let mut query = sql.prepare_cached(&unsettled_query())?;
    let mut rows = query.query(params![limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(archive(row)?);
    }
    Ok(found)
}

pub(crate) fn unsettled_query() -> String {
    format!("SELECT {COLUMNS} FROM archives WHERE settled = 0 ORDER BY session_id LIMIT ?1")
}

fn archive(row: &Row<'_>) -> Result<ArchiveRecord, Failure> {
    let output = match row::maybe_parsed(row, 6)? {
        Some(sha256) => Some(ContentDigest { sha256, bytes: row.get(7)? }),
        None => None,
    };
    Ok(ArchiveRecord {
        session_id: row::parsed(row, 0)?,
        archived_at: row::at(row, 1)?,
        purged_at: row::maybe_at(row, 2)?,
        execs: row.get(3)?,
        content: ContentDigest { sha256: row::parsed(row, 4)?, bytes: row.get(5)? },
        output,
    })
}

/// What goes into a session's archive, or went into it.
pub(crate) fn content(sql: &Connection, id: &SessionId) -> Result<Option<ArchiveContent>, Failure> {
    let Some(session) = session::get(sql, id)? else { return Ok(None) };
    if session.archived_at.is_some() {
        return archived(sql, id);
    }
    Ok(Some(ArchiveContent {
        metadata: session.metadata,
        document: session::document(sql, id)?,
        previews: preview::list(sql, id)?,
        execs: exec::all(sql, id)?,
    }))
}

/// What is in a session's archive; `None` where it has none, or it was purged.
pub(crate) fn archived(sql: &Connection, id: &SessionId) -> Result<Option<ArchiveContent>, Failure> {
    let mut query =
        sql.prepare_cached("SELECT content, content_digest, content_bytes FROM archives WHERE session_id = ?1")?;
    let mut rows = query.query(params![id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let Some(bytes) = row.get_ref(0)?.as_blob_or_null()? else { return Ok(None) };
    let digest = ContentDigest { sha256: row::parsed(row, 1)?, bytes: row.get(2)? };
    ArchiveContent::unpack(bytes, digest).map(Some).map_err(Failure::impossible)
}

/// Moves what a session leaves behind into its archive.
pub(crate) fn move_in(writing: &Writing<'_>, wanted: &RetentionArchive) -> Result<Changed, Failure> {
    let Some(session) = session::get(writing.sql, &wanted.id)? else { return Ok(Changed::Missing) };
    if !may_be_archived(writing.sql, &session, wanted)? {
        return Ok(Changed::Refused(session));
    }
    insert(writing.sql, wanted)?;
    let (id, at) = (wanted.id.as_str(), wanted.at.as_ms());
    let mut mark = writing.sql.prepare_cached(
        "UPDATE sessions SET archived_at = ?2, updated_at = ?2, metadata = '{}', variables = '{}' WHERE id = ?1 AND archived_at IS NULL",
    )?;
    mark.execute(params![id, at])?;
    for table in ["execs", "session_documents", "previews"] {
        writing.sql.prepare_cached(&format!("DELETE FROM {table} WHERE session_id = ?1"))?.execute(params![id])?;
    }
    audit::append(writing, &wanted.entry)?;
    changed(writing.sql, &wanted.id)
}

fn may_be_archived(sql: &Connection, session: &Session, wanted: &RetentionArchive) -> Result<bool, Failure> {
    let nothing_left = match session.environment_state() {
        EnvironmentState::None | EnvironmentState::Gone => true,
        EnvironmentState::Provisioning
        | EnvironmentState::Ready
        | EnvironmentState::Frozen
        | EnvironmentState::Recovering
        | EnvironmentState::Lost => false,
    };
    let mut count = sql
        .prepare_cached("SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL) FROM execs WHERE session_id = ?1")?;
    let (execs, unsettled): (u64, u64) =
        count.query_row(params![session.id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(session.end.is_some()
        && session.archived_at.is_none()
        && session.deleted_at == wanted.deleted_at
        && nothing_left
        && (execs, unsettled) == (wanted.content.execs, 0))
}

fn insert(sql: &Connection, wanted: &RetentionArchive) -> Result<(), Failure> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO archives (session_id, archived_at, execs, content, content_digest, content_bytes, output_digest, output_bytes, settled)
         VALUES (:id, :at, :execs, :content, :content_digest, :content_bytes, :output_digest, :output_bytes, 0)",
    )?;
    insert.execute(named_params! {
        ":id": wanted.id.as_str(),
        ":at": wanted.at.as_ms(),
        ":execs": wanted.content.execs,
        ":content": wanted.content.bytes,
        ":content_digest": wanted.content.digest.sha256.to_string(),
        ":content_bytes": wanted.content.digest.bytes,
        ":output_digest": wanted.output.map(|output| output.sha256.to_string()),
        ":output_bytes": wanted.output.map(|output| output.bytes),
    })?;
    Ok(())
}

/// The content of an archived session goes; reason, times and digests stay.
pub(crate) fn purge(writing: &Writing<'_>, wanted: &RetentionPurge) -> Result<Changed, Failure> {
    let Some(session) = session::get(writing.sql, &wanted.id)? else { return Ok(Changed::Missing) };
    if session.archived_at.is_none() || session.purged_at.is_some() {
        return Ok(Changed::Refused(session));
    }
    let (id, at) = (wanted.id.as_str(), wanted.at.as_ms());
    for mark in [
        "UPDATE archives SET content = NULL, purged_at = ?2, settled = 0 WHERE session_id = ?1",
        "UPDATE sessions SET purged_at = ?2, updated_at = ?2, termination_detail = NULL WHERE id = ?1",
    ] {
        writing.sql.prepare_cached(mark)?.execute(params![id, at])?;
    }
    for erase in [
        // The claim and the status stay: the key names its request for ever.
        "UPDATE idempotency_keys SET body = x'' WHERE session_id = ?1 AND status IS NOT NULL",
        // The chain covers the hash of the metadata, which stays. What retention itself wrote holds digests alone.
        "UPDATE audit SET metadata = NULL WHERE chain = ?1 AND metadata <> '{}' AND action NOT IN ('archive', 'purge')",
    ] {
        writing.sql.prepare_cached(erase)?.execute(params![id])?;
    }
    audit::append(writing, &wanted.entry)?;
    changed(writing.sql, &wanted.id)
}

/// The files agree with the archive as it is said to be.
pub(crate) fn settled(writing: &Writing<'_>, id: &SessionId, purged: bool) -> Result<(), Failure> {
    let mut update = writing
        .sql
        .prepare_cached("UPDATE archives SET settled = 1 WHERE session_id = ?1 AND (purged_at IS NOT NULL) = ?2")?;
    update.execute(params![id.as_str(), purged])?;
    Ok(())
}

fn changed(sql: &Connection, id: &SessionId) -> Result<Changed, Failure> {
    let session = session::get(sql, id)?.ok_or_else(|| Failure::impossible("a session vanished in its change"))?;
    Ok(Changed::Done(session))
}
