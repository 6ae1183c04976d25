//! Leases as a suite of checks over a [`law::Law`]: the right one passes all of them, each wrong one fails some.
//!
//! Three kinds of checks: rules with their numbers written out, lives compared with an independent model, and an exhaustive walk through every order of
//! events in small worlds. The walk is a breadth-first search of its own, sixty lines: a law is a value here, so that dozens of wrong ones can be walked by
//! one compiled program, and the states are a handful of numbers; a model checker would add a dependency and an actor framework around the same loop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod law;
#[allow(dead_code, reason = "shared with the suite of the whole law")]
#[path = "../law/sample.rs"]
mod sample;
#[macro_use]
#[path = "../law/trials.rs"]
mod trials;

mod life;
mod model;
mod rules;
mod walk;
mod world;
mod wrong;
