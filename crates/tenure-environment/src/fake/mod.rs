//! Environments in memory, for unit tests of what stands above the port.
//!
//! They speak the real protocol over a stream within the process, so that the client is the one that is used in earnest. Programs
//! do what the test's closure says; files are a map; nothing is isolated and nothing is enforced. It must run within a tokio
//! runtime.

mod agent;
mod environment;
mod pipe;
mod program;
mod tree;

pub use environment::{Adoption, FakeDriver, FakeEnvironment};
pub use program::{Call, Script, Then};
pub use tree::Tree;
