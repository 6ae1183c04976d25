//! The command line: every command and what all of them take.

use crate::command::contract::{
    self, CleanupTtl, EnvironmentAccess, ExecutionEnvironment, FailureClassification, SessionIdentity,
    SessionLifecycle, SessionStatus,
};
use crate::command::{
    attach, audit, backup, completions, config, exec, execs, file, key, lease, preview, run, selftest, serve, session,
    template,
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The heading of what every command takes.
const GLOBAL: &str = "Global options";

/// Runs durable, isolated sessions.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The configuration [env: TENURE_CONFIG] [default: /etc/tenure/tenure.toml as root, else
    /// tenure/tenure.toml in the XDG configuration directory]
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,

    /// Where everything is kept [env: TENURE_DATA_DIR] [default: /var/lib/tenure as root, else the
    /// XDG state directory]
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    pub data_dir: Option<PathBuf>,

    /// Where the server is [env: TENURE_URL] [default: where it listens on this host]
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL)]
    pub url: Option<String>,

    /// The token of the lease that one holds [env: TENURE_LEASE_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN", help_heading = GLOBAL)]
    pub lease_token: Option<String>,

    /// Print JSON for programs instead of text for people
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,

    /// Say what is being done
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: sessions over HTTP, until SIGTERM
    Serve(serve::Args),
    /// Run a program in an environment of its own, which is gone afterwards
    Run(run::Args),
    /// Make, list, read, pause, resume and end sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Hold a session, so that nobody else works in it meanwhile
    #[command(subcommand)]
    Lease(lease::Command),
    /// Run a program in a session
    Exec(exec::Args),
    /// Open a terminal in a session, or come back to one
    Attach(attach::Args),
    /// List the programs that were run in a session, read what they printed, signal them
    #[command(subcommand)]
    Execs(execs::Command),
    /// Read, write, list and follow the files of a session
    #[command(subcommand)]
    File(file::Command),
    /// Make ports of a session reachable from outside
    #[command(subcommand)]
    Preview(preview::Command),
    /// Add, list, show and remove templates: the roots that environments are made from
    #[command(subcommand)]
    Template(template::Command),
    /// Make, list, revoke and rotate API keys
    #[command(subcommand)]
    Key(key::Command),
    /// List what was done, and verify that the record of it is as it was written
    #[command(subcommand)]
    Audit(audit::Command),
    /// Copy what is remembered into a data directory of its own, also while a server runs
    Backup(backup::Args),
    /// Check the configuration, or show it and where each value was written
    #[command(subcommand)]
    Config(config::Command),
    /// Say which walls and limits this host can give, and what to do where one is missing
    Doctor,
    /// Try on this host what is promised: kill a server of its own, and compare
    Selftest(selftest::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Contract: whether an identity is complete and well formed
    #[command(subcommand)]
    SessionIdentity(SessionIdentity),
    /// Contract: the state of a session, and moving it
    #[command(subcommand)]
    SessionLifecycle(SessionLifecycle),
    /// Contract: the environment of a session
    #[command(subcommand)]
    ExecutionEnvironment(ExecutionEnvironment),
    /// Contract: access to an environment, granted or denied
    #[command(subcommand)]
    EnvironmentAccess(EnvironmentAccess),
    /// Contract: what a session's user sees of it
    #[command(subcommand)]
    SessionStatus(SessionStatus),
    /// Contract: how bad a failure is, and what helps
    #[command(subcommand)]
    FailureClassification(FailureClassification),
    /// Contract: whether a session is to be cleaned up, and cleaning up
    #[command(subcommand)]
    CleanupTtl(CleanupTtl),
}

impl Cli {
    /// Contracts speak JSON; the audit, which is one and is looked at by people too, only where no terminal shows it.
    pub fn for_whom(mut self, terminal: bool) -> Cli {
        let audit = matches!(self.command, Command::Audit(_)) && !terminal;
        self.global.json |= audit || self.command.is_contract();
        self
    }
}

impl Command {
    /// Whether it speaks JSON only.
    fn is_contract(&self) -> bool {
        match self {
            Command::SessionIdentity(_)
            | Command::SessionLifecycle(_)
            | Command::ExecutionEnvironment(_)
            | Command::EnvironmentAccess(_)
            | Command::SessionStatus(_)
            | Command::FailureClassification(_)
            | Command::CleanupTtl(_) => true,
            Command::Serve(_)
            | Command::Run(_)
            | Command::Session(_)
            | Command::Lease(_)
            | Command::Exec(_)
            | Command::Attach(_)
            | Command::Execs(_)
            | Command::File(_)
            | Command::Preview(_)
            | Command::Template(_)
            | Command::Key(_)
            | Command::Audit(_)
            | Command::Backup(_)
            | Command::Config(_)
            | Command::Doctor
            | Command::Selftest(_)
            | Command::Completions(_) => false,
        }
    }
}

/// Whether these words, which were not understood, were meant for a contract.
pub fn is_contract(words: &[String]) -> bool {
    let first = words.iter().find(|word| !word.starts_with('-'));
    first.is_some_and(|word| contract::NAMES.contains(&word.as_str()))
}
