//! `torture`: kills a server as long as it is told to, and reports. Exits with 1 where anything was lost or is left.

use clap::Parser;
use std::io::{IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use torture::disk::ALONE;
use torture::{Kill, Menu, Plan, Report};

/// Kills a server under load and checks what it acknowledged.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program to be tortured.
    #[arg(long)]
    tenure: PathBuf,
    /// Kills, at most.
    #[arg(long, default_value_t = 2000)]
    kills: u64,
    /// Seconds, at most.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// To have a run again.
    #[arg(long)]
    seed: Option<u64>,
    /// Clients at a time.
    #[arg(long, default_value_t = 4)]
    clients: u64,
    /// Kill the keeper as well.
    #[arg(long)]
    keeper: bool,
    /// Kill agents as well.
    #[arg(long)]
    agents: bool,
    /// Kill at named points, too.
    #[arg(long)]
    points: bool,
    /// Tear what was written to the database and not synced, too.
    #[arg(long)]
    tear: bool,
    /// Let syncs of the database fail, too.
    #[arg(long)]
    fsync: bool,
    /// Fill the disk, too: the data is then on an image of its own, mounted where nobody else sees it.
    #[arg(long)]
    fill: bool,
    /// Let the server's wall clock jump, too.
    #[arg(long)]
    clock: bool,
    /// Say which named points there are, and do nothing else.
    #[arg(long)]
    list_points: bool,
    /// Where the data is to be, on a disk; below it a directory is made.
    #[arg(long, default_value = "/var/tmp")]
    dir: PathBuf,
    /// Leave the data and the log where they are.
    #[arg(long)]
    keep: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list_points {
        torture::point::Point::all().iter().for_each(|point| println!("{point}"));
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.fill && std::env::var_os(ALONE).is_none() {
        return Err(alone(&std::env::current_exe()?).into());
    }
    let dir = torture::directory(&arguments.dir)?;
    let plan = Plan {
        program: arguments.tenure,
        dir: dir.path().join("data"),
        seed: arguments.seed.unwrap_or_else(torture::random::seed),
        kills: arguments.kills,
        lasts: Duration::from_secs(arguments.seconds),
        clients: arguments.clients,
        menu: Menu {
            points: arguments.points,
            tear: arguments.tear,
            keeper: arguments.keeper,
            agents: arguments.agents,
            fsync: arguments.fsync,
            fill: arguments.fill,
            clock: arguments.clock,
        },
        spoil: None,
    };
    println!("seed {}", plan.seed);
    let report = torture::run(&plan, progress)?;
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
    print!("{report}");
    if report.is_bad() || arguments.keep {
        println!("data and log are in {}", dir.keep().display());
    }
    Ok(if report.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Begins again in a mount namespace of its own. Comes back only where that does not go.
fn alone(program: &Path) -> std::io::Error {
    let mut again = Command::new("unshare");
    again.args(["--mount", "--propagation", "private", "--"]).arg(program).args(std::env::args_os().skip(1));
    again.env(ALONE, "1").exec()
}

fn progress(report: &Report, kill: &Kill) {
    if std::io::stderr().is_terminal() {
        let line = format!("kill {}: {kill}; {} acknowledged", report.kills() + 1, report.acknowledged());
        eprint!("\r{line:<110.110}");
        // A terminal that is gone is not written to.
        let _ = std::io::stderr().flush();
    }
}
