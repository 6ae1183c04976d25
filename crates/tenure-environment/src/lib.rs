//! What an environment can be asked: the driver and environment traits, their plain data, and the client of the agent inside.
//!
//! ```text
//! caller ──► Driver::create(spec) ──► Environment ──► observe, freeze, thaw, set_limits, destroy   what is done to it from outside
//!                                          └──► connect() ──► Client                               what is done inside it, by its agent
//! ```
//!
//! A driver's own list is short, because all that happens inside is a message to the agent ([`agent::Client`]), which is the same behind
//! every driver. This crate knows no kernel, no store and no HTTP; it reads no clock and sets no timeout: those are the caller's.
//!
//! With the feature `fake` there is an in-memory driver for unit tests, with `conformance` the suite that every driver must pass.

mod adopt;
pub mod agent;
#[cfg(feature = "conformance")]
pub mod conformance;
mod driver;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
mod id;
mod limits;
mod observe;
mod quantity;
mod spec;

pub use adopt::{Adopt, Adopted};
pub use agent::{Client, Transport};
pub use driver::{Driver, Environment};
pub use error::{AgentError, EnvironmentError};
pub use id::{EnvironmentId, Generation, InvalidEnvironmentId};
pub use limits::{Enforced, InvalidLimit, Limit, ResourceLimits};
pub use observe::{EnvironmentEnd, HostReport, KernelLimit, Observation, Wall, WallState};
pub use quantity::{NotAQuantity, parse_bytes, parse_cpus};
pub use spec::EnvironmentSpec;
/// The messages of the agent, for those who name what they ask and hear.
pub use tenure_protocol as protocol;
