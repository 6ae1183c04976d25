//! Kills a server under real load, again and again, and checks a model of what it acknowledged.
//!
//! Nothing of it is in the product, and nothing in the product knows of it: it speaks HTTP, kills by process ID, and reads the kernel's own tables.
//! What it does, and how a run is repeated: README.md.

pub mod check;
pub mod client;
pub mod clock;
pub mod disk;
pub mod facts;
pub mod fault;
pub mod http;
mod input;
#[allow(clippy::unwrap_used, missing_docs, dead_code, reason = "what a test asserts, a harness asserts")]
#[path = "../../crates/tenure/tests/leftovers/kernel.rs"]
mod kernel;
mod lease;
mod load;
pub mod point;
pub mod process;
pub mod random;
pub mod report;
pub mod run;
pub mod schedule;
pub mod server;
pub mod spoil;
pub mod strike;
pub mod tear;
mod terminal;
pub mod tracer;

pub use report::Report;
pub use run::{Plan, directory, run};
pub use schedule::{Kill, Menu};
pub use spoil::Spoil;
