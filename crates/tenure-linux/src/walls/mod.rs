//! The walls around an environment: what is built before the agent starts, and by whom.
//!
//! ```text
//! stem (outside, still privileged)                      first process (inside all namespaces)
//! clone3 ────────────────────────────────────────────►  waits
//! write the ID maps
//! map the template and the volume to these IDs
//! overlay them, take the host's /usr ─── mounts ──────►  attach them; rootless: make the overlay itself
//!                                                        /proc, /sys, /dev, masks, limits of the user namespace
//!                                                        pivot_root, let the old root go
//!                                                        drop capabilities, install the system call filter
//!                                                        become the agent: exec from a sealed memfd
//! ```

pub mod ids;
pub mod init;
pub mod mounts;
pub mod order;
pub mod privilege;
pub mod root;
pub mod seccomp;
pub mod step;
mod syscalls;
