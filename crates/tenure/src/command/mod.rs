//! One file per command.

pub mod completions;
pub mod config;
pub mod doctor;
pub mod run;
mod run_files;
mod run_stdio;
mod table;
pub mod template;

use crate::failure::Failure;
use std::io::Write;

/// Prints to standard output. A reader that has gone away is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A runtime for one command. Keepers are forked before, since it may start threads.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
