//! The manager's end of a connection to the agent inside an environment.
//!
//! A [`Client`] is one connection, and one connection does one thing at a time. What is asked and answered borrows the client; what goes on for a
//! while (an exec, a file's bytes, a watch, a dialled port) takes it, and gives it back where the connection is certain to be
//! at rest afterwards. Two things at once are two connections.
//!
//! Nothing here waits by the clock: an agent that says nothing, or says something harmless for ever, is bounded by the caller's
//! timeout. Everything else about it is bounded here: sizes, counts, turns, names. A client whose operation was
//! dropped midway answers [`AgentError::Abandoned`](crate::AgentError::Abandoned) from then on.

mod attached;
mod client;
pub(crate) mod connection;
mod dial;
mod exec;
mod file;
mod handshake;
mod transfer;
mod transport;
mod watch;

pub use attached::{Attached, Captured, Event, ExecReceiver, ExecSender};
pub use client::Client;
pub use dial::DialStream;
pub use exec::Processes;
pub use file::Listing;
pub use handshake::new_key;
pub use transfer::{FileReader, FileWriter};
pub use transport::{Plain, Transport};
pub use watch::{Change, Watcher};
