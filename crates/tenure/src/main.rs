//! The `tenure` command: reads the command line, starts what the command needs, and turns its outcome into an exit code.

mod cli;
mod client;
mod command;
mod config;
mod data_dir;
mod failure;
#[cfg(test)]
mod reference;
mod surroundings;
mod terminal;
mod wiring;

use clap::Parser;
use cli::{Cli, Command, Global};
use client::Reach;
use command::contract;
use command::show::Show;
use command::template_remote::is_served;
use config::{Config, Flag, Flags, Sources};
use failure::Failure;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use surroundings::Surroundings;

/// A request makes and frees some dozens of small things, often on another thread: this one is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let words = words(std::env::args_os());
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli.for_whom(std::io::stdout().is_terminal()),
        Err(error) => {
            let words: Vec<String> = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            return failure::usage(&error, &words, cli::is_contract(&words));
        }
    };
    let json = cli.global.json;
    let for_run = matches!(cli.command, Command::Run(_) | Command::Exec(_) | Command::Attach(_));
    match run(cli, &Surroundings::look()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(json, for_run),
    }
}

/// The command line. Called by the name of a contract, that is the subcommand.
fn words(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = given.collect();
    let name = words.first().and_then(|first| Path::new(first).file_name()?.to_str().map(str::to_owned));
    if let Some(name) = name.filter(|name| contract::NAMES.contains(&name.as_str())) {
        words.splice(..1, ["tenure".into(), name.into()]);
    }
    words
}

fn run(cli: Cli, surroundings: &Surroundings) -> Result<u8, Failure> {
    let global = &cli.global;
    let here = |flags: &Flags| context(global, surroundings, flags);
    let plain = || here(&Flags::default());
    let reach = || reach(global, surroundings);
    let client = || reach().client();
    let show = Show { json: global.json };
    match cli.command {
        Command::Serve(args) => command::serve::run(&here(&args)?),
        Command::Run(args) => command::run::run(&plain()?, args),
        Command::Backup(args) => wait(command::backup::run(&plain()?, &reach(), &args)),
        Command::Doctor => command::doctor::run(&plain()?),
        Command::Selftest(args) => command::selftest::run(&plain()?, &args),
        Command::Config(command) => {
            let sources = sources(global, surroundings, command.flags());
            command::config::run(&sources, &command, global.json)
        }
        Command::Completions(args) => command::completions::run(&args),
        Command::Template(command) => {
            let named = global.url.is_some() || surroundings.variable("TENURE_URL").is_some();
            let context = if named { None } else { Some(plain()?) };
            match context.filter(|context| !is_served(&context.data_dir)) {
                Some(context) => command::template::run(&context, command),
                None => wait(command::template_remote::run(&client()?, show, command)),
            }
        }
        Command::Session(command) => wait(command::session::run(&client()?, show, command)),
        Command::Lease(command) => wait(command::lease::run(&client()?, show, command)),
        Command::Exec(args) => wait(command::exec::run(&client()?, show, args)),
        Command::Attach(args) => wait(command::attach::run(&client()?, show, args)),
        Command::Execs(command) => wait(command::execs::run(&client()?, show, command)),
        Command::File(command) => wait(command::file::run(&client()?, show, command)),
        Command::Preview(command) => wait(command::preview::run(&client()?, show, command)),
        Command::Key(command) => wait(command::key::run(&client()?, show, command)),
        Command::Audit(command) => match command.offline() {
            Some(args) => command::audit::verify_file(show, args),
            None => wait(command::audit::run(&client()?, show, command)),
        },
        Command::SessionIdentity(command) => contract::session_identity(&command),
        Command::FailureClassification(command) => contract::failure_classification(&command),
        Command::SessionLifecycle(command) => wait(contract::session_lifecycle(client, &command)),
        Command::ExecutionEnvironment(command) => wait(contract::execution_environment(client, &command)),
        Command::EnvironmentAccess(command) => wait(contract::environment_access(client, &command)),
        Command::SessionStatus(command) => wait(contract::session_status(client, &command)),
        Command::CleanupTtl(command) => wait(contract::cleanup_ttl(client, &command)),
    }
}

/// Waits for what a server is asked.
fn wait(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = command::runtime()?;
    let outcome = runtime.block_on(work);
    // Standard input may be waited for still; nobody waits for that.
    runtime.shutdown_background();
    outcome
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

/// Which server is meant.
fn reach(global: &Global, surroundings: &Surroundings) -> Reach {
    let variable = |name: &str| surroundings.variable(name).map(str::to_owned);
    Reach {
        url: global.url.clone().or_else(|| variable("TENURE_URL")),
        api_key: variable("TENURE_API_KEY"),
        lease_token: global.lease_token.clone().or_else(|| variable("TENURE_LEASE_TOKEN")),
        sources: sources(global, surroundings, &Flags::default()),
        verbose: global.verbose,
    }
}
