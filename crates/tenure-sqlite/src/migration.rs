//! Brings a database to the schema of this version, step by step (TR-7).

use crate::open::OpenError;
use rusqlite::Connection;

/// The steps, in their order: the one at index 0 makes version 1 out of nothing. A step that was released never changes.
const STEPS: &[&str] = &[
    include_str!("../migrations/0001.sql"),
    include_str!("../migrations/0002.sql"),
    include_str!("../migrations/0003.sql"),
];

/// What marks a file as ours: `Tenu`.
const APPLICATION_ID: u32 = 0x5465_6e75;

/// The newest version that is known here.
pub(crate) fn known() -> u32 {
    u32::try_from(STEPS.len()).expect("there are few steps")
}

/// Takes the steps that the database has not taken, in one transaction.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = known();
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    belongs_to_us(connection, found)?;
    if found == known {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in STEPS.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    tracing::info!(from = found, to = known, "the database was brought to the schema of this version");
    Ok(())
}

/// An empty file becomes ours; a file with somebody else's tables is left alone.
fn belongs_to_us(connection: &Connection, version: u32) -> Result<(), OpenError> {
    let id: u32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let empty = version == 0 && tables == 0;
    if empty || id == APPLICATION_ID { Ok(()) } else { Err(OpenError::NotOurs) }
}
