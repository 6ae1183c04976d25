//! The door over real connections: who may ask what in which state, and in what shape it is answered.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connection;
mod description;
mod exec;
mod file;
mod house;
mod idempotency;
mod lease;
mod secrecy;
mod service;
mod shape;
mod stream;
mod table;
mod terminal;
mod ticket;
