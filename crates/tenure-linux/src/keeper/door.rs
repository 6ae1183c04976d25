//! The door of a lasting keeper: the socket at which it waits for its next manager, and how a manager comes in.
//!
//! The socket lies in the instance's directory, which only its owner can enter; who calls must have the same user ID as well. One manager at a
//! time: a second one is told so while the first one lives, and takes its place once it is dead.

use super::wire::{self, Greeting, Hello, VERSION_MAX, VERSION_MIN};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

const SOCKET: &str = "keeper";
/// Most callers who are in and have said nothing yet.
const CALLERS_MAX: usize = 8;
/// How long a keeper may take to answer: it never does anything that takes long.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// The listening socket, and who has come through it without a word.
pub struct Door {
    listener: OwnedFd,
    callers: Vec<OwnedFd>,
}

/// What a caller turned out to be.
pub enum Caller {
    /// A manager that said hello.
    Manager(OwnedFd, Hello),
    /// Nobody.
    Nobody,
}

impl Door {
    /// Opens it in the directory of an instance that this process owns.
    pub fn open(instance: &Path) -> io::Result<Door> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // Of a keeper before, which is dead: the instance is ours.
        let _ = std::fs::remove_file(instance.join(SOCKET));
        let directory = File::open(instance)?;
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = rustix::net::bind(&listener, &address(&directory)?);
        rustix::process::umask(umask);
        bound?;
        rustix::net::listen(&listener, CALLERS_MAX as i32)?;
        Ok(Door { listener, callers: Vec::new() })
    }

    /// The socket, for waiting.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Those who are in, for waiting.
    pub fn callers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.callers.iter().map(AsFd::as_fd)
    }

    /// Lets one in who has the right to.
    pub fn accept(&mut self) {
        let Ok(caller) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) else {
            return;
        };
        let same_user = rustix::net::sockopt::socket_peercred(&caller)
            .is_ok_and(|credentials| credentials.uid == rustix::process::geteuid());
        if same_user {
            if self.callers.len() == CALLERS_MAX {
                self.callers.remove(0);
            }
            self.callers.push(caller);
        }
    }

    /// Hears those who are in: the first of whom there is something to say.
    pub fn hear(&mut self) -> Option<Caller> {
        for index in 0..self.callers.len() {
            match wire::receive::<Hello>(&self.callers[index]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(Some((hello, _))) => return Some(Caller::Manager(self.callers.remove(index), hello)),
                Ok(None) | Err(_) => {
                    self.callers.remove(index);
                    return Some(Caller::Nobody);
                }
            }
        }
        None
    }
}

/// Through a descriptor, since a socket's path has at most 108 bytes.
fn address(directory: &File) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
}

/// Why a keeper could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum NotJoined {
    /// Another manager has it.
    #[error("another manager of this data directory lives")]
    Busy,
    /// It speaks other versions.
    #[error("the keeper speaks versions {0} to {1}, which are not spoken here")]
    NoVersion(u32, u32),
    /// It is not there, or is about to go.
    #[error("the keeper does not answer: {0}")]
    Absent(#[from] io::Error),
}

/// Joins the keeper of an instance; answers with the socket, its version and the keeper's process ID.
pub fn join(instance: &Path, berths_ready: usize) -> Result<(OwnedFd, u32, i32), NotJoined> {
    let directory = File::open(instance)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)?;
    rustix::net::connect(&socket, &address(&directory).map_err(io::Error::from)?).map_err(io::Error::from)?;
    let timeout = rustix::net::sockopt::Timeout::Recv;
    rustix::net::sockopt::set_socket_timeout(&socket, timeout, Some(ANSWER_PATIENCE)).map_err(io::Error::from)?;
    let credentials = rustix::net::sockopt::socket_peercred(&socket).map_err(io::Error::from)?;
    wire::send(&socket, &Hello { version_min: VERSION_MIN, version_max: VERSION_MAX, berths_ready }, &[])?;
    match wire::receive::<Greeting>(&socket)? {
        Some((Greeting::Welcome { version }, _)) => {
            rustix::net::sockopt::set_socket_timeout(&socket, timeout, None).map_err(io::Error::from)?;
            Ok((socket, version, credentials.pid.as_raw_nonzero().get()))
        }
        Some((Greeting::Busy, _)) => Err(NotJoined::Busy),
        Some((Greeting::NoVersion { version_min, version_max }, _)) => {
            Err(NotJoined::NoVersion(version_min, version_max))
        }
        None => Err(NotJoined::Absent(io::ErrorKind::UnexpectedEof.into())),
    }
}
