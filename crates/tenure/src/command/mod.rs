//! One file per command.

pub mod attach;
mod attach_modes;
pub mod audit;
pub mod backup;
pub mod completions;
pub mod config;
pub mod contract;
pub mod doctor;
pub mod exec;
mod exec_input;
pub mod execs;
pub mod file;
pub mod key;
pub mod lease;
pub mod preview;
pub mod run;
mod run_files;
mod run_stdio;
pub mod selftest;
mod selftest_host;
mod selftest_server;
mod selftest_traces;
mod selftest_trial;
pub mod serve;
pub mod session;
mod session_create;
pub mod show;
mod table;
pub mod template;
pub mod template_remote;

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
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
