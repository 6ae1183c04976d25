//! Many sessions: fifty at once, and a thousand that idle.

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::server::Server;
use crate::goal::verdict;
use crate::side_by_side::Effort;
use anyhow::{Context as _, anyhow};
use bench::measure::{Samples, Table, ms};
use bench::memory;

const FIFTY: usize = 50;
const READY: usize = 16;
const GOAL_MS: f64 = 300.0;
const GOAL_KIB: f64 = 1024.0;
const MAKERS: usize = 4;
/// Memory of the machine that must be free per session before the first is made: twice the goal.
const FREE_KIB: u64 = 2048;
const SETTLE: Duration = Duration::from_secs(5);
const WATCHED: Duration = Duration::from_secs(10);

/// Fifty callers at the same moment: each makes a session and runs a program in it.
pub fn fifty(program: &Path, work: &Path, effort: Effort) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "50 sessions at once over HTTP: all made, each then answers its own exec",
        &["environments from", "in all, ms: median (slowest)", "rounds", "goal < 300 ms"],
    );
    for (name, ready) in [("scratch", 0), ("scratch and a pool of 16", READY)] {
        let server = Server::start(program, work, ready)?;
        let mut rounds = Samples::default();
        for _ in 0..effort.blocks().max(3) {
            rounds.push(round(&server)?);
            std::thread::sleep(Duration::from_secs(1));
        }
        let median = rounds.median_ms().context("no rounds")?;
        let slowest = rounds.quantile_ms(1.0).unwrap_or(median);
        let cell = format!("{} ({})", ms(median), ms(slowest));
        table.row([name, &cell, &rounds.len().to_string(), verdict(median < GOAL_MS)]);
    }
    Ok(table)
}

fn round(server: &Server) -> anyhow::Result<Duration> {
    let barrier = Barrier::new(FIFTY + 1);
    let mut clients = (0..FIFTY).map(|_| server.client()).collect::<anyhow::Result<Vec<_>>>()?;
    let (took, ids) = std::thread::scope(|scope| {
        let callers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    let id = client.create()?;
                    client.run_true(&id)?;
                    Ok::<String, anyhow::Error>(id)
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        let ids: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        (start.elapsed(), ids)
    });
    let client = clients.first_mut().context("no client")?;
    for id in ids {
        let id = id.map_err(|_| anyhow!("a caller panicked"))??;
        client.end(&id)?;
    }
    Ok(took)
}

/// So many sessions that nobody works in, or as many as the machine allows.
pub fn idle(program: &Path, work: &Path, wanted: usize) -> anyhow::Result<Table> {
    let free = memory::machine_free_kib()?;
    let count = usize::try_from(free / FREE_KIB)?.min(wanted);
    let server = Server::start(program, work, 0)?;
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS)
            .map(|maker| {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client()?;
                    (maker..count).step_by(MAKERS).try_for_each(|_| client.create().map(drop))
                })
            })
            .collect();
        makers.into_iter().try_for_each(|maker| maker.join().map_err(|_| anyhow!("a maker panicked"))?)
    })?;
    std::thread::sleep(SETTLE);
    let family = memory::family(i32::try_from(server.pid())?)?;
    let kib = family.iter().map(|pid| memory::pss_kib(&pid.to_string())).sum::<anyhow::Result<u64>>()?;
    let own = memory::pss_kib(&server.pid().to_string())?;
    let ticks = || family.iter().map(|pid| memory::ticks(&pid.to_string())).sum::<anyhow::Result<u64>>();
    let before = ticks()?;
    std::thread::sleep(WATCHED);
    let used = ticks()?.saturating_sub(before);
    let each = kib as f64 / count as f64;
    let mut table = Table::new(
        &format!("{count} idle sessions of a server"),
        &["memory (PSS)", "KiB each", "MiB in all", "goal ≤ 1 MiB each"],
    );
    let row = |kib: u64| (format!("{:.1}", kib as f64 / count as f64), format!("{:.1}", kib as f64 / 1024.0));
    let (own_each, own_all) = row(own);
    table.row(["the server's own process", &own_each, &own_all, ""]);
    let (all_each, all) = row(kib);
    table.row(["server, keeper and agents together", &all_each, &all, verdict(each <= GOAL_KIB)]);
    table.note(format!(
        "Processor time over {} s: {used} ticks of 10 ms each, of all {} processes together; goal, none measurable: {}.",
        WATCHED.as_secs(),
        family.len(),
        verdict(used <= 1),
    ));
    if count < wanted {
        table.note(format!("{count} instead of {wanted}: {free} KiB of memory were free."));
    }
    Ok(table)
}
