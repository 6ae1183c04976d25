//! What managers, the keeper and its stems say to each other: JSON in packets, with descriptors beside it.
//!
//! A packet is whole or not there at all (`SOCK_SEQPACKET`). New fields need a default, so that a manager and a keeper one version apart understand
//! each other.

use super::berth::Berth;
use crate::walls::order::Order;
use crate::walls::step::Failed;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest packet in bytes.
pub const PACKET_MAX: usize = 64 * 1024;
/// Most descriptors with one packet.
pub const FILES_MAX: usize = 4;

/// A manager to the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Make an environment; answered by [`Answer::Created`] or [`Answer::Failed`] with the same number.
    Create {
        /// The manager's own number.
        request: u64,
        /// What to make.
        order: Box<Order>,
    },
    /// The environment in this berth ends by then, also while it is frozen and its agent hears no timer.
    Deadline {
        /// The berth.
        berth: String,
        /// Milliseconds of `CLOCK_BOOTTIME`, or none.
        deadline_boot_ms: Option<u64>,
        /// How long its agent takes about it, if it is not frozen.
        grace_ms: u64,
    },
    /// End the environment in this berth at once; [`Answer::Ended`] and [`Answer::Cleaned`] follow.
    Kill {
        /// The berth.
        berth: String,
    },
    /// End all environments, clean up, and end.
    Quit,
}

/// The keeper to a manager.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The keeper is up; what it found.
    Up(Host),
    /// The keeper could not start, and ends.
    Unable(Failed),
    /// The agent listens. With it come the agent's process descriptor and its volume's directory.
    Created {
        /// Of the request.
        request: u64,
        /// Where it is.
        berth: Box<Berth>,
    },
    /// It could not be made, and nothing of it is left.
    Failed {
        /// Of the request.
        request: u64,
        /// Why.
        why: Failed,
    },
    /// An agent has ended.
    Ended {
        /// Where it was.
        berth: String,
        /// Its exit code, where it exited.
        exit_code: Option<i32>,
        /// The signal that killed it, where one did.
        signal: Option<i32>,
    },
    /// Nothing of it is left.
    Cleaned {
        /// Where it was.
        berth: String,
        /// What could not be removed, if anything.
        problem: Option<String>,
    },
    /// The keeper has nothing left and ends.
    Bye,
}

/// What the keeper found at its start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Host {
    /// Control groups in words.
    pub groups: String,
    /// Which limits are enforced.
    pub enforced: tenure_environment::Enforced,
    /// Whether environments can be frozen.
    pub freezes: bool,
    /// Whether the limits of an environment can be moved after it was made.
    #[serde(default)]
    pub limits_move: bool,
    /// Storage in words.
    pub storage: String,
    /// Why there is no storage pool, where there is none.
    pub pool_problem: Option<String>,
}

/// The keeper to a stem.
#[derive(Debug, Serialize, Deserialize)]
pub struct Build {
    /// What to build.
    pub order: Box<Order>,
}

/// A stem to the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Built {
    /// The berth is ready for an order.
    Ready,
    /// The first process is there, though not the agent yet; with it comes its process descriptor. It is the keeper's child, to end and to reap.
    Cloned,
    /// The agent was started; with it come the control socket and the volume's directory.
    Started {
        /// What there is now.
        berth: Box<Berth>,
    },
    /// A step failed.
    Failed(Failed),
}

/// Sends one packet.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    if text.len() > PACKET_MAX || files.len() > FILES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(files));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` when the other side is gone. Waits, unless the socket does not.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; PACKET_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut text)];
    let received = match rustix::net::recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        result => result?,
    };
    let files = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "packet too long"));
    }
    Ok(Some((serde_json::from_slice(&text[..received.bytes])?, files)))
}

/// A connected pair of packet sockets, closed on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::SEQPACKET, flags, None)?)
}
