//! Registered ports.

use crate::audit;
use crate::failure::Failure;
use crate::row;
use crate::writer::Writing;
use rusqlite::{Connection, params};
use tenure_session::SessionId;
use tenure_store::{AuditDraft, PreviewRecord};

/// Registers a port, where it is not registered.
pub(crate) fn put(writing: &Writing<'_>, preview: &PreviewRecord, entry: &AuditDraft) -> Result<(), Failure> {
    let mut insert = writing.sql.prepare_cached(
        "INSERT INTO previews (session_id, port, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (session_id, port) DO NOTHING",
    )?;
    let added = insert.execute(params![preview.session_id.as_str(), preview.port, preview.created_at.as_ms()])?;
    if added > 0 { audit::append(writing, entry) } else { Ok(()) }
}

/// A session's ports, lowest first.
pub(crate) fn list(sql: &Connection, session_id: &SessionId) -> Result<Vec<PreviewRecord>, Failure> {
    let mut query = sql.prepare_cached("SELECT port, created_at FROM previews WHERE session_id = ?1 ORDER BY port")?;
    let mut rows = query.query(params![session_id.as_str()])?;
    let mut previews = Vec::new();
    while let Some(row) = rows.next()? {
        let created_at = row::at(row, 1)?;
        previews.push(PreviewRecord { session_id: session_id.clone(), port: row.get(0)?, created_at });
    }
    Ok(previews)
}

/// Removes a port. Whether it was registered.
pub(crate) fn remove(
    writing: &Writing<'_>,
    session_id: &SessionId,
    port: u16,
    entry: &AuditDraft,
) -> Result<bool, Failure> {
    let mut delete = writing.sql.prepare_cached("DELETE FROM previews WHERE session_id = ?1 AND port = ?2")?;
    let removed = delete.execute(params![session_id.as_str(), port])? > 0;
    if removed {
        audit::append(writing, entry)?;
    }
    Ok(removed)
}
