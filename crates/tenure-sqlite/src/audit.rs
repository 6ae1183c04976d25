//! The audit: entries are sealed inside the transaction that read the ends they follow.

use crate::cursor;
use crate::failure::Failure;
use crate::row;
use crate::writer::Writing;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use tenure_digest::Sha256Digest;
use tenure_store::audit::seal;
use tenure_store::{AuditDraft, AuditEntry, AuditFilter, Page, PageRequest, SignedHead};

const COLUMNS: &str = "position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash, prev_hash, \
                       line_hash";

/// The last number of a line or chain and its hash; zeros before the first.
type End = (u64, Sha256Digest);

/// Adds an entry at the end of its chain and of the line.
pub(crate) fn append(writing: &Writing<'_>, draft: &AuditDraft) -> Result<(), Failure> {
    let chain = draft.session_id.as_ref().map_or("", |id| id.as_str()).to_owned();
    let line = end(writing.sql, "SELECT position, line_hash FROM audit ORDER BY position DESC LIMIT 1", params![])?;
    let of_chain = "SELECT seq, hash FROM audit WHERE chain = ?1 ORDER BY seq DESC LIMIT 1";
    let before = end(writing.sql, of_chain, params![chain])?;
    let sealed = seal(draft.clone(), before.0 + 1, line.0 + 1, before.1, line.1);
    insert(writing.sql, &chain, &sealed.map_err(Failure::impossible)?)?;
    writing.audited.set(true);
    Ok(())
}

fn end(sql: &Connection, query: &str, params: impl rusqlite::Params) -> Result<End, Failure> {
    let mut query = sql.prepare_cached(query)?;
    let end: Option<(u64, String)> = query.query_row(params, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match end {
        None => Ok((0, Sha256Digest::default())),
        Some((number, hash)) => Ok((number, hash.parse().map_err(Failure::impossible)?)),
    }
}

fn insert(sql: &Connection, chain: &str, entry: &AuditEntry) -> Result<(), Failure> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO audit (position, chain, seq, at, old_state, new_state, trigger, actor, action, reason, metadata, metadata_hash, hash,
           prev_hash, line_hash)
         VALUES (:position, :chain, :seq, :at, :old_state, :new_state, :trigger, :actor, :action, :reason, :metadata, :metadata_hash, :hash,
           :prev_hash, :line_hash)",
    )?;
    insert.execute(named_params! {
        ":position": entry.position,
        ":chain": chain,
        ":seq": entry.seq,
        ":at": entry.at.as_ms(),
        ":old_state": entry.old_state.map(|state| state.as_str()),
        ":new_state": entry.new_state.map(|state| state.as_str()),
        ":trigger": entry.trigger.as_str(),
        ":actor": entry.actor,
        ":action": entry.action,
        ":reason": entry.reason,
        ":metadata": entry.metadata.as_ref().map(row::to_json).transpose()?,
        ":metadata_hash": entry.metadata_hash,
        ":hash": entry.hash,
        ":prev_hash": entry.prev_hash,
        ":line_hash": entry.line_hash,
    })?;
    Ok(())
}

/// A page of entries. In one session's chain the order of the line is the order of the chain, and the cursor counts there.
pub(crate) fn list(sql: &Connection, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditEntry>, Failure> {
    let after = page.cursor.as_deref().map(cursor::number).transpose()?.unwrap_or(0);
    let (place, chain) = match &filter.session_id {
        Some(id) => ("seq > :after AND chain = :chain", id.as_str()),
        None => ("position > :after AND :chain = ''", ""),
    };
    let order = if filter.session_id.is_some() { "seq" } else { "position" };
    let query = format!(
        "SELECT {COLUMNS} FROM audit
         WHERE {place} AND (:action IS NULL OR action = :action) AND (:actor IS NULL OR actor = :actor)
         ORDER BY {order} LIMIT :rows"
    );
    let mut query = sql.prepare_cached(&query)?;
    let mut rows = query.query(named_params! {
        ":after": after,
        ":chain": chain,
        ":action": filter.action,
        ":actor": filter.actor,
        ":rows": cursor::rows_wanted(page),
    })?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    let in_chain = filter.session_id.is_some();
    Ok(cursor::page(entries, page, |entry| if in_chain { entry.seq } else { entry.position }.to_string()))
}

fn entry(row: &Row<'_>) -> Result<AuditEntry, Failure> {
    let chain = row::text(row, 1)?;
    let session_id = if chain.is_empty() { None } else { Some(chain.parse().map_err(Failure::impossible)?) };
    Ok(AuditEntry {
        position: row.get(0)?,
        seq: row.get(2)?,
        session_id,
        at: row::at(row, 3)?,
        old_state: row::maybe_parsed(row, 4)?,
        new_state: row::maybe_parsed(row, 5)?,
        trigger: row::parsed(row, 6)?,
        actor: row.get(7)?,
        action: row.get(8)?,
        reason: row.get(9)?,
        metadata: row::maybe_json(row, 10)?,
        metadata_hash: row.get(11)?,
        hash: row.get(12)?,
        prev_hash: row.get(13)?,
        line_hash: row.get(14)?,
    })
}

/// Signed heads from this position on.
pub(crate) fn heads(sql: &Connection, from: u64, limit: u32) -> Result<Vec<SignedHead>, Failure> {
    let mut query = sql.prepare_cached(
        "SELECT position, line_hash, at, signature FROM audit_heads WHERE position >= ?1 ORDER BY position LIMIT ?2",
    )?;
    let mut rows = query.query(params![from, limit])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        heads.push(SignedHead {
            position: row.get(0)?,
            line_hash: row.get(1)?,
            at: row::at(row, 2)?,
            signature: row.get(3)?,
        });
    }
    Ok(heads)
}
