//! The guarded changes of a session. Each reads the row, decides, and writes it back under a guard that stands in the update itself.

use super::record::{begin_work, deadline_ms, get, save};
use crate::audit;
use crate::failure::Failure;
use crate::writer::Writing;
use rusqlite::params;
use tenure_session::{EnvironmentState, Session, SessionEnvironment, SessionId, State, Timestamp, transition};
use tenure_store::{
    AuditDraft, Changed, EndGuard, SessionAttach, SessionDelete, SessionEnd, SessionExtend, SessionMove, SessionRemake,
};

/// Reads, decides, writes, and says what became of it. `decide` says no by `None`; otherwise it hands back the entries of the change.
pub(super) fn change(
    writing: &Writing<'_>,
    id: &SessionId,
    at: Timestamp,
    decide: impl FnOnce(&mut Session) -> Result<Option<Vec<AuditDraft>>, Failure>,
) -> Result<Changed, Failure> {
    let Some(before) = get(writing.sql, id)? else { return Ok(Changed::Missing) };
    let mut session = before.clone();
    let Some(entries) = decide(&mut session)? else { return Ok(Changed::Refused(before)) };
    session.updated_at = at;
    if !save(writing, &before, &session)? {
        return Ok(Changed::Refused(before));
    }
    entries.iter().try_for_each(|entry| audit::append(writing, entry))?;
    Ok(Changed::Done(session))
}

/// From one live state to another.
pub(crate) fn move_to(writing: &Writing<'_>, wanted: &SessionMove) -> Result<Changed, Failure> {
    if !wanted.to.is_live() {
        return Err(Failure::impossible("a session is ended by its end, not by a move"));
    }
    change(writing, &wanted.id, wanted.at, |session| {
        if session.state != wanted.from || transition(wanted.from, wanted.to).is_err() {
            return Ok(None);
        }
        session.state = wanted.to;
        session.resumes_to = wanted.resumes_to.filter(|_| wanted.to == State::Paused);
        if let Some(environment) = &wanted.environment {
            session.environment = Some(environment.clone());
        }
        session.enforced = wanted.enforced.unwrap_or(session.enforced);
        if let Some(kind) = &wanted.activity {
            begin_work(session, wanted.at, kind);
        }
        Ok(Some(vec![wanted.entry.clone()]))
    })
}

/// The first work in a ready session makes it running (LC-8).
pub(crate) fn start_running(
    writing: &Writing<'_>,
    before: Session,
    at: Timestamp,
    kind: &str,
    entry: &AuditDraft,
) -> Result<Session, Failure> {
    let mut session = Session { state: State::Running, updated_at: at, ..before.clone() };
    begin_work(&mut session, at, kind);
    if !save(writing, &before, &session)? {
        return Err(Failure::impossible("a session changed inside the transaction that read it"));
    }
    audit::append(writing, entry)?;
    Ok(session)
}

/// The end, unless there is one already or the guard does not hold.
pub(crate) fn end(writing: &Writing<'_>, wanted: &SessionEnd) -> Result<Changed, Failure> {
    change(writing, &wanted.id, wanted.at, |session| {
        if session.end.is_some() || !holds(session, wanted.guard) {
            return Ok(None);
        }
        Ok(Some(vec![finish(session, &wanted.end, &wanted.entry)]))
    })
}

fn holds(session: &Session, guard: EndGuard) -> bool {
    match guard {
        EndGuard::Always => true,
        EndGuard::Lifetime(at) => session.lifetime_ends_at == at,
        EndGuard::Idle(at) => session.last_activity_at <= at,
        EndGuard::Lease(at) => session.lease.is_some_and(|lease| lease.expires_at == at),
    }
}

/// Ends a live session; the entry with the states as they are.
fn finish(session: &mut Session, end: &tenure_session::End, entry: &AuditDraft) -> AuditDraft {
    let old_state = session.state;
    session.state = end.reason.ends_in();
    session.resumes_to = None;
    session.end = Some(end.clone());
    AuditDraft { old_state: Some(old_state), new_state: Some(session.state), ..entry.clone() }
}

