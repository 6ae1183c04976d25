//! The door over real connections: who may ask what in which state, and in what shape it is answered.

mod connection;
mod description;
mod exec;
mod file;
mod house;
mod idempotency;
mod secrecy;
mod service;
mod shape;
mod stream;
mod table;
mod ticket;
