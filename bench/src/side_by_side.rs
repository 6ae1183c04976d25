//! Rows of a table, one per way of doing a thing. They take turns in short blocks, so that a busy moment of the machine hits all alike.

use std::time::Duration;

use bench::measure::{Samples, Table};
use bench::peer::Peer;

/// How many samples are taken.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    blocks: usize,
    per_block: usize,
    per_block_spaced: usize,
}

/// For figures to quote: 200 back to back, 50 spaced.
pub const FULL: Effort = Effort { blocks: 10, per_block: 20, per_block_spaced: 5 };
/// For a look.
pub const QUICK: Effort = Effort { blocks: 2, per_block: 10, per_block_spaced: 3 };

impl Effort {
    /// As many blocks; for what is sampled in other ways, a measure of how much is wanted.
    pub fn blocks(self) -> usize {
        self.blocks
    }
}

/// One way of doing the thing.
pub struct Row<'a> {
    name: String,
    without: String,
    /// Takes so long that fewer samples must do.
    slow: bool,
    settle: Box<dyn FnMut() -> anyhow::Result<()> + 'a>,
    sample: Box<dyn FnMut() -> anyhow::Result<Duration> + 'a>,
}

/// What was measured of a row: its name, and the medians in milliseconds.
pub struct Outcome {
    /// The row's name.
    pub name: String,
    /// Back to back.
    pub quick: Option<f64>,
    /// Spaced.
    pub spaced: Option<f64>,
}

impl<'a> Row<'a> {
    /// One that leaves nothing out.
    pub fn new(name: &str, sample: impl FnMut() -> anyhow::Result<Duration> + 'a) -> Self {
        let (name, sample) = (name.to_owned(), Box::new(sample));
        Self { name, without: String::new(), slow: false, settle: Box::new(|| Ok(())), sample }
    }

    /// With something to wait for before each block and after each spaced sample.
    pub fn settled(self, settle: impl FnMut() -> anyhow::Result<()> + 'a) -> Self {
        Self { settle: Box::new(settle), ..self }
    }

    /// A peer that makes an environment and removes it.
    pub fn of_life(peer: &'a mut dyn Peer) -> Self {
        Row::of_peer(peer, |peer| peer.create_and_destroy())
    }

    /// A peer that runs a program in the environment that it started.
    pub fn of_exec(peer: &'a mut dyn Peer) -> Self {
        Row::of_peer(peer, |peer| peer.exec())
    }

    fn of_peer(peer: &'a mut dyn Peer, measure: fn(&mut dyn Peer) -> std::io::Result<Duration>) -> Self {
        let (name, without, slow) = (peer.name().to_owned(), peer.differs().to_owned(), peer.is_slow());
        Self { without, slow, ..Row::new(&name, move || Ok(measure(peer)?)) }
    }
}

/// Measures all rows, `pause` apart where spaced, and writes them into a new table.
pub fn fill(title: &str, mut rows: Vec<Row<'_>>, effort: Effort, pause: Duration) -> (Table, Vec<Outcome>) {
    let spaced = format!("{} ms apart", pause.as_millis());
    let mut table = Table::new(title, &["tool", "back to back, ms: median (p99)", &spaced, "samples", "without"]);
    let fresh = |_: &Row<'_>| (Samples::default(), Samples::default(), None::<anyhow::Error>);
    let mut results: Vec<_> = rows.iter().map(fresh).collect();
    for _ in 0..effort.blocks {
        for (row, (quick, spaced, failed)) in rows.iter_mut().zip(&mut results) {
            if failed.is_none() {
                *failed = block(row, effort, pause, quick, spaced).err();
            }
        }
    }
    let mut outcomes = Vec::new();
    for (row, (quick, spaced, failed)) in rows.into_iter().zip(results) {
        let counts = format!("{} + {}", quick.len(), spaced.len());
        table.row([&row.name, &quick.cell(), &spaced.cell(), &counts, &row.without]);
        if let Some(error) = failed {
            table.note(format!("{} failed: {error:#}", row.name));
        }
        outcomes.push(Outcome { quick: quick.median_ms(), spaced: spaced.median_ms(), name: row.name });
    }
    (table, outcomes)
}

fn block(
    row: &mut Row<'_>,
    effort: Effort,
    pause: Duration,
    quick: &mut Samples,
    spaced: &mut Samples,
) -> anyhow::Result<()> {
    let share = if row.slow { 4 } else { 1 };
    (row.settle)()?;
    (row.sample)()?; // the first after others had their turn warms up and is not counted
    for _ in 0..(effort.per_block / share).max(2) {
        quick.push((row.sample)()?);
    }
    for _ in 0..(effort.per_block_spaced / share).max(2) {
        (row.settle)()?;
        std::thread::sleep(pause);
        spaced.push((row.sample)()?);
    }
    Ok(())
}
