//! The door: routes, wire types, authentication, one error table, OpenAPI.
//!
//! ```text
//! connection ─► server.rs   bounds on time and size
//!      ─► layer.rs          request ID, host, origin, who it is (auth.rs): before anything of the request is looked at
//!      ─► route.rs          one route for each operation of the table
//!      ─► session.rs …      one file for each noun: reads what was sent, asks the engine, writes what it says (wire/)
//!      ─► problem.rs        every error, in one shape
//! ```
//!
//! It decides nothing about sessions, and knows no store and no driver.

pub mod auth;
mod host;
pub mod jwt;
mod meters;
pub mod preview;
pub mod problem;
mod state;
pub mod ticket;

pub use meters::HttpMeters;
pub use state::{DoorParts, DoorState, PreviewSettings};
