//! Lease renewals: how many a second are on the disk before they are answered, beside etcd and PostgreSQL.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use super::fill;
use super::load::{self, Lane};
use super::server::Server;
use crate::goal::verdict;
use crate::side_by_side::Effort;
use anyhow::{Context as _, ensure};
use bench::measure::{Done, Samples, Table, middle};
use bench::peer::etcd::Etcd;
use bench::peer::postgres::Postgres;

const CONNECTIONS: usize = 64;
/// Few enough to stay in every cache; each still comes again much later than its interval.
const FEW: usize = 4096;
const WINDOW: Duration = Duration::from_secs(3);
const WINDOWS_MAX: usize = 5;
const GOAL: f64 = 40_000.0;
const GOAL_OF_PUTS: f64 = 2.0;
/// An hour, renewed every millisecond if anybody wants that: no heartbeat comes too early to be a renewal.
const LEASED: &str = r#"{"environment":"none","lease":{"ttl_ms":3600000,"heartbeat_interval_ms":1}}"#;
const KEEP_ALIVE: &str = "etcd, lease keep-alive";
const PUT: &str = "etcd, put";
const POSTGRES: &str = "PostgreSQL, update of one row";

/// One way to renew, and what was measured of it.
struct Way<'a> {
    name: String,
    durable: &'static str,
    window: Box<dyn FnMut() -> anyhow::Result<Done> + 'a>,
    rates: Vec<f64>,
    latencies: Samples,
}

impl<'a> Way<'a> {
    fn new(name: String, durable: &'static str, window: impl FnMut() -> anyhow::Result<Done> + 'a) -> Way<'a> {
        Way { name, durable, window: Box::new(window), rates: Vec::new(), latencies: Samples::default() }
    }
}

/// All ways, in turns.
pub fn tables(program: &Path, work: &Path, effort: Effort, sessions: usize) -> anyhow::Result<Vec<Table>> {
    let mut notes = Vec::new();
    let etcd = there("etcd", Etcd::start(work, CONNECTIONS, sessions), &mut notes);
    let postgres = there("PostgreSQL", Postgres::start(work, CONNECTIONS, sessions), &mut notes);
    let mut server = Server::of_rows(program, work, "renewals", &[])?;
    server.client()?.expect("POST", "/v1/sessions", Some(LEASED), 201)?;
    let ids = fill::copies(&mut server, sessions)?;
    let mut anywhere = lanes(&server, &shuffled(&ids))?;
    let (mut in_order, mut few) = (lanes(&server, &ids)?, lanes(&server, ids.get(..FEW).unwrap_or(&ids))?);
    let (before, asked) = (stored(&server)?, Cell::new(0));
    let count = |done: Done| {
        asked.set(asked.get() + done.count);
        Ok(done)
    };
    // The first heartbeat after a start goes the long way, through the gate.
    let first = count(load::drive_once_around(&mut anywhere)?)?;
    notes.push(format!("The first heartbeat of each session after a start, not counted above: {:.0}/s.", first.rate()));
    let mut ways = vec![
        Way::new(format!("Tenure, {sessions} sessions in any order"), "yes", || {
            count(load::drive(&mut anywhere, WINDOW)?)
        }),
        Way::new("Tenure, the same in the order of their making".into(), "yes", || {
            count(load::drive(&mut in_order, WINDOW)?)
        }),
        Way::new(format!("Tenure, {} of them", FEW.min(sessions)), "yes", || count(load::drive(&mut few, WINDOW)?)),
    ];
    if let Some(etcd) = &etcd {
        ways.push(Way::new(KEEP_ALIVE.into(), "no: kept in memory", || etcd.keep_alive(WINDOW)));
        ways.push(Way::new(PUT.into(), "yes", || etcd.put(WINDOW)));
    }
    if let Some(postgres) = &postgres {
        ways.push(Way::new(POSTGRES.into(), "yes", || postgres.update(WINDOW)));
    }
    for _ in 0..effort.blocks().min(WINDOWS_MAX) {
        for way in &mut ways {
            let done = (way.window)().with_context(|| way.name.clone())?;
            way.rates.push(done.rate());
            way.latencies.append(done.latencies);
        }
    }
    let measured: Vec<_> = ways.into_iter().map(|way| (way.name, way.durable, way.rates, way.latencies)).collect();
    let renewed = stored(&server)? - before;
    ensure!(renewed >= asked.get(), "{} heartbeats were answered, and {renewed} leases renewed", asked.get());
    let names = [etcd.as_ref().map(|etcd| &etcd.name), postgres.as_ref().map(|postgres| &postgres.name)];
    let names: Vec<_> = names.into_iter().flatten().map(String::as_str).collect();
    notes.push(format!("Peers: {}.", names.join(", ")));
    Ok(vec![figures(&measured, notes), goals(&measured)])
}

