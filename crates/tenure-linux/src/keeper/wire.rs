//! What managers, the keeper and its stems say to each other: JSON in packets, with descriptors beside it.
//!
//! ```text
//! manager                                keeper
//!    │ Hello {versions} ───────────────────►│   only on a connection that is made to a living keeper; one that the keeper
//!    │◄─────── Welcome {version} | Busy | … │   was forked with begins with Up, in the newest version
//!    │◄──────────────────────────────── Up  │
//!    │ Create, Bind, Deadline, Kill, … ────►│
//!    │◄────── Created, Bound, Ended, …      │
//! ```
//!
//! A packet is whole or not there at all (`SOCK_SEQPACKET`). Manager and keeper may be one version apart: the older one's version is spoken then. New
//! fields need a default; a new answer is given to a new request only, so that nobody hears what he does not know.
//!
//! | version | has |
//! |---|---|
//! | 1 | `Create`, `Deadline`, `Kill`, `Quit`; `Up`, `Unable`, `Created`, `Failed`, `Ended`, `Cleaned`, `Bye` |
//! | 2 | `Bind`, `List`, `Forget`, `Discard`; `Bound`, `Held`, `Listed` |
//! | 3 | `over` in the order of a `Create`, and `survived` in `Held` |

use super::berth::Berth;
use super::facts::Facts;
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

/// Oldest version that is understood.
pub const VERSION_MIN: u32 = 1;
/// Newest version that is spoken.
pub const VERSION_MAX: u32 = 3;

/// The newest version that both sides know.
pub fn choose_version(min: u32, max: u32) -> Option<u32> {
    let version = VERSION_MAX.min(max);
    (version >= VERSION_MIN && version >= min).then_some(version)
}

/// First packet on a connection to a living keeper.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest version that the manager speaks.
    pub version_min: u32,
    /// Newest version that the manager speaks.
    pub version_max: u32,
    /// How many berths shall wait for an order from now on.
    #[serde(default)]
    pub berths_ready: usize,
}

/// The keeper's answer to [`Hello`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greeting {
    /// The manager is served from now on.
    Welcome {
        /// The version of this connection.
        version: u32,
    },
    /// Another manager lives.
    Busy,
    /// There is no version that both speak.
    NoVersion {
        /// Oldest version that the keeper speaks.
        version_min: u32,
        /// Newest version that the keeper speaks.
        version_max: u32,
    },
}

/// A manager to the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Make an environment; answered by [`Answer::Created`] or [`Answer::Failed`] with the same number. A file that comes with it is kept open for as
    /// long as the environment runs: a lock, on its template say.
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
    /// The environment in this berth is given to a session; answered by [`Answer::Bound`]. One that was not outlives no manager.
    Bind {
        /// The manager's own number.
        request: u64,
        /// The berth.
        berth: String,
        /// What it is called from now on.
        environment: String,
        /// Its generation.
        generation: u64,
        /// When it has to be gone: milliseconds of `CLOCK_BOOTTIME`, or none.
        deadline_boot_ms: Option<u64>,
        /// How long its agent takes about it.
        grace_ms: u64,
    },
    /// Tell of all bound environments: [`Answer::Held`] for each, then [`Answer::Listed`].
    List {
        /// The manager's own number.
        request: u64,
    },
    /// Nobody needs to hear of this berth's environment any more, once it is cleaned up.
    Forget {
        /// The berth.
        berth: String,
    },
    /// [`Request::Kill`] and [`Request::Forget`] in one, whatever there is of it; [`Answer::Cleaned`] follows.
    Discard {
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
        /// How many processes of its environment the kernel had killed for memory by then, where there were any: its counter is about to go.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oom_kills: Option<u64>,
    },
    /// Nothing of it is left.
    Cleaned {
        /// Where it was.
        berth: String,
        /// What could not be removed, if anything.
        problem: Option<String>,
    },
    /// It is written down whose environment it is.
    Bound {
        /// Of the request.
        request: u64,
        /// Why it is not, where it is not.
        problem: Option<String>,
    },
    /// One bound environment. With it come, where it lives, its agent's process descriptor and its volume's directory.
    Held(Box<Facts>),
    /// All were told.
    Listed {
        /// Of the request.
        request: u64,
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
    send_text(socket, &encode(message)?, files)
}

/// The text of a packet.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    if text.len() > PACKET_MAX { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(text) }
}

/// Sends one packet that is encoded already.
pub fn send_text(socket: impl AsFd, text: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    if files.len() > FILES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(files));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(text)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet; `None` when the other side is gone. Waits, unless the socket does not.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; PACKET_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut text)];
    let mut once = || rustix::net::recvmsg(&socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC);
    let received = match once() {
        // The other side went without having read all; what it said before that is still there.
        Err(rustix::io::Errno::CONNRESET) => match once() {
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            result => result?,
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-10
    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        assert_eq!(choose_version(1, 1), Some(1), "a manager one version behind");
        assert_eq!(choose_version(1, 2), Some(2));
        assert_eq!(choose_version(2, 9), Some(3), "a manager ahead");
        assert_eq!(choose_version(4, 9), None);
        assert_eq!(choose_version(0, 0), None);
    }

    /// EN-10: what an older version says is understood for ever; what is new in it has a default.
    #[test]
    fn packets_of_version_1_are_understood() {
        for text in [
            r#""quit""#,
            r#"{"kill":{"berth":"b000001"}}"#,
            r#"{"deadline":{"berth":"b000001","deadline_boot_ms":null,"grace_ms":5000}}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_ok(), "{text}");
        }
        let hello: Hello = serde_json::from_str(r#"{"version_min":1,"version_max":1}"#).unwrap();
        assert_eq!((choose_version(hello.version_min, hello.version_max), hello.berths_ready), (Some(1), 0));
    }
}
