//! The ledger of programs that were run (EN-4).

use crate::cursor;
use crate::failure::Failure;
use crate::retention;
use crate::row;
use crate::session;
use crate::writer::Writing;
use crate::{audit, idempotency};
use rusqlite::{Connection, Params, Row, named_params, params};
use tenure_session::{ExecId, Session, SessionId, State, Timestamp};
use tenure_store::{AuditDraft, ExecIntended, ExecIntent, ExecLedgerState, ExecOutcome, ExecRecord, Page, PageRequest};

const COLUMNS: &str = "id, session_id, generation, cmd, cwd, user, tag, background, timeout_ms, state, created_at, started_at, outcome, n";

/// Puts an exec into the ledger; the session is worked in by it.
pub(crate) fn intend(writing: &Writing<'_>, intent: &ExecIntent) -> Result<ExecIntended, Failure> {
    let record = &intent.record;
    let Some(session) = session::get(writing.sql, &record.session_id)? else { return Ok(ExecIntended::Missing) };
    if let Some(claimed) = idempotency::claimed(writing.sql, intent.claim.as_ref())? {
        return Ok(ExecIntended::Claimed(claimed));
    }
    match session.state {
        State::Ready | State::Running => {}
        State::Created | State::Initializing | State::Paused | State::Terminated | State::Failed => {
            return Ok(ExecIntended::Refused(session));
        }
    }
    let session = work(writing, session, intent)?;
    insert(writing.sql, record)?;
    idempotency::claim(writing, intent.claim.as_ref())?;
    let state = Some(session.state);
    audit::append(writing, &AuditDraft { old_state: state, new_state: state, ..intent.entry.clone() })?;
    Ok(ExecIntended::Done(session))
}

/// The exec counts as activity, unless it is one that counts as none; the first one makes the session `running`.
fn work(writing: &Writing<'_>, session: Session, intent: &ExecIntent) -> Result<Session, Failure> {
    let Some(kind) = &intent.activity else { return Ok(session) };
    let at = intent.record.created_at;
    if session.state == State::Running {
        session::was_worked_in(writing, &session.id, at, kind)?;
        let mut session = session;
        session::begin_work(&mut session, at, kind);
        return Ok(session);
    }
    session::start_running(writing, session, at, kind, &intent.running_entry)
}

fn insert(sql: &Connection, record: &ExecRecord) -> Result<(), Failure> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO execs (id, session_id, generation, cmd, cwd, user, tag, background, timeout_ms, state, created_at, started_at)
         VALUES (:id, :session_id, :generation, :cmd, :cwd, :user, :tag, :background, :timeout_ms, 'intended', :created_at, NULL)",
    )?;
    insert.execute(named_params! {
        ":id": record.id.as_str(),
        ":session_id": record.session_id.as_str(),
        ":generation": record.generation,
        ":cmd": row::to_json(&record.cmd)?,
        ":cwd": record.cwd,
        ":user": record.user,
        ":tag": record.tag,
        ":background": record.background,
        ":timeout_ms": record.timeout_ms,
        ":created_at": record.created_at.as_ms(),
    })?;
    Ok(())
}

/// It runs, unless it has ended already.
pub(crate) fn started(writing: &Writing<'_>, id: &ExecId, at: Timestamp) -> Result<(), Failure> {
    let mut update = writing
        .sql
        .prepare_cached("UPDATE execs SET state = 'started', started_at = ?2 WHERE id = ?1 AND state = 'intended'")?;
    update.execute(params![id.as_str(), at.as_ms()])?;
    Ok(())
}

/// It ended. Whether this is the first that says so.
pub(crate) fn settle(
    writing: &Writing<'_>,
    id: &ExecId,
    outcome: &ExecOutcome,
    entry: Option<&AuditDraft>,
) -> Result<bool, Failure> {
    let mut update = writing.sql.prepare_cached(
        // A short program's start is not written on its own: it follows from its end.
        "UPDATE execs SET state = ?2, ended_at = ?3, outcome = ?4,
                started_at = CASE WHEN ?2 IN ('exited', 'killed') THEN coalesce(started_at, max(created_at, ?3 - ?5)) ELSE started_at END
         WHERE id = ?1 AND ended_at IS NULL",
    )?;
    let (ended_at, json) = (outcome.ended_at.as_ms(), row::to_json(outcome)?);
    let ran_ms = outcome.duration_ms.map(i64::try_from).transpose().unwrap_or(Some(i64::MAX));
    let first = update.execute(params![id.as_str(), row::to_word(&outcome.state)?, ended_at, json, ran_ms])? > 0;
    match entry {
        Some(entry) if first => audit::append(writing, entry)?,
        Some(_) | None => {}
    }
    Ok(first)
}

