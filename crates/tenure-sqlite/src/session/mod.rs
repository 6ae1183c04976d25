//! Sessions: how they are made, read, changed and listed.

mod change;
mod create;
mod lease;
mod list;
mod record;

pub(crate) use change::{
    attach, delete, end, environment, extend, move_to, remake, start_running, undelete, was_worked_in,
};
pub(crate) use create::create;
pub(crate) use lease::{release, renew, shift, take};
pub(crate) use list::{count, due, list, refresh, sessions, unfinished};
#[cfg(test)]
pub(crate) use list::{due_query, unfinished_query};
pub(crate) use record::{COLUMNS, begin_work, get};

use crate::failure::Failure;
use rusqlite::{Connection, params};
use serde_json::Value;
use tenure_session::SessionId;

/// The state document, from its table or from the session's archive.
pub(crate) fn document(sql: &Connection, id: &SessionId) -> Result<Option<Value>, Failure> {
    let mut query = sql.prepare_cached("SELECT document FROM session_documents WHERE session_id = ?1")?;
    let mut rows = query.query(params![id.as_str()])?;
    match rows.next()? {
        Some(row) => Ok(Some(crate::row::json(row, 0)?)),
        None => Ok(crate::retention::archived(sql, id)?.and_then(|content| content.document)),
    }
}
