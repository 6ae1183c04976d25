//! Programs in a running environment: over a connection that is open already, and over a new one each time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{Tenure, create, destroy, note_program, run_true};
use crate::goal::{self, Bound, Goal};
use crate::side_by_side::{Effort, Row, fill};
use anyhow::Context as _;
use bench::measure::Table;
use bench::peer::Peer;

const PAUSE: Duration = Duration::from_millis(50);
const OPEN: &str = "Tenure, open connection";
const FRESH: &str = "Tenure, new connection";

const GOALS: [Goal; 4] = [
    Goal { row: OPEN, bound: Bound::Share { of: "crun", parts: 3.0 } },
    Goal { row: OPEN, bound: Bound::Share { of: "podman", parts: 80.0 } },
    Goal { row: FRESH, bound: Bound::Share { of: "crun", parts: 3.0 } },
    Goal { row: FRESH, bound: Bound::Share { of: "podman", parts: 80.0 } },
];

/// Both, and the peers.
pub fn tables(tenure: &Tenure, peers: &mut [Box<dyn Peer>], effort: Effort) -> anyhow::Result<Vec<Table>> {
    let (mut notes, mut started) = (Vec::new(), Vec::new());
    for peer in peers {
        match peer.start() {
            Ok(true) => started.push(peer),
            Ok(false) => notes.push(format!("{} cannot do this.", peer.name())),
            Err(error) => notes.push(format!("{} did not start: {error}", peer.name())),
        }
    }
    let measured = measured(tenure, &mut started, effort);
    started.iter_mut().for_each(|peer| peer.stop());
    let mut tables = measured?;
    notes.into_iter().for_each(|note| tables[0].note(note));
    tenure.note(&mut tables[0]);
    note_program(&mut tables[0]);
    Ok(tables)
}

fn measured(tenure: &Tenure, peers: &mut [&mut Box<dyn Peer>], effort: Effort) -> anyhow::Result<Vec<Table>> {
    let driver = tenure.cold.clone();
    let environment = tenure.run(async move { create(&driver).await })?;
    let inside = environment.clone();
    let client = Cell::new(Some(tenure.run(async move { Ok(inside.connect().await?) })?));
    let open = || {
        let before = client.take().context("the connection was lost")?;
        let (after, took) = tenure.run(async move {
            let start = Instant::now();
            let client = run_true(before).await?;
            Ok((client, start.elapsed()))
        })?;
        client.set(Some(after));
        Ok(took)
    };
    let fresh = || {
        let environment = environment.clone();
        tenure.run(async move {
            let start = Instant::now();
            run_true(environment.connect().await?).await?;
            Ok(start.elapsed())
        })
    };
    let mut rows = vec![Row::new(OPEN, open), Row::new(FRESH, fresh)];
    rows.extend(peers.iter_mut().map(|peer| Row::of_exec(&mut ***peer)));
    let (table, outcomes) = fill("Run /bin/true in a running environment", rows, effort, PAUSE);
    tenure.run(async move { destroy(environment.as_ref()).await })?;
    Ok(vec![table, goal::table("Run /bin/true in a running environment: goals", &GOALS, &outcomes)])
}
