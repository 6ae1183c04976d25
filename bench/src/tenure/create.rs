//! Creation: until the new environment's agent has answered, since it is the agent that is bound to its session.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{POOLED, Tenure, create, cycle, destroy, note_program};
use crate::goal::{self, Bound, Goal};
use crate::side_by_side::{Effort, Row, fill};
use bench::measure::Table;
use bench::peer::Peer;
use tenure_linux::LinuxDriver;
use tenure_linux::template::DEFAULT_TEMPLATE;

const PAUSE: Duration = Duration::from_millis(100);
const COLD: &str = "Tenure, cold";
const FROM_POOL: &str = "Tenure, from the pool";
const WHOLE: &str = "Tenure, cold, with /bin/true and destroy";

const GOALS: [Goal; 4] = [
    Goal { row: COLD, bound: Bound::Ms(4.0) },
    Goal { row: COLD, bound: Bound::Share { of: "crun", parts: 2.0 } },
    Goal { row: COLD, bound: Bound::Share { of: "podman", parts: 30.0 } },
    Goal { row: FROM_POOL, bound: Bound::Ms(1.0) },
];

/// Cold, from the pool, and the peers.
pub fn tables(tenure: &Tenure, peers: &mut [Box<dyn Peer>], effort: Effort) -> anyhow::Result<Vec<Table>> {
    let (taken, empty) = (Cell::new(0_usize), Cell::new(0_usize));
    tenure.run(fresh(tenure.pooled.clone()))?; // the pool fills from the first request on
    let from_pool = || {
        taken.set(taken.get() + 1);
        empty.set(empty.get() + usize::from(tenure.pooled.pooled(DEFAULT_TEMPLATE) == 0));
        tenure.run(fresh(tenure.pooled.clone()))
    };
    let whole = || {
        let driver = tenure.cold.clone();
        tenure.run(async move {
            let start = Instant::now();
            cycle(&driver).await?;
            Ok(start.elapsed())
        })
    };
    let mut rows = vec![
        Row::new(COLD, || tenure.run(fresh(tenure.cold.clone()))),
        Row::new(FROM_POOL, from_pool).settled(|| tenure.pool_full()),
        Row::new(WHOLE, whole),
    ];
    rows.extend(peers.iter_mut().map(|peer| Row::of_life(&mut **peer)));
    let (mut table, outcomes) = fill("Create an environment", rows, effort, PAUSE);
    tenure.pool_drain()?;
    table.note(
        "Tenure: until the agent inside has answered; its end is not counted, except in the row that says so. \
         The other tools: from starting the tool to its end, /bin/true run in between.",
    );
    let (taken, empty) = (taken.get(), empty.get());
    table.note(format!(
        "The pool holds {POOLED} and is refilled meanwhile; {empty} of {taken} requests found it empty and waited for a cold one."
    ));
    tenure.note(&mut table);
    note_program(&mut table);
    Ok(vec![table, goal::table("Create an environment: goals", &GOALS, &outcomes)])
}

/// Makes one and takes it down; how long the making took.
async fn fresh(driver: LinuxDriver) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let environment = create(&driver).await?;
    let took = start.elapsed();
    destroy(environment.as_ref()).await?;
    Ok(took)
}
