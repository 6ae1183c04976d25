//! Leases: what must hold is decided by the law inside the transaction, and stands in the update once more.
//!
//! A renewal is the one change that comes tens of thousands of times a second: a single guarded update of two columns that no index holds. The indexed
//! deadline is left where it is, too early, which is allowed; [`super::refresh`] moves it when it comes, so once per lease and TTL at most.

use super::change::change;
use super::record::{get, save};
use crate::audit;
use crate::failure::Failure;
use crate::row::parsed;
use crate::writer::Writing;
use rusqlite::{Connection, OptionalExtension, params};
use tenure_session::{
    DowntimeShift, Lease, LeaseRelease, LeaseTake, Session, SessionId, Timestamp, lease_release, lease_take,
    shift_downtime,
};
use tenure_store::{Changed, LeaseBeat, LeaseGivingUp, LeaseRenewed, LeaseTaking, SessionsShift};

/// The lease gets another holder, or its first.
pub(crate) fn take(writing: &Writing<'_>, wanted: &LeaseTaking) -> Result<Changed, Failure> {
    change(writing, &wanted.id, wanted.at, |session| {
        Ok(match lease_take(session, wanted.terms, wanted.takeover, wanted.at) {
            LeaseTake::Taken(lease) => {
                session.lease_token_last = lease.token;
                session.lease = Some(lease);
                Some(vec![wanted.entry.clone()])
            }
            LeaseTake::Held(_) | LeaseTake::Over => None,
        })
    })
}

/// The lease holds for one TTL from now. The law of it once more, in SQL: the token, the expiry, the interval, and that it never goes back.
///
/// Read first and updated by row number: to have the update return what it wrote costs more than both, as SQLite makes a table for that each time.
pub(crate) fn renew(writing: &Writing<'_>, beat: &LeaseBeat) -> Result<LeaseRenewed, Failure> {
    let (id, at) = (beat.id.as_str(), beat.at);
    let mut query = writing.sql.prepare_cached(
        "SELECT n, lease_ttl_ms, lease_interval_ms, lease_expires_at, lifetime_ends_at FROM sessions
         WHERE id = ?1 AND lease_token = ?2",
    )?;
    let held = query.query_row(params![id, beat.token.0], |row| {
        let (ttl_ms, old) = (row.get(1)?, Timestamp::from_ms(row.get(3)?));
        let expires_at = at.plus_ms(ttl_ms).min(Timestamp::from_ms(row.get(4)?)).max(old);
        let heartbeat_interval_ms = row.get(2)?;
        let lease = Lease { token: beat.token, ttl_ms, heartbeat_interval_ms, expires_at, last_heartbeat_at: Some(at) };
        Ok((row.get::<_, i64>(0)?, lease))
    });
    let Some((n, lease)) = held.optional()? else { return refused(writing.sql, &beat.id) };
    let mut update = writing.sql.prepare_cached(
        "UPDATE sessions SET lease_heartbeat_at = ?3, lease_expires_at = max(lease_expires_at, ?4)
         WHERE n = ?1 AND lease_token = ?2 AND lease_expires_at > ?3 AND terminated_at IS NULL
           AND (lease_heartbeat_at IS NULL OR ?3 - lease_heartbeat_at >= lease_interval_ms)",
    )?;
    match update.execute(params![n, beat.token.0, at.as_ms(), lease.expires_at.as_ms()])? {
        0 => refused(writing.sql, &beat.id),
        _ => Ok(LeaseRenewed::Renewed(lease)),
    }
}

fn refused(sql: &Connection, id: &SessionId) -> Result<LeaseRenewed, Failure> {
    Ok(get(sql, id)?.map_or(LeaseRenewed::Missing, |session| LeaseRenewed::Refused(Box::new(session))))
}

/// The session goes on without a lease.
pub(crate) fn release(writing: &Writing<'_>, wanted: &LeaseGivingUp) -> Result<Changed, Failure> {
    change(writing, &wanted.id, wanted.at, |session| {
        Ok(match lease_release(session, Some(wanted.token), wanted.at) {
            LeaseRelease::Released => {
                session.lease = None;
                Some(vec![wanted.entry.clone()])
            }
            LeaseRelease::NoLease | LeaseRelease::Stale | LeaseRelease::Over => None,
        })
    })
}

/// What ran out while nobody could help it goes on for one window more.
pub(crate) fn shift(writing: &Writing<'_>, wanted: &SessionsShift) -> Result<u64, Failure> {
    let mut moved = 0;
    for id in due_ids(writing.sql, wanted.until)? {
        let Some(session) = get(writing.sql, &id)? else { continue };
        if let Some(shift) = shift_downtime(&session, wanted.from, wanted.until) {
            shift_one(writing, wanted, &session, &shift)?;
            moved += 1;
        }
    }
    if moved > 0 {
        audit::append(writing, &wanted.entry_of_all(moved))?;
    }
    Ok(moved)
}

/// Names only: there may be many of them after a long time.
fn due_ids(sql: &Connection, now: Timestamp) -> Result<Vec<SessionId>, Failure> {
    let mut query = sql.prepare_cached("SELECT id FROM sessions WHERE deadline_at <= ?1")?;
    let mut rows = query.query(params![now.as_ms()])?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(parsed(row, 0)?);
    }
    Ok(ids)
}

fn shift_one(
    writing: &Writing<'_>,
    wanted: &SessionsShift,
    before: &Session,
    shift: &DowntimeShift,
) -> Result<(), Failure> {
    let mut session = Session { updated_at: wanted.entry.at, ..before.clone() };
    if let (Some(lease), Some(expires_at)) = (&mut session.lease, shift.lease_expires_at) {
        lease.expires_at = expires_at;
    }
    session.last_activity_at = shift.last_activity_at.unwrap_or(session.last_activity_at);
    if !save(writing, before, &session)? {
        return Err(Failure::impossible("a session changed inside the transaction that read it"));
    }
    audit::append(writing, &wanted.entry_of(before, shift))
}
