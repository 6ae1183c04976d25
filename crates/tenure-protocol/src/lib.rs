//! The messages between a manager and the agent inside an environment: framing, versions, the handshake, and a limit on every field.
//!
//! One connection carries one thing at a time: a request, then whatever belongs to it, then the next request. Two
//! operations at once are two connections, so that the kernel's socket buffers are the only flow control there is and a
//! slow reader holds up nobody else. The bytes are the same over any byte stream; the one thing that needs a Unix socket
//! is handing over the files that an exec's output is written to ([`Sink::File`]), and [`Sink::Frames`] does without.
//!
//! ```text
//! manager                                    agent
//!    │ ── hello {versions, nonce} ────────────► │
//!    │ ◄───────── challenge {version, nonce, proof} │   proof: the agent holds the environment's key
//!    │ ── prove {proof} ──────────────────────► │   proof: so does the manager
//!    │ ◄──────────────────────────── welcome ── │
//!    │ ── exec {…} [+ descriptors] ───────────► │
//!    │ ◄────────────────────────── started {pid} │
//!    │ ── data(stdin) … stdin_eof, resize, signal ► │   in any order, any number
//!    │ ◄── data(stdout), data(stderr) | progress ── │
//!    │ ◄─────────────────────────── exited {end} │
//!    │ ── next request ───────────────────────► │
//! ```
//!
//! Both ends are hostile to each other: whatever does not decode, is too long, or comes out of turn ends the connection.

mod boot;
mod frame;
mod handshake;
mod limits;
mod message;
mod validate;

pub use boot::*;
pub use frame::{Decoder, Frame, FrameError, Stream, encode_data, encode_message};
pub use handshake::{Key, Nonce, Proof, Side, Transcript, VERSION_MAX, VERSION_MIN, choose_version};
pub use limits::*;
pub use message::*;
pub use validate::Invalid;
