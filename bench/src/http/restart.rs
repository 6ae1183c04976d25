//! From `kill -9` and a start to the first correct answer, with sessions that live on meanwhile.

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::server::Server;
use crate::goal::verdict;
use crate::side_by_side::Effort;
use anyhow::{Context as _, anyhow, ensure};
use bench::measure::{Samples, Table, ms};

const ASKING: usize = 16;
const GOAL_MS: f64 = 1000.0;
const ROUNDS_MAX: usize = 5;
/// How long programs are run and acknowledged before each kill.
const LOAD: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);
const STAYS: &str = r#"{"cmd":["/bin/sleep","86400"],"background":true}"#;
const SHORT: &str = r#"{"cmd":["/bin/true"]}"#;

/// A session, and the program in it that outlives the server.
struct Living {
    id: String,
    exec: String,
}

/// What is measured over all rounds.
#[derive(Default)]
struct Figures {
    listens: Samples,
    first: Samples,
    each: Samples,
    last: Samples,
    acknowledged: usize,
}

/// So many sessions, each with a program in the background.
pub fn table(program: &Path, work: &Path, effort: Effort, sessions: usize) -> anyhow::Result<Table> {
    let mut server = Server::start(program, work, 0)?;
    let living = (0..sessions).map(|_| live(&server)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut figures = Figures::default();
    let rounds = effort.blocks().clamp(3, ROUNDS_MAX);
    for _ in 0..rounds {
        round(&mut server, &living, &mut figures)?;
    }
    let title = format!("kill -9 with {sessions} live sessions, a program running in each, then a start");
    let mut table = Table::new(&title, &["from the start of the program until", "ms: median (slowest)", "goal < 1 s"]);
    let rows = [
        ("it listens", &figures.listens, false),
        ("the first correct answer on a session", &figures.first, true),
        ("a session answers, all sessions of all rounds", &figures.each, false),
        ("the last session has answered", &figures.last, false),
    ];
    for (name, samples, is_goal) in rows {
        let median = samples.median_ms().context("no rounds")?;
        let slowest = samples.quantile_ms(1.0).unwrap_or(median);
        let goal = if is_goal { verdict(slowest < GOAL_MS) } else { "" };
        table.row([name.to_owned(), format!("{} ({})", ms(median), ms(slowest)), goal.to_owned()]);
    }
    table.note(format!(
        "{rounds} rounds, {ASKING} connections asking for each session's status. After each start every program still ran, and each of {} programs that had been acknowledged while the server was killed was there, with its outcome.",
        figures.acknowledged
    ));
    table.note("Entries of a session's journal that wait to be applied are not part of this: there is no journal yet.");
    Ok(table)
}

fn live(server: &Server) -> anyhow::Result<Living> {
    let mut client = server.client()?;
    let id = client.create()?;
    let exec = client.expect("POST", &format!("/v1/sessions/{id}/exec"), Some(STAYS), 202)?;
    let exec = exec["exec_id"].as_str().context("an exec without an ID")?.to_owned();
    Ok(Living { id, exec })
}

fn round(server: &mut Server, living: &[Living], figures: &mut Figures) -> anyhow::Result<()> {
    let worked_in = &living.first().context("no sessions")?.id;
    let mut client = server.client()?;
    let acknowledged = thread::scope(|scope| {
        let path = format!("/v1/sessions/{worked_in}/exec");
        let load = scope.spawn(move || acknowledged(&mut client, &path));
        thread::sleep(LOAD);
        server.kill()?;
        load.join().map_err(|_| anyhow!("the load panicked"))
    })?;
    let begun = Instant::now();
    server.start_again()?;
    figures.listens.push(begun.elapsed());
    let answered = answered(server, living, begun)?;
    figures.first.push(*answered.iter().min().context("no answers")?);
    figures.last.push(*answered.iter().max().context("no answers")?);
    answered.into_iter().for_each(|at| figures.each.push(at));
    figures.acknowledged += acknowledged.len();
    let mut client = server.client()?;
    for one in living {
        ensure!(state(&mut client, &one.id, &one.exec)? == "started", "the program of {} does not run", one.id);
    }
    for exec in &acknowledged {
        let state = state(&mut client, worked_in, exec)?;
        ensure!(state == "exited", "{exec} had ended, and is {state}");
    }
    Ok(())
}

/// Runs programs one after another until the server is gone; those whose end was told.
fn acknowledged(client: &mut Client, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(done) = client.expect("POST", path, Some(SHORT), 200) {
        all.extend(done["exec_id"].as_str().map(str::to_owned));
    }
    all
}

/// When each session has answered for the first time.
fn answered(server: &Server, living: &[Living], begun: Instant) -> anyhow::Result<Vec<Duration>> {
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let ask = |lane: usize| {
            let mut client = server.client()?;
            for one in living.iter().skip(lane).step_by(ASKING) {
                let path = format!("/v1/sessions/{}", one.id);
                while client.ask("GET", &path, None)? != 200 {
                    ensure!(begun.elapsed() < PATIENCE, "{} does not answer", one.id);
                }
                let at = begun.elapsed();
                let session: serde_json::Value = serde_json::from_slice(client.body())?;
                ensure!(session["id"] == *one.id && session["state"] == "running", "{session}");
                all.lock().map_err(|_| anyhow!("a caller panicked"))?.push(at);
            }
            anyhow::Ok(())
        };
        let lanes: Vec<_> = (0..ASKING).map(|lane| scope.spawn(move || ask(lane))).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a caller panicked"))?)
    })?;
    all.into_inner().map_err(|_| anyhow!("a caller panicked"))
}

fn state(client: &mut Client, session: &str, exec: &str) -> anyhow::Result<String> {
    let record = client.expect("GET", &format!("/v1/sessions/{session}/execs/{exec}"), None, 200)?;
    Ok(record["state"].as_str().context("no state")?.to_owned())
}
