//! Attempts to get out of an environment, or to see what is outside: each must fail inside, and the agent and the manager go on.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

#[path = "escapes/files.rs"]
mod files;

mod ground;
#[path = "escapes/kernel.rs"]
mod kernel;
#[path = "escapes/network.rs"]
mod network;
#[path = "escapes/privilege.rs"]
mod privilege;
#[path = "escapes/processes.rs"]
mod processes;

use ground::Storage;

fn main() {
    let trials = [files::trials(), kernel::trials(), network::trials(), privilege::trials(), processes::trials()];
    ground::main(&[Storage::Pool], trials.into_iter().flatten().collect());
}
