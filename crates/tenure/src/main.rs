//! The `tenure` command: reads the command line, starts what the command needs, and turns its outcome into an exit code.

mod command;
mod config;
mod data_dir;
mod failure;
mod surroundings;
mod terminal;

use clap::{Parser, Subcommand};
use config::{Config, Flag, Flags, Sources};
use failure::Failure;
use std::path::PathBuf;
use std::process::ExitCode;
use surroundings::Surroundings;

/// The heading of what every command takes.
const GLOBAL: &str = "Global options";

/// Runs durable, isolated sessions.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// The configuration [env: TENURE_CONFIG] [default: /etc/tenure/tenure.toml as root, else
    /// tenure/tenure.toml in the XDG configuration directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    config: Option<PathBuf>,

    /// Where everything is kept [env: TENURE_DATA_DIR] [default: /var/lib/tenure as root, else the
    /// XDG state directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    data_dir: Option<PathBuf>,

    /// Print JSON for programs instead of text for people
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
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
    /// Check the configuration, or show it and where each value was written
    #[command(subcommand)]
    Config(command::config::Command),
    /// Print a completion script for a shell
    Completions(command::completions::Args),
}

/// What every command on this host is given.
struct Context {
    /// The data directory.
    data_dir: PathBuf,
    /// Whether a program reads what is printed.
    json: bool,
    /// What is configured.
    config: Config,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error, &std::env::args().skip(1).collect::<Vec<_>>(), false),
    };
    let json = cli.global.json;
    let for_run = matches!(cli.command, Command::Run(_));
    match run(cli, &Surroundings::look()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(json, for_run),
    }
}

fn run(cli: Cli, surroundings: &Surroundings) -> Result<u8, Failure> {
    let global = &cli.global;
    let here = |flags: &Flags| context(global, surroundings, flags);
    let plain = || here(&Flags::default());
    match cli.command {
        Command::Run(args) => command::run::run(&plain()?, args),
        Command::Doctor => command::doctor::run(&plain()?),
        Command::Template(command) => command::template::run(&plain()?, command),
        Command::Config(command) => {
            let sources = sources(global, surroundings, command.flags());
            command::config::run(&sources, &command, global.json)
        }
        Command::Completions(args) => command::completions::run(&args),
    }
}

/// Where settings can be written.
fn sources(global: &Global, surroundings: &Surroundings, flags: &Flags) -> Sources {
    let named = global.config.clone().or_else(|| surroundings.variable("TENURE_CONFIG").map(PathBuf::from));
    let found = || config::default_file(surroundings.is_root, surroundings.config_home().as_deref());
    let data_dir = global.data_dir.as_ref().map(|dir| Flag {
        key: "data_dir".into(),
        text: dir.to_string_lossy().into_owned(),
        written: "--data-dir".into(),
    });
    Sources {
        file: named.map(|file| (file, true)).or_else(|| found().map(|file| (file, false))),
        variables: surroundings.variables.clone(),
        flags: data_dir.into_iter().chain(flags.given()).collect(),
        default_data_dir: data_dir::default_dir(surroundings.is_root, surroundings.state_home().as_deref()),
    }
}

fn context(global: &Global, surroundings: &Surroundings, flags: &Flags) -> Result<Context, Failure> {
    let config = sources(global, surroundings, flags).resolve()?;
    Ok(Context { data_dir: data_dir::open(&config.data_dir)?, json: global.json, config })
}
