//! Sessions in numbers: pages of them, those that are due, and those that a start has to look after.

use super::change::move_deadline;
use super::record::{COLUMNS, session};
use crate::cursor;
use crate::failure::Failure;
use crate::row;
use crate::writer::Writing;
use rusqlite::types::Value;
use rusqlite::{Connection, Params, params, params_from_iter};
use tenure_session::{Phase, Presence, Session, SessionId, State, Timestamp, deadline};
use tenure_store::{Page, PageRequest, SessionFilter};

/// A page, newest first.
pub(crate) fn list(sql: &Connection, filter: &SessionFilter, page: &PageRequest) -> Result<Page<Session>, Failure> {
    let mut wanted = Conditions::of(filter);
    if let Some(text) = &page.cursor {
        let (created_at, id) = cursor::pair(text)?;
        wanted.all("(created_at, id) < (?, ?)", [Value::from(created_at), Value::from(id)]);
    }
    wanted.values.push(Value::from(cursor::rows_wanted(page)));
    let query = format!(
        "SELECT {COLUMNS} FROM sessions WHERE {} ORDER BY created_at DESC, id DESC LIMIT ?",
        wanted.conditions.join(" AND ")
    );
    let found = sessions(sql, &query, params_from_iter(wanted.values))?;
    Ok(cursor::page(found, page, |last| format!("{}.{}", last.created_at.as_ms(), last.id)))
}

/// What a filter asks for, in SQL.
struct Conditions {
    conditions: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    fn of(filter: &SessionFilter) -> Conditions {
        let mut wanted = Conditions { conditions: vec!["TRUE"], values: Vec::new() };
        if !filter.include_deleted && filter.phase != Some(Phase::Deleted) {
            wanted.all("deleted_at IS NULL", []);
        }
        if !filter.include_deleted {
            wanted.all("archived_at IS NULL", []);
        }
        if let Some(owner) = &filter.owner {
            wanted.all("owner = ?", [owner.as_str().to_owned().into()]);
        }
        if let Some(state) = filter.state {
            wanted.all("state = ?", [state.as_str().to_owned().into()]);
        }
        if let Some(phase) = filter.phase {
            wanted.all(phase_condition(phase), []);
        }
        if let Some(template) = &filter.template {
            // `name@version`, or a name: everything up to the last `@` of what is stored.
            let name = Value::from(template.clone());
            wanted.all("? IN (template, rtrim(rtrim(template, '0123456789'), '@'))", [name]);
        }
        for (key, value) in &filter.metadata {
            let word = [key.clone().into(), value.clone().into()];
            wanted
                .all("EXISTS (SELECT 1 FROM json_each(metadata) AS word WHERE word.key = ? AND word.value = ?)", word);
        }
        wanted
    }

    fn all<const N: usize>(&mut self, condition: &'static str, values: [Value; N]) {
        self.conditions.push(condition);
        self.values.extend(values);
    }
}

fn phase_condition(phase: Phase) -> &'static str {
    match phase {
        Phase::Creating => "deleted_at IS NULL AND state IN ('created', 'initializing')",
        Phase::Active => "deleted_at IS NULL AND state IN ('ready', 'running')",
        Phase::Paused => "deleted_at IS NULL AND state = 'paused'",
        Phase::Stopped => "deleted_at IS NULL AND state IN ('terminated', 'failed')",
        Phase::Deleted => "deleted_at IS NOT NULL",
    }
}

/// Sessions that live, or whose environment is not known to be gone, by ID.
pub(crate) fn unfinished(sql: &Connection, after: Option<&SessionId>, limit: u32) -> Result<Vec<Session>, Failure> {
    let query = unfinished_query();
    sessions(sql, &query, params![after.map_or("", SessionId::as_str), limit])
}

/// The same words as the index has, so that it is used.
pub(crate) fn unfinished_query() -> String {
    let unfinished = "terminated_at IS NULL OR environment_state NOT IN ('none', 'gone')";
    format!("SELECT {COLUMNS} FROM sessions WHERE ({unfinished}) AND id > ?1 ORDER BY id LIMIT ?2")
}

/// Live sessions whose indexed deadline has come, earliest first, and among them those whose verdict may really have changed.
pub(crate) fn due(sql: &Connection, now: Timestamp, limit: u32) -> Result<(Vec<Session>, Vec<SessionId>), Failure> {
    let query = due_query();
    let found = sessions(sql, &query, params![now.as_ms(), limit])?;
    let really = |session: &Session| deadline(session, &Presence::default()).is_some_and(|at| at <= now);
    let (due, early): (Vec<_>, Vec<_>) = found.into_iter().partition(really);
    Ok((due, early.into_iter().map(|session| session.id).collect()))
}

pub(crate) fn due_query() -> String {
    format!("SELECT {COLUMNS} FROM sessions WHERE deadline_at <= ?1 ORDER BY deadline_at LIMIT ?2")
}

/// Moves deadlines that came too early to where they belong.
pub(crate) fn refresh(writing: &Writing<'_>, early: &[SessionId]) -> Result<(), Failure> {
    early.iter().try_for_each(|id| move_deadline(writing, id))
}

/// How many sessions are in each state, deleted and archived ones left out.
pub(crate) fn count(sql: &Connection) -> Result<Vec<(State, u64)>, Failure> {
    let mut query = sql.prepare_cached(
        "SELECT state, count(*) FROM sessions WHERE deleted_at IS NULL AND archived_at IS NULL GROUP BY state",
    )?;
    let mut rows = query.query([])?;
    let mut counts = State::ALL.map(|state| (state, 0));
    while let Some(row) = rows.next()? {
        let state: State = row::parsed(row, 0)?;
        let count = row.get(1)?;
        counts.iter_mut().filter(|(of, _)| *of == state).for_each(|entry| entry.1 = count);
    }
    Ok(counts.to_vec())
}

/// The sessions that a query finds.
pub(crate) fn sessions(sql: &Connection, query: &str, params: impl Params) -> Result<Vec<Session>, Failure> {
    let mut query = sql.prepare_cached(query)?;
    let mut rows = query.query(params)?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(session(row)?);
    }
    Ok(sessions)
}
