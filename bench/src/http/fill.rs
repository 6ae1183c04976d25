//! Hundreds of thousands of sessions in a few seconds: one is made through the API, and its row is copied in the database while no server has it open.
//!
//! The copies have rows and documents, and no entries in the audit; nothing that is measured on them reads those.

use std::path::Path;
use std::time::Duration;

use super::server::Server;
use anyhow::{Context as _, ensure};
use rusqlite::{Connection, params};

/// Odd, so that its multiples modulo 2³² are all different, and in no order.
const SPREAD: u64 = 2_654_435_761;

/// Makes the server's one session `count` sessions, in the order of their rows. The server is stopped meanwhile, and listens again afterwards.
pub fn copies(server: &mut Server, count: usize) -> anyhow::Result<Vec<String>> {
    server.stop()?;
    let filled = fill(&server.database(), count);
    server.start_again()?;
    filled
}

fn fill(database: &Path, count: usize) -> anyhow::Result<Vec<String>> {
    let mut sql = open(database)?;
    // What is filled in counts for nothing if the machine stops here.
    sql.pragma_update(None, "synchronous", "OFF")?;
    sql.pragma_update(None, "cache_size", -524_288)?;
    let columns: String = sql.query_row(
        "SELECT group_concat(name, ', ') FROM pragma_table_info('sessions') WHERE name NOT IN ('n', 'id')",
        [],
        |row| row.get(0),
    )?;
    let transaction = sql.transaction()?;
    let first: String = transaction.query_row("SELECT id FROM sessions", [], |row| row.get(0))?;
    let others = (1_u64..).map(|number| format!("{}{:08x}", &first[..21], (number * SPREAD) as u32));
    let ids: Vec<String> = std::iter::once(first.clone()).chain(others.filter(|id| *id != first)).take(count).collect();
    {
        let copy = format!("INSERT INTO sessions (id, {columns}) SELECT ?2, {columns} FROM sessions WHERE id = ?1");
        let mut row = transaction.prepare(&copy)?;
        let mut document = transaction.prepare(
            "INSERT INTO session_documents (session_id, document) SELECT ?2, document FROM session_documents WHERE session_id = ?1",
        )?;
        for id in ids.iter().skip(1) {
            row.execute(params![first, id])?;
            document.execute(params![first, id])?;
        }
    }
    transaction.commit()?;
    // Emptied into the database, so that the first that is measured does not pay for it.
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let there: usize = sql.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0))?;
    ensure!(there == count, "{there} rows instead of {count}");
    Ok(ids)
}

/// A connection beside the server's own.
pub fn open(database: &Path) -> anyhow::Result<Connection> {
    let sql = Connection::open(database).with_context(|| format!("{}", database.display()))?;
    sql.busy_timeout(Duration::from_secs(30))?;
    Ok(sql)
}
