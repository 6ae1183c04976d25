//! Prints the benchmark tables, each with the public tools it compares with, measured in the same run.

mod side_by_side;

use anyhow::Context;
use bench::measure;
use clap::{Parser, ValueEnum};

/// Side-by-side benchmarks. Needs root; the tools it compares with are found in PATH, and named when absent.
#[derive(Debug, Parser)]
struct Arguments {
    /// The table to print.
    #[arg(value_enum)]
    table: Wanted,
    /// Print one JSON object per table instead of Markdown.
    #[arg(long)]
    json: bool,
    /// A tenth of the samples.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// From starting a tool to its end, `/bin/true` run in between in an environment made for it.
    Whole,
    /// `/bin/true` in an environment that is there already.
    Exec,
    /// All of them.
    All,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(bench::kernel::is_root(), "the peers' limits and mounts need root");
    let work = tempfile::Builder::new().prefix("tenure-bench-").tempdir()?;
    bench::peer::host_view().context("cannot make a private view of the host")?;
    let bench::peer::Found { there: mut peers, absent } = bench::peer::all(work.path())?;
    let effort = if arguments.quick { side_by_side::QUICK } else { side_by_side::FULL };
    let mut tables = Vec::new();
    let before = measure::machine();
    if matches!(arguments.table, Wanted::Whole | Wanted::All) {
        tables.push(side_by_side::whole(&mut peers, effort));
    }
    if matches!(arguments.table, Wanted::Exec | Wanted::All) {
        tables.push(side_by_side::exec(&mut peers, effort));
    }
    for mut table in tables {
        table.note(format!("{before} before; after: {}.", measure::machine()));
        absent.iter().for_each(|line| table.note(line));
        if arguments.json {
            println!("{}", table.to_json());
        } else {
            println!("{}", table.to_markdown());
        }
    }
    Ok(())
}
