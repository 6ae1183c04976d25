//! Many environments: lives per second, and fifty that begin at once.

use std::time::{Duration, Instant};

use super::{Tenure, command, create, cycle, destroy};
use crate::goal::verdict;
use crate::side_by_side::Effort;
use anyhow::{Context as _, ensure};
use bench::measure::{Samples, Table, ms};
use std::sync::Arc;
use tenure_environment::Environment;
use tenure_linux::LinuxDriver;
use tokio::task::JoinSet;

const CYCLES_PER_BLOCK: usize = 20;
const AT_ONCE: [usize; 2] = [1, 4];
const CROWD: usize = 50;
const CROWD_GOAL_MS: f64 = 300.0;
const ROUNDS_PAUSE: Duration = Duration::from_millis(500);

/// Lives per second.
pub fn cycles(tenure: &Tenure, effort: Effort) -> anyhow::Result<Table> {
    let drivers = [("cold", &tenure.cold), ("from the pool", &tenure.pooled)];
    let mut ways: Vec<_> = drivers.iter().flat_map(|of| AT_ONCE.map(|at_once| (of, at_once, Duration::ZERO))).collect();
    tenure.run(cycles_of(tenure.pooled.clone(), 1, 1))?;
    for _ in 0..effort.blocks() {
        for ((_, driver), at_once, spent) in &mut ways {
            tenure.pool_full()?;
            *spent += tenure.run(cycles_of((*driver).clone(), *at_once, CYCLES_PER_BLOCK))?;
        }
    }
    tenure.pool_drain()?;
    let mut table = Table::new("Create, run /bin/true, destroy", &["Tenure", "at once", "lives per second", "lives"]);
    let lives = effort.blocks() * CYCLES_PER_BLOCK;
    for ((name, _), at_once, spent) in ways {
        let per_second = lives as f64 / spent.as_secs_f64();
        table.row([(*name).to_owned(), at_once.to_string(), format!("{per_second:.0}"), lives.to_string()]);
    }
    tenure.note(&mut table);
    Ok(table)
}

/// Lives so many lives, some of them at once; how long that took.
async fn cycles_of(driver: LinuxDriver, at_once: usize, lives: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..at_once {
        let driver = driver.clone();
        let share = lives / at_once + usize::from(task < lives % at_once);
        tasks.spawn(async move {
            for _ in 0..share {
                cycle(&driver).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(start.elapsed())
}

/// Fifty at once, each until it has answered an exec of its own.
pub fn fifty(tenure: &Tenure, effort: Effort) -> anyhow::Result<Table> {
    let mut samples = Samples::default();
    for round in 0..=effort.blocks() {
        let driver = tenure.cold.clone();
        let took = tenure.run(crowd(driver))?;
        if round > 0 {
            samples.push(took); // the first warms up
        }
        std::thread::sleep(ROUNDS_PAUSE);
    }
    let title = format!("{CROWD} environments at once, until each has answered its own exec");
    let mut table = Table::new(&title, &["Tenure", "ms: median", "slowest", "rounds", "goal < 300 ms"]);
    let (median, slowest) = (samples.median_ms(), samples.quantile_ms(1.0));
    let (median, slowest) = median.zip(slowest).context("no round was measured")?;
    let reached = verdict(median < CROWD_GOAL_MS);
    table.row(["cold", &ms(median), &ms(slowest), &samples.len().to_string(), reached]);
    tenure.note(&mut table);
    Ok(table)
}

async fn crowd(driver: LinuxDriver) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..CROWD {
        let driver = driver.clone();
        tasks.spawn(async move { answering(&driver, &format!("environment {number}")).await });
    }
    let all = tasks.join_all().await;
    let took = start.elapsed();
    let mut ends = JoinSet::new();
    let mut failed = None;
    for one in all {
        match one {
            Ok(environment) => drop(ends.spawn(async move { destroy(environment.as_ref()).await })),
            Err(error) => failed = Some(error),
        }
    }
    ends.join_all().await.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    failed.map_or(Ok(took), Err)
}

/// One that has said its word.
async fn answering(driver: &LinuxDriver, word: &str) -> anyhow::Result<Arc<dyn Environment>> {
    let environment = create(driver).await?;
    let client = environment.connect().await?;
    let mut attached = client.exec(command(&["/bin/echo", word]), Vec::new()).await?;
    let said = attached.capture(256).await?.output;
    ensure!(said.strip_suffix(b"\n") == Some(word.as_bytes()), "{word} said {}", String::from_utf8_lossy(&said));
    Ok(environment)
}
