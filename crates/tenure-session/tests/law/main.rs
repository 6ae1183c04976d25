//! The law of sessions as a suite of checks over a [`law::Law`]: the right one passes all of them, each wrong one fails some.

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
