//! Templates and their versions, which are kept as long as a session may name them.

use crate::audit;
use crate::failure::Failure;
use crate::row;
use crate::writer::Writing;
use rusqlite::{Connection, params};
use tenure_session::Timestamp;
use tenure_store::{AuditDraft, TemplateRecord};

/// Keeps a template as the next version of its name; the number of a removed version is not used again.
pub(crate) fn put(
    writing: &Writing<'_>,
    template: &TemplateRecord,
    entry: &AuditDraft,
) -> Result<TemplateRecord, Failure> {
    let mut next = writing.sql.prepare_cached("SELECT coalesce(max(version), 0) + 1 FROM templates WHERE name = ?1")?;
    let version = next.query_row(params![template.name], |row| row.get(0))?;
    let template = TemplateRecord { version, ..template.clone() };
    let mut insert = writing
        .sql
        .prepare_cached("INSERT INTO templates (name, version, record, created_at) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![template.name, version, row::to_json(&template)?, template.created_at.as_ms()])?;
    audit::append(writing, entry)?;
    Ok(template)
}

/// This version, or the newest that was not removed.
pub(crate) fn get(sql: &Connection, name: &str, version: Option<u32>) -> Result<Option<TemplateRecord>, Failure> {
    let mut query = sql.prepare_cached(
        "SELECT record FROM templates WHERE name = ?1 AND CASE WHEN ?2 IS NULL THEN removed_at IS NULL ELSE version = ?2 END
         ORDER BY version DESC LIMIT 1",
    )?;
    let mut rows = query.query(params![name, version])?;
    rows.next()?.map(|row| row::json(row, 0)).transpose()
}

/// Those that were not removed, by name, then version.
pub(crate) fn list(sql: &Connection) -> Result<Vec<TemplateRecord>, Failure> {
    let mut query =
        sql.prepare_cached("SELECT record FROM templates WHERE removed_at IS NULL ORDER BY name, version")?;
    let mut rows = query.query([])?;
    let mut templates = Vec::new();
    while let Some(row) = rows.next()? {
        templates.push(row::json(row, 0)?);
    }
    Ok(templates)
}

/// Removes a version, or all. How many there were.
pub(crate) fn remove(
    writing: &Writing<'_>,
    name: &str,
    version: Option<u32>,
    at: Timestamp,
    entry: &AuditDraft,
) -> Result<u32, Failure> {
    let mut update = writing.sql.prepare_cached(
        "UPDATE templates SET removed_at = ?3 WHERE name = ?1 AND (?2 IS NULL OR version = ?2) AND removed_at IS NULL",
    )?;
    let removed = update.execute(params![name, version, at.as_ms()])?;
    if removed > 0 {
        audit::append(writing, entry)?;
    }
    u32::try_from(removed).map_err(Failure::impossible)
}
