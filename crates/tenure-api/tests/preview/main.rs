//! Previews, from a visitor's connection to a server inside: real HTTP on both ends, and servers that mean harm.

#![allow(clippy::unwrap_used)]

mod credential;
mod host;
mod hostile;
mod house;
mod path;
mod stream;
mod websocket;
