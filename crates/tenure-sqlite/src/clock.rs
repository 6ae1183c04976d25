//! The anchor of the line of time, and the probe of the disk.

use crate::failure::Failure;
use crate::row;
use crate::writer::Writing;
use rusqlite::{Connection, params};
use tenure_store::ClockAnchor;

/// The anchor.
pub(crate) fn get(sql: &Connection) -> Result<Option<ClockAnchor>, Failure> {
    let mut query = sql.prepare_cached("SELECT boot_id, boot_ms, at, seen_at FROM clock")?;
    let mut rows = query.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(ClockAnchor {
        boot_id: row.get(0)?,
        boot_ms: row.get(1)?,
        at: row::at(row, 2)?,
        seen_at: row::at(row, 3)?,
    }))
}

/// Replaces it.
pub(crate) fn put(writing: &Writing<'_>, anchor: &ClockAnchor) -> Result<(), Failure> {
    let mut put = writing.sql.prepare_cached(
        "INSERT INTO clock (one, boot_id, boot_ms, at, seen_at) VALUES (1, ?1, ?2, ?3, ?4)
         ON CONFLICT (one) DO UPDATE SET boot_id = ?1, boot_ms = ?2, at = ?3, seen_at = ?4",
    )?;
    put.execute(params![anchor.boot_id, anchor.boot_ms, anchor.at.as_ms(), anchor.seen_at.as_ms()])?;
    Ok(())
}

/// Writes something.
pub(crate) fn probe(writing: &Writing<'_>) -> Result<(), Failure> {
    let mut count = writing.sql.prepare_cached("UPDATE probe SET times = times + 1")?;
    count.execute([])?;
    Ok(())
}
