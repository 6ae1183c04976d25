//! The spare: a process with one thread, forked by a manager before it starts any other, that can fork a keeper when the manager itself no longer can.
//!
//! ```text
//! manager ── socket ── spare ── keeper     asked for one, it joins the data directory's living keeper, or forks one;
//!    └──────── socket ────────────┘        the manager gets their socket, and the spare keeps none of it
//! ```
//!
//! It does nothing until it is asked, and ends with its manager. A manager asks it at its start, and again when its keeper has died.

use super::start::{self, Obtained, Settings};
use super::wire;
use crate::process::SPARE_NAME;
use crate::sys::{self, Cloned};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A spare, as its manager has it.
#[derive(Debug)]
pub struct Spare {
    socket: OwnedFd,
    /// Names exactly this process.
    _pidfd: OwnedFd,
}

/// A spare to its manager.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// A keeper; with it come their socket and its process descriptor.
    Keeper { pid: i32, version: u32 },
    /// There is none.
    None { why: String },
}

impl Spare {
    /// Forks it. The caller must have one thread only.
    pub fn fork(settings: &Settings) -> io::Result<Spare> {
        let (ours, its) = wire::pair()?;
        #[allow(unsafe_code)]
        // SAFETY: the caller's promise: one thread.
        match unsafe { sys::fork() }? {
            Cloned::Parent { pidfd, .. } => Ok(Spare { socket: ours, _pidfd: pidfd }),
            Cloned::Child => {
                drop(ours);
                let prepared = start::detach(SPARE_NAME).and_then(|()| start::leave_everything(&[its.as_raw_fd()]));
                if prepared.is_ok() {
                    // Keepers that it forks are reaped by the kernel; each of them minds its own children again.
                    sys::never_reap();
                    serve(settings, &its);
                }
                sys::exit_now(0)
            }
        }
    }

    /// Gets the data directory's keeper. Waits for it; asked by one at a time.
    pub fn obtain(&self) -> io::Result<Obtained> {
        wire::send(&self.socket, &(), &[])?;
        match wire::receive::<Answer>(&self.socket)? {
            Some((Answer::Keeper { pid, version }, files)) => match <[OwnedFd; 2]>::try_from(files) {
                Ok([socket, pidfd]) => Ok(Obtained { socket, pid, pidfd, version }),
                Err(_) => Err(io::ErrorKind::InvalidData.into()),
            },
            Some((Answer::None { why }, _)) => Err(io::Error::other(why)),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spare is gone")),
        }
    }
}

fn serve(settings: &Settings, manager: &OwnedFd) {
    while let Ok(Some(((), _))) = wire::receive::<()>(manager) {
        let told = match start::obtain(settings) {
            Ok(Obtained { socket, pid, pidfd, version }) => {
                wire::send(manager, &Answer::Keeper { pid, version }, &[socket.as_fd(), pidfd.as_fd()])
            }
            Err(error) => wire::send(manager, &Answer::None { why: error.to_string() }, &[]),
        };
        if told.is_err() {
            return;
        }
    }
}
