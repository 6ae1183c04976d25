//! The `tenure` command: reads the command line, starts what the command needs, and turns its outcome into an exit code.

mod command;
mod data_dir;
mod failure;
mod terminal;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs durable, isolated sessions.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    /// Where everything is kept [default: /var/lib/tenure as root, else the XDG state directory]
    #[arg(long, global = true, env = "TENURE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program in an environment of its own, which is gone afterwards
    Run(command::run::Args),
    /// Say which walls and limits this host can give, and what to do where one is missing
    Doctor,
    /// Add, list, show and remove templates: the roots that environments are made from
    #[command(subcommand)]
    Template(command::template::Command),
    /// Print a completion script for a shell
    Completions(command::completions::Args),
}

/// What every command is given.
struct Context {
    /// The data directory.
    data_dir: PathBuf,
    /// Whether a program reads what is printed.
    json: bool,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let json = cli.json;
    let for_run = matches!(cli.command, Command::Run(_));
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(json, for_run),
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    let context = |data_dir| Context { data_dir, json: cli.json };
    let data_dir = || data_dir::resolve(cli.data_dir.as_deref()).map(context);
    match cli.command {
        Command::Run(args) => command::run::run(&data_dir()?, args),
        Command::Doctor => command::doctor::run(&data_dir()?),
        Command::Template(command) => command::template::run(&data_dir()?, command),
        Command::Completions(args) => command::completions::run(&args),
    }
}
