//! API keys, by digest only.

use crate::audit;
use crate::failure::Failure;
use crate::row;
use crate::writer::Writing;
use rusqlite::{Connection, Row, named_params, params};
use tenure_session::{KeyId, Timestamp};
use tenure_store::{AuditDraft, KeyRecord};

const COLUMNS: &str = "id, digest, role, user, label, created_at, expires_at, revoked_at";

/// Keeps a key.
pub(crate) fn create(writing: &Writing<'_>, key: &KeyRecord, entry: &AuditDraft) -> Result<(), Failure> {
    let mut insert = writing.sql.prepare_cached(
        "INSERT INTO keys (id, digest, role, user, label, created_at, expires_at, revoked_at)
         VALUES (:id, :digest, :role, :user, :label, :created_at, :expires_at, :revoked_at)",
    )?;
    insert.execute(named_params! {
        ":id": key.id.as_str(),
        ":digest": key.digest,
        ":role": row::to_word(&key.role)?,
        ":user": key.user.as_str(),
        ":label": key.label,
        ":created_at": key.created_at.as_ms(),
        ":expires_at": key.expires_at.map(Timestamp::as_ms),
        ":revoked_at": key.revoked_at.map(Timestamp::as_ms),
    })?;
    audit::append(writing, entry)
}

/// All keys, oldest first.
pub(crate) fn list(sql: &Connection) -> Result<Vec<KeyRecord>, Failure> {
    let mut query = sql.prepare_cached(&format!("SELECT {COLUMNS} FROM keys ORDER BY created_at, n"))?;
    let mut rows = query.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(key(row)?);
    }
    Ok(keys)
}

fn get(sql: &Connection, id: &KeyId) -> Result<Option<KeyRecord>, Failure> {
    let mut query = sql.prepare_cached(&format!("SELECT {COLUMNS} FROM keys WHERE id = ?1"))?;
    let mut rows = query.query(params![id.as_str()])?;
    rows.next()?.map(key).transpose()
}

fn key(row: &Row<'_>) -> Result<KeyRecord, Failure> {
    Ok(KeyRecord {
        id: row::parsed(row, 0)?,
        digest: row.get(1)?,
        role: row::word(row::text(row, 2)?)?,
        user: row::parsed(row, 3)?,
        label: row.get(4)?,
        created_at: row::at(row, 5)?,
        expires_at: row::maybe_at(row, 6)?,
        revoked_at: row::maybe_at(row, 7)?,
    })
}

/// Revokes a key that is not revoked. The key as it is then.
pub(crate) fn revoke(
    writing: &Writing<'_>,
    id: &KeyId,
    at: Timestamp,
    entry: &AuditDraft,
) -> Result<Option<KeyRecord>, Failure> {
    let mut update =
        writing.sql.prepare_cached("UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?;
    if update.execute(params![id.as_str(), at.as_ms()])? > 0 {
        audit::append(writing, entry)?;
    }
    get(writing.sql, id)
}

/// Gives a key that is not revoked another secret. The key as it is then.
pub(crate) fn rotate(
    writing: &Writing<'_>,
    id: &KeyId,
    digest: &str,
    entry: &AuditDraft,
) -> Result<Option<KeyRecord>, Failure> {
    let mut update = writing.sql.prepare_cached("UPDATE keys SET digest = ?2 WHERE id = ?1 AND revoked_at IS NULL")?;
    if update.execute(params![id.as_str(), digest])? == 0 {
        return Ok(None);
    }
    audit::append(writing, entry)?;
    get(writing.sql, id)
}