/// The deletion; a live session is ended first.
pub(crate) fn delete(writing: &Writing<'_>, wanted: &SessionDelete) -> Result<Changed, Failure> {
    change(writing, &wanted.id, wanted.at, |session| {
        if session.deleted_at.is_some() || session.archived_at.is_some() {
            return Ok(None);
        }
        let (end, entry) = &wanted.end;
        let ended = session.end.is_none().then(|| finish(session, end, entry));
        session.deleted_at = Some(wanted.at);
        let state = Some(session.state);
        let deleted = AuditDraft { old_state: state, new_state: state, ..wanted.entry.clone() };
        Ok(Some(ended.into_iter().chain([deleted]).collect()))
    })
}

/// The record comes back, still ended.
pub(crate) fn undelete(
    writing: &Writing<'_>,
    id: &SessionId,
    at: Timestamp,
    entry: &AuditDraft,
) -> Result<Changed, Failure> {
    change(writing, id, at, |session| {
        if session.archived_at.is_some() {
            return Ok(None);
        }
        Ok(session.deleted_at.take().map(|_| vec![entry.clone()]))
    })
}

/// More time, while it lives.
pub(crate) fn extend(writing: &Writing<'_>, wanted: &SessionExtend) -> Result<Changed, Failure> {
    change(writing, &wanted.id, wanted.at, |session| {
        if session.end.is_some() {
            return Ok(None);
        }
        session.lifetime_ends_at = session.lifetime_ends_at.plus_ms(wanted.by_ms);
        Ok(Some(vec![wanted.entry.clone()]))
    })
}

/// An environment for a live session that has none.
pub(crate) fn attach(writing: &Writing<'_>, wanted: &SessionAttach) -> Result<Changed, Failure> {
    change(writing, &wanted.id, wanted.at, |session| {
        if session.end.is_some() || session.environment.is_some() {
            return Ok(None);
        }
        session.environment = Some(wanted.environment.clone());
        session.enforced = wanted.enforced;
        Ok(Some(vec![wanted.entry.clone()]))
    })
}

/// The next life of its environment, or what became of this one.
pub(crate) fn remake(writing: &Writing<'_>, wanted: &SessionRemake) -> Result<Changed, Failure> {
    let SessionRemake { from, environment: new, .. } = wanted;
    if new.generation != *from && new.generation != from + 1 {
        return Err(Failure::impossible("a life of an environment follows the one before"));
    }
    change(writing, &wanted.id, wanted.at, |session| {
        let is_it = |stored: &&SessionEnvironment| stored.id == new.id && stored.generation == *from;
        if session.end.is_some() || session.environment.as_ref().filter(is_it).is_none() {
            return Ok(None);
        }
        session.environment = Some(new.clone());
        session.enforced = wanted.enforced.unwrap_or(session.enforced);
        Ok(Some(vec![wanted.entry.clone()]))
    })
}

/// What became of its environment, in this life of it.
pub(crate) fn environment(
    writing: &Writing<'_>,
    id: &SessionId,
    generation: u64,
    state: EnvironmentState,
    at: Timestamp,
    entry: Option<&AuditDraft>,
) -> Result<Changed, Failure> {
    change(writing, id, at, |session| {
        let environment = session.environment.as_mut().filter(|environment| environment.generation == generation);
        Ok(environment.map(|environment| {
            environment.state = state;
            entry.cloned().into_iter().collect()
        }))
    })
}

/// A live session was worked in. The indexed deadline is left where it is if it has become too early, which is allowed: most of these are followed by
/// another before it comes, and [`super::refresh`] moves it when it does.
pub(crate) fn was_worked_in(writing: &Writing<'_>, id: &SessionId, at: Timestamp, kind: &str) -> Result<(), Failure> {
    let mut update = writing.sql.prepare_cached(
        "UPDATE sessions SET last_activity_at = ?2, last_activity = ?3
         WHERE id = ?1 AND terminated_at IS NULL AND last_activity_at <= ?2",
    )?;
    update.execute(params![id.as_str(), at.as_ms(), kind])?;
    Ok(())
}

/// Moves the indexed deadline of a live session to where the law has it now.
pub(super) fn move_deadline(writing: &Writing<'_>, id: &SessionId) -> Result<(), Failure> {
    let Some(session) = get(writing.sql, id)? else { return Ok(()) };
    let mut update =
        writing.sql.prepare_cached("UPDATE sessions SET deadline_at = ?2 WHERE id = ?1 AND terminated_at IS NULL")?;
    update.execute(params![id.as_str(), deadline_ms(&session)])?;
    Ok(())
}