/// One exec of a session, from the ledger.
pub(crate) fn get(sql: &Connection, session_id: &SessionId, id: &ExecId) -> Result<Option<ExecRecord>, Failure> {
    let query = format!("SELECT {COLUMNS} FROM execs WHERE id = ?1 AND session_id = ?2");
    Ok(execs(sql, &query, params![id.as_str(), session_id.as_str()])?.pop().map(|(record, _)| record))
}

/// One exec of a session, from the session's archive.
pub(crate) fn get_archived(
    sql: &Connection,
    session_id: &SessionId,
    id: &ExecId,
) -> Result<Option<ExecRecord>, Failure> {
    let archived = retention::archived(sql, session_id)?.map_or(Vec::new(), |content| content.execs);
    Ok(archived.into_iter().find(|record| record.id == *id))
}

/// All of a session's execs that are in the ledger, oldest first.
pub(crate) fn all(sql: &Connection, session_id: &SessionId) -> Result<Vec<ExecRecord>, Failure> {
    let query = format!("SELECT {COLUMNS} FROM execs WHERE session_id = ?1 ORDER BY created_at, n");
    Ok(execs(sql, &query, params![session_id.as_str()])?.into_iter().map(|(record, _)| record).collect())
}

/// Those that are in the archive of their session after this place, each with its own: the ledger's numbers are not kept.
fn archived(sql: &Connection, session_id: &SessionId, after: (i64, i64)) -> Result<Vec<(ExecRecord, i64)>, Failure> {
    let archived = retention::archived(sql, session_id)?.map_or(Vec::new(), |content| content.execs);
    let placed = archived.into_iter().zip(1..).filter(|(record, n)| (record.created_at.as_ms(), *n) > after);
    Ok(placed.collect())
}

/// A page of a session's execs, oldest first, from the ledger or from the session's archive.
pub(crate) fn list(sql: &Connection, session_id: &SessionId, page: &PageRequest) -> Result<Page<ExecRecord>, Failure> {
    let (created_at, n) = match page.cursor.as_deref().map(cursor::pair).transpose()? {
        Some((created_at, n)) => (created_at, cursor::number(&n)?),
        None => (i64::MIN, 0),
    };
    let query = format!(
        "SELECT {COLUMNS} FROM execs WHERE session_id = ?1 AND (created_at, n) > (?2, ?3) ORDER BY created_at, n LIMIT ?4"
    );
    let mut found = execs(sql, &query, params![session_id.as_str(), created_at, n, cursor::rows_wanted(page)])?;
    if found.is_empty() {
        found = archived(sql, session_id, (created_at, n))?;
    }
    let found = cursor::page(found, page, |(last, n)| format!("{}.{n}", last.created_at.as_ms()));
    Ok(Page { items: found.items.into_iter().map(|(record, _)| record).collect(), next_cursor: found.next_cursor })
}

/// A session's execs that have no outcome.
pub(crate) fn unsettled(sql: &Connection, session_id: &SessionId) -> Result<Vec<ExecRecord>, Failure> {
    let query =
        format!("SELECT {COLUMNS} FROM execs WHERE session_id = ?1 AND ended_at IS NULL ORDER BY created_at, n");
    let found = execs(sql, &query, params![session_id.as_str()])?;
    Ok(found.into_iter().map(|(record, _)| record).collect())
}

/// Records, each with its place in the ledger.
fn execs(sql: &Connection, query: &str, params: impl Params) -> Result<Vec<(ExecRecord, i64)>, Failure> {
    let mut query = sql.prepare_cached(query)?;
    let mut rows = query.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((exec(row)?, row.get(13)?));
    }
    Ok(found)
}

fn exec(row: &Row<'_>) -> Result<ExecRecord, Failure> {
    let state: ExecLedgerState = row::word(row::text(row, 9)?)?;
    Ok(ExecRecord {
        id: row::parsed(row, 0)?,
        session_id: row::parsed(row, 1)?,
        generation: row.get(2)?,
        cmd: row::json(row, 3)?,
        cwd: row.get(4)?,
        user: row.get(5)?,
        tag: row.get(6)?,
        background: row.get(7)?,
        timeout_ms: row.get(8)?,
        state,
        created_at: row::at(row, 10)?,
        started_at: row::maybe_at(row, 11)?,
        outcome: row::maybe_json(row, 12)?,
    })
}
