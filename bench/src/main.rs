//! Prints the benchmark tables, each with the public tools it compares with, measured in the same run.

mod goal;
mod http;
mod side_by_side;
mod tenure;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bench::measure::{self, Table};
use bench::peer::{self, Found, Peer};
use clap::{Parser, ValueEnum};
use side_by_side::{Effort, Row};
use tenure::{Keepers, Tenure, create, crowd, exec, idle};

/// On a disk: a file system in memory has neither loop devices with direct I/O nor the limits of a disk.
const HOME: &str = "/var/tmp";
const WHOLE_PAUSE: Duration = Duration::from_millis(100);
const IDLE: usize = 1000;
const IDLE_QUICK: usize = 100;
const LEASED: usize = 250_000;
const LEASED_QUICK: usize = 25_000;
const SWEPT: usize = 1_000_000;
const SWEPT_QUICK: usize = 100_000;
const RESTARTED: usize = 200;
const RESTARTED_QUICK: usize = 40;

/// Side-by-side benchmarks. Needs root; the tools it compares with are found in PATH, and named when absent.
#[derive(Debug, Parser)]
struct Arguments {
    /// The table to print.
    #[arg(value_enum, default_value = "all")]
    table: Wanted,
    /// Print one JSON object per table instead of Markdown.
    #[arg(long)]
    json: bool,
    /// A tenth of the samples.
    #[arg(long)]
    quick: bool,
    /// The release binary whose `tenure run` is measured.
    #[arg(long, value_name = "PATH", default_value = "target/release/tenure")]
    tenure: PathBuf,
    /// Serve one bare route that answers with so many bytes: what the API is compared with.
    #[arg(long, hide = true, value_name = "BYTES")]
    serve_bare: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Until a new environment answers, cold and from the pool.
    Create,
    /// `/bin/true` in an environment that is there already.
    Exec,
    /// Lives per second: create, `/bin/true`, destroy.
    Cycles,
    /// Fifty environments at once.
    Fifty,
    /// From starting a tool to its end, `/bin/true` run in between in an environment made for it.
    Whole,
    /// What a thousand environments cost that do nothing.
    Idle,
    /// The service: create, exec, fifty at once, a thousand idle sessions and the API's overhead, over HTTP.
    Http,
    /// Lease renewals per second, each on the disk before it is answered, beside etcd and PostgreSQL.
    Renewals,
    /// A thousand sessions that are due, among ten thousand and among a million.
    Sweep,
    /// From `kill -9` and a start to the first answer, with sessions that live on.
    Restart,
    /// All of them.
    All,
}

impl Wanted {
    /// The tables that are meant, in the order in which they disturb each other least.
    fn tables(self) -> Vec<Wanted> {
        match self {
            Wanted::All => Wanted::value_variants().iter().copied().filter(|table| *table != Wanted::All).collect(),
            one => vec![one],
        }
    }

    fn has_peers(self) -> bool {
        match self {
            Wanted::Create | Wanted::Exec | Wanted::Whole | Wanted::Http | Wanted::All => true,
            Wanted::Cycles | Wanted::Fifty | Wanted::Idle => false,
            Wanted::Renewals | Wanted::Sweep | Wanted::Restart => false,
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(answer) = arguments.serve_bare {
        return http::serve_bare(answer);
    }
    anyhow::ensure!(bench::kernel::is_root(), "the peers' limits and mounts need root");
    let work = tempfile::Builder::new().prefix("tenure-bench-").tempdir_in(HOME)?;
    bench::kernel::open_files_most().context("cannot raise the limit of open files")?;
    // Before any thread is started, and while the host's mounts are as they are.
    let keepers = Keepers::start(work.path()).context("cannot start a keeper")?;
    peer::host_view().context("cannot make a private view of the host")?;
    let tenure = keepers.connect().context("cannot make environments here")?;
    let tables = arguments.table.tables();
    let mut found = Found { there: Vec::new(), absent: Vec::new() };
    if tables.iter().any(|table| table.has_peers()) {
        found = peer::all(work.path())?;
    }
    let mut failed = 0;
    for table in tables {
        if let Err(error) = print(table, &arguments, &tenure, &mut found, work.path()) {
            eprintln!("{table:?}: {error:#}");
            failed += 1;
        }
    }
    tenure.shut_down()?;
    anyhow::ensure!(failed == 0, "{failed} tables failed");
    Ok(())
}

fn print(wanted: Wanted, arguments: &Arguments, tenure: &Tenure, found: &mut Found, work: &Path) -> anyhow::Result<()> {
    let before = measure::machine();
    let effort = if arguments.quick { side_by_side::QUICK } else { side_by_side::FULL };
    let peers = &mut found.there;
    let mut tables = match wanted {
        Wanted::Create => create::tables(tenure, peers, effort)?,
        Wanted::Exec => exec::tables(tenure, peers, effort)?,
        Wanted::Cycles => vec![crowd::cycles(tenure, effort)?],
        Wanted::Fifty => vec![crowd::fifty(tenure, effort)?],
        Wanted::Whole => vec![whole(&arguments.tenure, peers, effort, work)],
        Wanted::Idle => vec![idle::table(tenure, if arguments.quick { IDLE_QUICK } else { IDLE })?],
        Wanted::Http => {
            let idle = if arguments.quick { IDLE_QUICK } else { IDLE };
            http::tables(&arguments.tenure, work, peers, effort, idle)?
        }
        Wanted::Renewals => {
            let sessions = if arguments.quick { LEASED_QUICK } else { LEASED };
            http::renewals::tables(&arguments.tenure, work, effort, sessions)?
        }
        Wanted::Sweep => {
            let sessions = if arguments.quick { SWEPT_QUICK } else { SWEPT };
            vec![http::sweep::table(&arguments.tenure, work, effort, sessions)?]
        }
        Wanted::Restart => {
            let sessions = if arguments.quick { RESTARTED_QUICK } else { RESTARTED };
            vec![http::restart::table(&arguments.tenure, work, effort, sessions)?]
        }
        Wanted::All => Vec::new(),
    };
    if let Some(first) = tables.first_mut() {
        first.note(format!("{before} before; after: {}.", measure::machine()));
        if wanted.has_peers() {
            found.absent.iter().for_each(|line| first.note(line));
        }
    }
    for table in tables {
        if arguments.json {
            println!("{}", table.to_json());
        } else {
            println!("{}", table.to_markdown());
        }
    }
    Ok(())
}

/// From starting the tool to its end.
fn whole(program: &Path, peers: &mut [Box<dyn Peer>], effort: Effort, work: &Path) -> Table {
    let mut own = peer::tenure_run::TenureRun::find(program, work);
    let mut rows: Vec<Row<'_>> = own.iter_mut().map(|own| Row::of_life(&mut **own)).collect();
    rows.extend(peers.iter_mut().map(|peer| Row::of_life(&mut **peer)));
    let title = "Run /bin/true in an environment made and removed for it";
    let (mut table, _) = side_by_side::fill(title, rows, effort, WHOLE_PAUSE);
    tenure::note_program(&mut table);
    if let Err(error) = own {
        table.note(format!("{} was not there: {error}; see --tenure.", program.display()));
    }
    table
}
