//! `tenure completions`: a completion script for a shell.

use crate::cli::Cli;
use crate::failure::Failure;
use clap::CommandFactory;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tenure", &mut script);
    super::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
