//! The keeper: the process that makes environments, is the parent of their agents, and reaps them.
//!
//! ```text
//! manager ── socket ── keeper ─┬─ stem       waits in a fresh control group with a blank volume: one berth
//!                              ├─ stem       told what to build, it clones the agent as its sibling, and ends
//!                              ├─ agent      PID 1 of an environment
//!                              └─ cleaner    takes down a berth whose agent has ended
//! ```
//!
//! It is forked before the manager starts any thread, and has one thread itself: cloning from a process with several can deadlock. It never
//! waits for a disk or the kernel: what may take time is done by a stem or a cleaner. A berth is made ahead of time because the first write to a
//! `cgroup.procs` after some quiet takes 5 to 15 ms.
//!
//! A lasting keeper, a server's, goes on without its manager: it reaps and remembers how agents ended, holds deadlines, and waits at its [`door`] for
//! the next manager. What it knows is in its [`facts`], of which the next keeper makes use should it be killed: see [`recover`]. Who starts that
//! one is the [`spare`].
//!
//! It works in a mount namespace of its own, in which alone the storage pool is mounted.

mod advance;
mod berth;
mod clean;
mod client;
mod door;
mod facts;
mod ground;
mod link;
mod lives;
mod manage;
mod place;
mod recover;
mod serve;
mod spare;
mod start;
mod stem;
mod wire;

pub use crate::walls::order::{Order, Over};
pub use berth::{Berth, SOCKET_NAME};
pub use client::{KeeperClient, watched};
pub use facts::{Bound, End, Facts};
pub use lives::{Created, Files, Held, Life};
pub use start::{KeeperProcess, Settings, start};
pub use stem::NO_FILES;
pub use wire::Host;
