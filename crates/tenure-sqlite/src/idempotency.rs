//! Claimed keys and the answers that were given (LC-6).

use crate::failure::Failure;
use crate::row;
use crate::writer::Writing;
use rusqlite::{Connection, named_params, params};
use tenure_session::UserId;
use tenure_store::{IdempotencyClaim, IdempotencyRecord, StoredAnswer};

/// What a user's key was used for.
pub(crate) fn get(sql: &Connection, user: &UserId, key: &str) -> Result<Option<IdempotencyRecord>, Failure> {
    let mut query = sql.prepare_cached(
        "SELECT operation, digest, session_id, exec_id, claimed_at, status, body FROM idempotency_keys WHERE user = ?1 AND key = ?2",
    )?;
    let mut rows = query.query(params![user.as_str(), key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let claim = IdempotencyClaim {
        user: user.clone(),
        key: key.to_owned(),
        operation: row.get(0)?,
        digest: row.get(1)?,
        session_id: row::parsed(row, 2)?,
        exec_id: row::maybe_parsed(row, 3)?,
        at: row::at(row, 4)?,
    };
    let answer = match (row.get(5)?, row.get(6)?) {
        (Some(status), Some(body)) => Some(StoredAnswer { status, body }),
        (_, _) => None,
    };
    Ok(Some(IdempotencyRecord { claim, answer }))
}

/// The record of whoever claimed the key of this claim before.
pub(crate) fn claimed(
    sql: &Connection,
    claim: Option<&IdempotencyClaim>,
) -> Result<Option<IdempotencyRecord>, Failure> {
    claim.map_or(Ok(None), |claim| get(sql, &claim.user, &claim.key))
}

/// Claims the key. What the claim names is there already.
pub(crate) fn claim(writing: &Writing<'_>, claim: Option<&IdempotencyClaim>) -> Result<(), Failure> {
    let Some(claim) = claim else { return Ok(()) };
    let mut insert = writing.sql.prepare_cached(
        "INSERT INTO idempotency_keys (user, key, operation, digest, session_id, exec_id, claimed_at)
         VALUES (:user, :key, :operation, :digest, :session_id, :exec_id, :claimed_at)",
    )?;
    insert.execute(named_params! {
        ":user": claim.user.as_str(),
        ":key": claim.key,
        ":operation": claim.operation,
        ":digest": claim.digest,
        ":session_id": claim.session_id.as_str(),
        ":exec_id": claim.exec_id.as_ref().map(|id| id.as_str()),
        ":claimed_at": claim.at.as_ms(),
    })?;
    Ok(())
}

/// Keeps the answer, where none was kept yet.
pub(crate) fn answer(writing: &Writing<'_>, user: &UserId, key: &str, answer: &StoredAnswer) -> Result<(), Failure> {
    let mut update = writing.sql.prepare_cached(
        "UPDATE idempotency_keys SET status = ?3, body = ?4 WHERE user = ?1 AND key = ?2 AND status IS NULL",
    )?;
    update.execute(params![user.as_str(), key, answer.status, answer.body])?;
    Ok(())
}
