//! The store behind SQLite: migrations, one writer with group commit, readers.
//!
//! ```text
//!  Store::session_move ─┐                       ┌─ savepoint, change, release ─┐
//!  Store::exec_intend  ─┼─► queue ─► one writer ┤  savepoint, change, release  ├─► commit once ─► answer all
//!  Store::audit_append ─┘            thread     └─ savepoint, change, release ─┘
//!
//!  Store::session_get  ───► a connection of the pool, on the caller's own thread: what it reads is in the page cache
//!  Store::session_list ───► a connection of another pool, on a thread that may block
//! ```
//!
//! What must never change is guarded by the schema itself (`migrations/`), whoever writes. Why it is built like this and what it costs stands in
//! `docs/adr/0003-sqlite.md`.

mod audit;
mod backup;
mod clock;
mod connection;
mod cursor;
mod exec;
mod failure;
mod heads;
mod idempotency;
mod key;
mod lock;
mod migration;
mod open;
mod port;
mod preview;
mod readers;
mod retention;
mod row;
mod session;
mod template;
mod writer;

#[cfg(test)]
mod tests;

pub use backup::{backup, has_entry_of};
pub use heads::HeadSigning;
pub use open::{MakeRoom, OpenError, SqliteOptions, SqliteStore};
