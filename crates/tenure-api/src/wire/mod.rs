//! What travels: every answer's shape, and every request's as it is described. One file for each noun.
//!
//! Answers are written from these types. Requests are read by the engine's own, which know the rules; those here describe them, and a test holds the two
//! together.

pub mod access;
pub mod audit;
pub mod cleanup;
pub mod environment;
pub mod exec;
pub mod explanation;
pub mod file;
pub mod key;
pub mod lease;
pub mod preview;
pub mod problem;
pub mod service;
pub mod session;
pub mod session_request;
pub mod template;
pub mod terminal;
pub mod ticket;
pub mod words;

use serde::Serialize;
use utoipa::ToSchema;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listed<T> {
    /// Its items.
    pub items: Vec<T>,
    /// Where the next page begins, for `cursor`; `null` where this is the last.
    pub next_cursor: Option<String>,
}
