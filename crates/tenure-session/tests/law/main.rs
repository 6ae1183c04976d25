//! The law of sessions as a suite of checks over a [`law::Law`]: the right one passes all of them, each wrong one fails some.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod law;
mod sample;
#[macro_use]
mod trials;

mod caller;
mod clock;
mod crash;
mod ending;
mod execs;
mod failure;
mod id;
mod limits;
mod machine;
mod model;
mod order;
mod simulation;
mod table;
mod view;
mod wrong;
