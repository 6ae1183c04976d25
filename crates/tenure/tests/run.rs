//! `tenure run` as its caller sees it: what goes in, what comes out, how it ends.
#![allow(clippy::unwrap_used)]

#[path = "run/ends.rs"]
mod ends;
#[path = "run/errors.rs"]
mod errors;
#[path = "run/json.rs"]
mod json;
#[path = "run/limits.rs"]
mod limits;
#[path = "run/ordinary.rs"]
mod ordinary;
#[path = "run/place.rs"]
mod place;
#[path = "run/signals.rs"]
mod signals;
#[path = "run/streams.rs"]
mod streams;
mod support;
