//! A session's row: from its columns to the record, and what of the record a change writes back.

use crate::failure::Failure;
use crate::row::{at, json, maybe_at, maybe_json, maybe_parsed, maybe_text, parsed, text, to_json, word};
use crate::writer::Writing;
use rusqlite::{Connection, Row, ToSql, named_params, params};
use tenure_session::{
    End, Lease, LeaseToken, Presence, Session, SessionEnvironment, SessionId, State, Timestamp, deadline,
};

/// What [`session`] reads, in its order.
pub(crate) const COLUMNS: &str = "id, owner, template, state, resumes_to, created_at, updated_at, limits, enforced, lifetime_ends_at, \
     last_activity_at, last_activity, lease_token, lease_ttl_ms, lease_interval_ms, lease_expires_at, lease_heartbeat_at, terminated_at, \
     termination_reason, termination_detail, failure, deleted_at, environment_id, environment_generation, environment_driver, \
     environment_state, metadata, variables, lease_token_last, archived_at, purged_at";

/// Reads a session, deleted or not.
pub(crate) fn get(sql: &Connection, id: &SessionId) -> Result<Option<Session>, Failure> {
    let query = const_format_select();
    let mut query = sql.prepare_cached(query)?;
    let mut rows = query.query(params![id.as_str()])?;
    rows.next()?.map(session).transpose()
}

/// The text is made once: it is the key under which the statement is found again.
fn const_format_select() -> &'static str {
    static QUERY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    QUERY.get_or_init(|| format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"))
}

/// The record that a row stands for.
pub(super) fn session(row: &Row<'_>) -> Result<Session, Failure> {
    Ok(Session {
        id: parsed(row, 0)?,
        owner: parsed(row, 1)?,
        template: row.get(2)?,
        state: parsed(row, 3)?,
        resumes_to: maybe_parsed(row, 4)?,
        created_at: at(row, 5)?,
        updated_at: at(row, 6)?,
        limits: json(row, 7)?,
        enforced: json(row, 8)?,
        lifetime_ends_at: at(row, 9)?,
        last_activity_at: at(row, 10)?,
        last_activity: row.get(11)?,
        lease: lease(row)?,
        lease_token_last: LeaseToken(row.get(28)?),
        end: end(row)?,
        deleted_at: maybe_at(row, 21)?,
        archived_at: maybe_at(row, 29)?,
        purged_at: maybe_at(row, 30)?,
        environment: environment(row)?,
        metadata: json(row, 26)?,
        variables: json(row, 27)?,
    })
}

fn lease(row: &Row<'_>) -> Result<Option<Lease>, Failure> {
    let Some(token) = row.get(12)? else { return Ok(None) };
    Ok(Some(Lease {
        token: LeaseToken(token),
        ttl_ms: row.get(13)?,
        heartbeat_interval_ms: row.get(14)?,
        expires_at: at(row, 15)?,
        last_heartbeat_at: maybe_at(row, 16)?,
    }))
}

fn end(row: &Row<'_>) -> Result<Option<End>, Failure> {
    let Some(at) = maybe_at(row, 17)? else { return Ok(None) };
    let reason = parsed(row, 18)?;
    Ok(Some(End { at, reason, detail: row.get(19)?, failure: maybe_json(row, 20)? }))
}

fn environment(row: &Row<'_>) -> Result<Option<SessionEnvironment>, Failure> {
    let Some(id) = maybe_text(row, 22)? else { return Ok(None) };
    Ok(Some(SessionEnvironment {
        id: id.parse().map_err(Failure::impossible)?,
        generation: row.get(23)?,
        driver: row.get(24)?,
        state: word(text(row, 25)?)?,
    }))
}

/// The instant that the sweeper looks for: what the law says of the record alone. What goes on in the session can only make it later.
pub(super) fn deadline_ms(session: &Session) -> Option<i64> {
    deadline(session, &Presence::default()).map(Timestamp::as_ms)
}

