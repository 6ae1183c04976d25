//! One caller: create and exec, back to back and spaced.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::Client;
use super::server::Server;
use crate::goal::{self, Bound, Goal};
use crate::side_by_side::{Effort, Row, fill};
use bench::measure::Table;
use bench::peer::Peer;

const READY: usize = 8;
const CREATE_PAUSE: Duration = Duration::from_millis(100);
const EXEC_PAUSE: Duration = Duration::from_millis(50);
const COLD: &str = "Tenure over HTTP, cold";
const POOLED: &str = "Tenure over HTTP, from the pool";
const EXEC: &str = "Tenure over HTTP";

const CREATE_GOALS: [Goal; 4] = [
    Goal { row: COLD, bound: Bound::Ms(4.0) },
    Goal { row: COLD, bound: Bound::Share { of: "crun", parts: 2.0 } },
    Goal { row: COLD, bound: Bound::Share { of: "podman", parts: 30.0 } },
    Goal { row: POOLED, bound: Bound::Ms(1.0) },
];
const EXEC_GOALS: [Goal; 3] = [
    Goal { row: EXEC, bound: Bound::Ms(1.5) },
    Goal { row: EXEC, bound: Bound::Share { of: "crun", parts: 3.0 } },
    Goal { row: EXEC, bound: Bound::Share { of: "podman", parts: 80.0 } },
];

/// Create and exec, the peers beside them.
pub fn tables(program: &Path, work: &Path, peers: &mut [Box<dyn Peer>], effort: Effort) -> anyhow::Result<Vec<Table>> {
    let cold = Server::start(program, work, 0)?;
    let mut tables = create(&cold, &Server::start(program, work, READY)?, peers, effort)?;
    tables.extend(exec(&cold, peers, effort)?);
    Ok(tables)
}

fn create(cold: &Server, pooled: &Server, peers: &mut [Box<dyn Peer>], effort: Effort) -> anyhow::Result<Vec<Table>> {
    let (mut one, mut other) = (cold.client()?, pooled.client()?);
    // The first of a template fills the pool.
    let first = other.create()?;
    other.end(&first)?;
    std::thread::sleep(Duration::from_secs(1));
    // Taking down and filling up go on beside; so that neither is measured, pooled creations wait for them.
    let mut rows = vec![
        Row::new(COLD, || create_one(cold, &mut one)),
        Row::new(POOLED, || create_one(pooled, &mut other)).settled(|| {
            std::thread::sleep(Duration::from_millis(150));
            Ok(())
        }),
    ];
    rows.extend(peers.iter_mut().map(|peer| Row::of_life(&mut **peer)));
    let title = "Create over HTTP until 201, row and audit entry durable";
    let (mut table, outcomes) = fill(title, rows, effort, CREATE_PAUSE);
    table.note(format!(
        "Each session is ended and gone before the next is made. The pool holds {READY}: back to back it is filled beside what is measured."
    ));
    Ok(vec![table, goal::table(&format!("{title}: goals"), &CREATE_GOALS, &outcomes)])
}

fn create_one(server: &Server, client: &mut Client) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let id = client.create()?;
    let took = start.elapsed();
    client.end(&id)?;
    server.settled(client, &id)?;
    Ok(took)
}

fn exec(server: &Server, peers: &mut [Box<dyn Peer>], effort: Effort) -> anyhow::Result<Vec<Table>> {
    let (mut notes, mut started) = (Vec::new(), Vec::new());
    for peer in peers {
        match peer.start() {
            Ok(true) => started.push(peer),
            Ok(false) => notes.push(format!("{} cannot do this.", peer.name())),
            Err(error) => notes.push(format!("{} did not start: {error}", peer.name())),
        }
    }
    let client = RefCell::new(server.client()?);
    let id = client.borrow_mut().create()?;
    let done = Cell::new(0_u32);
    let sample = || {
        let start = Instant::now();
        client.borrow_mut().run_true(&id)?;
        done.set(done.get() + 1);
        Ok(start.elapsed())
    };
    let mut rows = vec![Row::new(EXEC, sample)];
    rows.extend(started.iter_mut().map(|peer| Row::of_exec(&mut ***peer)));
    let title = "Run /bin/true over HTTP, ledger and audit durable";
    let (mut table, outcomes) = fill(title, rows, effort, EXEC_PAUSE);
    started.iter_mut().for_each(|peer| peer.stop());
    client.borrow_mut().end(&id)?;
    notes.into_iter().for_each(|note| table.note(note));
    Ok(vec![table, goal::table(&format!("{title}: goals"), &EXEC_GOALS, &outcomes)])
}
