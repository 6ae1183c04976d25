//! What environments cost that do nothing: memory and processor time of their agents, their keeper and this process.

use std::sync::Arc;
use std::time::Duration;

use super::{Tenure, create, destroy};
use crate::goal::verdict;
use bench::measure::Table;
use bench::memory::{children_of, machine_free_kib, pss_kib, ticks};
use tenure_environment::Environment;
use tenure_linux::LinuxDriver;
use tokio::task::JoinSet;

const AT_ONCE: usize = 4;
const SETTLE: Duration = Duration::from_secs(2);
const WATCHED: Duration = Duration::from_secs(10);
const GOAL_KIB: f64 = 1024.0;
/// Memory of the machine that must be free per environment before the first is made: twice the goal.
const FREE_KIB: u64 = 2048;
const CLOCK_TICK_MS: u64 = 10;

/// Makes so many, or as many as the machine allows, and looks at them.
pub fn table(tenure: &Tenure, wanted: usize) -> anyhow::Result<Table> {
    let free = machine_free_kib()?;
    let allowed = usize::try_from(free / FREE_KIB)?.min(wanted);
    let own_before = pss_kib("self")?;
    let (environments, stopped) = tenure.run(many(tenure.cold.clone(), allowed))?;
    std::thread::sleep(SETTLE);
    let measured = measure(tenure.keeper, own_before, free, environments.len());
    let count = environments.len();
    tenure.run(all_down(environments))?;
    let mut table = measured?;
    if count < wanted {
        let why = stopped.map_or_else(|| format!("{free} KiB of memory were free"), |error| format!("{error:#}"));
        table.note(format!("{count} instead of {wanted}: {why}."));
    }
    tenure.note(&mut table);
    Ok(table)
}

fn measure(keeper: i32, own_before: u64, free_before: u64, count: usize) -> anyhow::Result<Table> {
    anyhow::ensure!(count > 0, "none could be made");
    let children = children_of(keeper)?;
    let agents = children.iter().map(|pid| pss_kib(&pid.to_string())).sum::<anyhow::Result<u64>>()?;
    let keeper_kib = pss_kib(&keeper.to_string())?;
    let own = pss_kib("self")?.saturating_sub(own_before);
    let machine = free_before.saturating_sub(machine_free_kib()?);
    let title = format!("{count} idle environments");
    let mut table = Table::new(&title, &["memory (PSS)", "KiB each", "MiB in all", "goal ≤ 1 MiB each"]);
    let mut row = |what: &str, kib: u64, goal: &str| {
        let each = kib as f64 / count as f64;
        table.row([what, &format!("{each:.1}"), &format!("{:.1}", kib as f64 / 1024.0), goal]);
    };
    let sum = agents + keeper_kib + own;
    row("agents, and the berths that wait", agents, "");
    row("keeper", keeper_kib, "");
    row("growth of this process", own, "");
    row("together", sum, verdict(sum as f64 / count as f64 <= GOAL_KIB));
    row("for comparison: less available memory on the machine, the kernel's own included", machine, "");
    table.note(processor_time(keeper, &children)?);
    Ok(table)
}

/// What they use of the processors while nobody asks anything of them.
fn processor_time(keeper: i32, children: &[i32]) -> anyhow::Result<String> {
    let sum = || children.iter().chain([&keeper]).map(|pid| ticks(&pid.to_string())).sum::<anyhow::Result<u64>>();
    let before = sum()?;
    let own_before = ticks("self")?;
    std::thread::sleep(WATCHED);
    let own = ticks("self")? - own_before;
    let used = sum()?.saturating_sub(before);
    Ok(format!(
        "Processor time over {} s: agents and keeper {used} ticks, this process {own} ticks, of {CLOCK_TICK_MS} ms each; goal, none measurable: {}.",
        WATCHED.as_secs(),
        verdict(used == 0),
    ))
}

/// Makes them, a few at once, until there are enough or one cannot be made.
async fn many(
    driver: LinuxDriver,
    wanted: usize,
) -> anyhow::Result<(Vec<Arc<dyn Environment>>, Option<anyhow::Error>)> {
    let (mut made, mut stopped) = (Vec::new(), None);
    let mut tasks = JoinSet::new();
    let mut asked = 0;
    loop {
        while asked < wanted && tasks.len() < AT_ONCE && stopped.is_none() {
            let driver = driver.clone();
            tasks.spawn(async move { create(&driver).await });
            asked += 1;
        }
        match tasks.join_next().await {
            Some(Ok(Ok(environment))) => made.push(environment),
            Some(Ok(Err(error))) => stopped = Some(error),
            Some(Err(error)) => stopped = Some(error.into()),
            None => return Ok((made, stopped)),
        }
    }
}

async fn all_down(environments: Vec<Arc<dyn Environment>>) -> anyhow::Result<()> {
    for some in environments.chunks(AT_ONCE) {
        let mut tasks = JoinSet::new();
        for environment in some {
            let environment = environment.clone();
            tasks.spawn(async move { destroy(environment.as_ref()).await });
        }
        tasks.join_all().await.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    }
    Ok(())
}