/// The columns that change, with their names. Where a session comes from, its limits and its words never do.
pub(super) fn with_mutable<T>(
    session: &Session,
    write: impl FnOnce(&[(&str, &dyn ToSql)]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let lease = session.lease.as_ref();
    let end = session.end.as_ref();
    let environment = session.environment.as_ref();
    let failure = end.and_then(|end| end.failure.as_ref()).map(to_json).transpose()?;
    write(named_params! {
        ":id": session.id.as_str(),
        ":state": session.state.as_str(),
        ":resumes_to": session.resumes_to.map(State::as_str),
        ":updated_at": session.updated_at.as_ms(),
        ":enforced": to_json(&session.enforced)?,
        ":lifetime_ends_at": session.lifetime_ends_at.as_ms(),
        ":last_activity_at": session.last_activity_at.as_ms(),
        ":last_activity": session.last_activity,
        ":lease_token": lease.map(|lease| lease.token.0),
        ":lease_ttl_ms": lease.map(|lease| lease.ttl_ms),
        ":lease_interval_ms": lease.map(|lease| lease.heartbeat_interval_ms),
        ":lease_expires_at": lease.map(|lease| lease.expires_at.as_ms()),
        ":lease_heartbeat_at": lease.and_then(|lease| lease.last_heartbeat_at).map(Timestamp::as_ms),
        ":lease_token_last": session.lease_token_last.0,
        ":terminated_at": end.map(|end| end.at.as_ms()),
        ":termination_reason": end.map(|end| end.reason.as_str()),
        ":termination_detail": end.and_then(|end| end.detail.as_deref()),
        ":failure": failure,
        ":deleted_at": session.deleted_at.map(Timestamp::as_ms),
        ":environment_id": environment.map(|environment| environment.id.as_str()),
        ":environment_generation": environment.map(|environment| environment.generation),
        ":environment_driver": environment.map(|environment| environment.driver.as_str()),
        ":environment_state": environment.map(|environment| environment.state.as_str()),
        ":deadline_at": deadline_ms(session),
    })
}

/// Writes a session as it was changed, if what the change was decided on still stands: the update itself looks at the state, the end, the lifetime,
/// the activity, the lease and the deletion. Whether it did.
pub(super) fn save(writing: &Writing<'_>, before: &Session, session: &Session) -> Result<bool, Failure> {
    let mut update = writing.sql.prepare_cached(
        "UPDATE sessions SET state = :state, resumes_to = :resumes_to, updated_at = :updated_at, enforced = :enforced,
           lifetime_ends_at = :lifetime_ends_at, last_activity_at = :last_activity_at, last_activity = :last_activity,
           lease_token = :lease_token, lease_token_last = :lease_token_last, lease_ttl_ms = :lease_ttl_ms, lease_interval_ms = :lease_interval_ms,
           lease_expires_at = :lease_expires_at, lease_heartbeat_at = :lease_heartbeat_at, terminated_at = :terminated_at,
           termination_reason = :termination_reason, termination_detail = :termination_detail, failure = :failure,
           deleted_at = :deleted_at, environment_id = :environment_id, environment_generation = :environment_generation,
           environment_driver = :environment_driver, environment_state = :environment_state, deadline_at = :deadline_at
         WHERE id = :id AND state = :was_state AND lifetime_ends_at = :was_lifetime AND last_activity_at = :was_active
           AND lease_expires_at IS :was_lease AND lease_token_last = :was_token_last AND terminated_at IS :was_ended AND deleted_at IS :was_deleted
           AND environment_generation IS :was_generation",
    )?;
    let guard: &[(&str, &dyn ToSql)] = named_params! {
        ":was_state": before.state.as_str(),
        ":was_lifetime": before.lifetime_ends_at.as_ms(),
        ":was_active": before.last_activity_at.as_ms(),
        ":was_lease": before.lease.map(|lease| lease.expires_at.as_ms()),
        ":was_token_last": before.lease_token_last.0,
        ":was_ended": before.end.as_ref().map(|end| end.at.as_ms()),
        ":was_deleted": before.deleted_at.map(Timestamp::as_ms),
        ":was_generation": before.environment.as_ref().map(|environment| environment.generation),
    };
    Ok(with_mutable(session, |values| Ok(update.execute([values, guard].concat().as_slice())?))? == 1)
}

/// Lets the idle clock begin anew, unless it was already later.
pub(crate) fn begin_work(session: &mut Session, at: Timestamp, kind: &str) {
    if at >= session.last_activity_at {
        session.last_activity_at = at;
        kind.clone_into(&mut session.last_activity);
    }
}
