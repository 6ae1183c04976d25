//! The engine over a fake driver, a real store in memory, and a clock that the tests hold.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod access;
mod activity;
mod admin;
mod attempt;
mod clock;
mod creation;
mod driver;
mod ending;
mod events;
mod execs;
mod host;
mod idempotency;
mod lease;
mod model;
mod pause;
mod reached;
mod recovery;
mod remake;
mod retention;
mod sweeper;
mod terminal;
mod trouble;
mod world;
