//! What a sweep costs: a thousand sessions that are due, among few and among a million.

use std::path::Path;
use std::time::{Duration, Instant};

use super::fill;
use super::server::Server;
use crate::goal::verdict;
use crate::side_by_side::Effort;
use anyhow::{Context as _, ensure};
use bench::measure::{Samples, Table, ms};
use rusqlite::{Connection, params};

const DUE: usize = 1000;
const FEW: usize = 10_000;
const GOAL: f64 = 2.0;
const ROUNDS_MAX: usize = 5;
const PATIENCE: Duration = Duration::from_secs(300);
const BARE: &str = r#"{"environment":"none"}"#;
/// The one that is measured is asked for.
const SETTINGS: &[(&str, &str)] = &[("TENURE_SWEEPER_ENABLED", "false")];
/// As the store asks for what is due.
const QUERY: &str = "SELECT id FROM sessions WHERE deadline_at <= ?1 ORDER BY deadline_at LIMIT 500";

/// A server with so many sessions.
struct Crowd {
    server: Server,
    sql: Connection,
    sessions: usize,
    samples: Samples,
}

/// Both, in turns.
pub fn table(program: &Path, work: &Path, effort: Effort, many: usize) -> anyhow::Result<Table> {
    let mut crowds = [Crowd::start(program, work, FEW)?, Crowd::start(program, work, many)?];
    for round in 0..effort.blocks().clamp(3, ROUNDS_MAX) {
        for crowd in &mut crowds {
            let took = crowd.round(round)?;
            crowd.samples.push(took);
        }
    }
    let title = format!("Sweep: {DUE} sessions that are due, by `POST /v1/admin/sweep`");
    let mut table =
        Table::new(&title, &["sessions", "ms: median (slowest)", "rounds", "against the first", "goal ≤ 2 ×"]);
    let first = crowds[0].samples.median_ms().context("no rounds")?;
    for crowd in &crowds {
        let median = crowd.samples.median_ms().context("no rounds")?;
        let slowest = crowd.samples.quantile_ms(1.0).unwrap_or(median);
        let (ratio, times) = (median / first, format!("{} ({})", ms(median), ms(slowest)));
        let goal = if crowd.sessions == FEW { "" } else { verdict(ratio <= GOAL) };
        let rounds = crowd.samples.len().to_string();
        table.row([crowd.sessions.to_string(), times, rounds, format!("{ratio:.2}"), goal.to_owned()]);
    }
    table.note("Each is ended for its lifetime, with an entry in the audit, durable before the answer.");
    for crowd in &crowds {
        table.note(format!("Plan of the query for what is due, of {}: {}.", crowd.sessions, crowd.plan()?));
    }
    Ok(table)
}

impl Crowd {
    fn start(program: &Path, work: &Path, sessions: usize) -> anyhow::Result<Crowd> {
        let mut server = Server::of_rows(program, work, &format!("sweep-{sessions}"), SETTINGS)?;
        server.client()?.expect("POST", "/v1/sessions", Some(BARE), 201)?;
        let ids = fill::copies(&mut server, sessions)?;
        let sql = fill::open(&server.database())?;
        // They are looked at by ID after a start: when the last one answers, all have been.
        let last = ids.iter().max().context("no sessions")?;
        let (mut client, begun) = (server.client()?, Instant::now());
        while client.ask("GET", &format!("/v1/sessions/{last}"), None)? != 200 {
            ensure!(begun.elapsed() < PATIENCE, "the start does not end");
        }
        Ok(Crowd { server, sql, sessions, samples: Samples::default() })
    }

    /// Lets the time of a thousand pass, spread over all of them and others each time; then how long the sweep takes.
    fn round(&mut self, round: usize) -> anyhow::Result<Duration> {
        let due = self.sql.execute(
            "UPDATE sessions SET lifetime_ends_at = created_at + 1, deadline_at = created_at + 1 WHERE n % ?1 = ?2",
            params![self.sessions / DUE, round],
        )?;
        ensure!(due == DUE, "{due} sessions are due");
        let mut client = self.server.client()?;
        let begun = Instant::now();
        let swept = client.expect("POST", "/v1/admin/sweep", None, 200)?;
        let took = begun.elapsed();
        ensure!(swept["sessions_cleaned"] == DUE, "{} were ended", swept["sessions_cleaned"]);
        Ok(took)
    }

    fn plan(&self) -> anyhow::Result<String> {
        let mut query = self.sql.prepare(&format!("EXPLAIN QUERY PLAN {QUERY}"))?;
        let steps = query.query_map(params![0], |row| row.get::<_, String>("detail"))?;
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        ensure!(steps.iter().all(|step| !step.starts_with("SCAN")), "it looks at every row: {steps:?}");
        Ok(steps.join("; "))
    }
}
