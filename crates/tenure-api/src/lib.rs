//! The door: routes, wire types, authentication, one error table, OpenAPI.
//!
//! ```text
//! connection ─► server.rs   bounds on time and size
//!      ─► pass.rs           request ID, host, origin, panics: the same for all
//!      ─► route.rs          one route for each operation of the table
//!      ─► auth.rs           who it is, before anything of the request is looked at
//!      ─► session.rs …      one file for each noun: reads what was sent, asks the engine, writes what it says (wire/)
//!      ─► problem.rs        every error, in one shape
//! ```
//!
//! It decides nothing about sessions, and knows no store and no driver.

mod access;
mod asked;
mod audit;
pub mod auth;
mod backup;
mod body;
mod cleanup;
mod door;
mod environment;
mod exec;
mod file;
mod host;
pub mod jwt;
mod key;
mod lease;
mod meters;
mod often;
pub mod openapi;
mod pass;
pub mod preview;
mod previews;
pub mod problem;
mod query;
mod route;
mod server;
mod service;
mod session;
mod sse;
mod state;
mod template;
mod terminal;
pub mod ticket;
mod ticket_route;
mod watch;
pub mod wire;

pub use door::Door;
pub use meters::HttpMeters;
pub use route::{Route, RouteMethod, route};
pub use server::ServeSettings;
pub use state::{AuditProof, DoorParts, DoorState, HeadsReader, PreviewSettings};