type Measured = (String, &'static str, Vec<f64>, Samples);

fn figures(measured: &[Measured], notes: Vec<String>) -> Table {
    let title = format!("Lease renewals, {CONNECTIONS} connections with one request on the way on each");
    let head =
        ["", "per second, median of windows", "slowest to fastest", "ms: median (p99)", "durable before the answer"];
    let mut table = Table::new(&title, &head);
    for (name, durable, rates, latencies) in measured {
        let edge = |pick: fn(f64, f64) -> f64| rates.iter().copied().reduce(pick).unwrap_or_default();
        let range = format!("{:.0} to {:.0}", edge(f64::min), edge(f64::max));
        let rate = format!("{:.0}", middle(rates.clone()).unwrap_or_default());
        table.row([name.clone(), rate, range, latencies.cell(), (*durable).to_owned()]);
    }
    table.note(format!(
        "Windows of {} s in turns, all on one machine. Every heartbeat was a real renewal: the server counted as many updates as there were answers.",
        WINDOW.as_secs()
    ));
    notes.into_iter().for_each(|note| table.note(note));
    table
}

fn goals(measured: &[Measured]) -> Table {
    let mut table = Table::new("Lease renewals: goals", &["goal", "in any order", "in order", "few"]);
    let rate = |found: Option<&Measured>| found.and_then(|(_, _, rates, _)| middle(rates.clone()));
    let of = |name: &str| rate(measured.iter().find(|one| one.0 == name));
    let mut judge = |goal: &str, bound: Option<f64>, cell: &dyn Fn(f64, f64) -> String| {
        let judged = measured.iter().take(3).map(|own| match (rate(Some(own)), bound) {
            (Some(own), Some(bound)) => cell(own, bound),
            _ => "not measured".to_owned(),
        });
        table.row(std::iter::once(goal.to_owned()).chain(judged));
    };
    judge("≥ 40,000/s", Some(GOAL), &|own, bound| format!("{own:.0}: {}", verdict(own >= bound)));
    judge("more than etcd's keep-alive", of(KEEP_ALIVE), &|own, bound| {
        format!("{:.2} ×: {}", own / bound, verdict(own > bound))
    });
    judge("≥ 2 × etcd's put", of(PUT), &|own, bound| {
        format!("{:.2} ×: {}", own / bound, verdict(own >= GOAL_OF_PUTS * bound))
    });
    table
}

/// Connections that share the sessions out: neighbours go to different ones.
fn lanes(server: &Server, ids: &[String]) -> anyhow::Result<Vec<Lane>> {
    let headers = format!("Authorization: Bearer {}\r\nTenure-Lease-Token: 1\r\nContent-Length: 0\r\n", server.key());
    let share = |lane: usize| ids.iter().skip(lane).step_by(CONNECTIONS).cloned().collect();
    let lane = |lane| Lane::new(server.address, "POST", "/v1/sessions/{}/heartbeat", &headers, share(lane));
    (0..CONNECTIONS).map(lane).collect()
}

/// In an order that has nothing to do with theirs: by the digits at their end.
fn shuffled(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

/// How many updates of leases the server has counted.
fn stored(server: &Server) -> anyhow::Result<u64> {
    let mut client = server.client()?;
    ensure!(client.ask("GET", "/metrics", None)? == 200, "no metrics");
    let text = String::from_utf8_lossy(client.body()).into_owned();
    let counted = |line: &str| line.starts_with("tenure_store_requests_total") && line.contains("\"lease_renew\"");
    let ok = text.lines().find(|line| counted(line) && line.contains("\"ok\"")).context("no such metric")?;
    Ok(ok.rsplit(' ').next().context("no value")?.parse()?)
}

/// A peer that works here; otherwise a note that says why it does not.
fn there<T>(name: &str, found: anyhow::Result<T>, notes: &mut Vec<String>) -> Option<T> {
    found.map_err(|error| notes.push(format!("{name} was not there: {error:#}"))).ok()
}
