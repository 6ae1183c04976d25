//! What all environments of one keeper stand on, and the processes it starts beside itself.

use super::wire;
use crate::cgroup::Parent;
use crate::instance::Instance;
use crate::storage::{Owner, Volumes};
use crate::sys::{self, Cloned};
use crate::walls::init::Shared;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What all environments of this keeper stand on.
pub struct Ground {
    /// What each is built from.
    pub shared: Shared,
    /// Where their control groups go.
    pub groups: Parent,
    /// Where their files go.
    pub volumes: Volumes,
    /// Whose they are.
    pub instance: Instance,
    /// Names this boot of the host.
    pub boot_id: String,
    /// Whether this kernel has time namespaces.
    pub time_namespace: bool,
}

impl Ground {
    /// How a berth's agent is named from outside.
    pub fn mark(&self, berth: &str) -> CString {
        CString::new(format!("{}/{berth}", self.instance.uuid)).expect("hex digits and a berth's name hold no NUL")
    }

    /// Whose a berth's files are, where another boot left them: they are kept until somebody wants them, or discards them.
    pub fn survivor(&self, berth: &str) -> Option<Owner> {
        self.volumes.owner(berth).filter(|owner| owner.boot_id != self.boot_id)
    }

    /// Where a berth has its agent's socket.
    pub fn socket_dir(&self, berth: &str) -> PathBuf {
        self.instance.sockets().join(berth)
    }

    /// Does something in a process of its own; what goes wrong comes back as text.
    pub fn beside(&self, work: impl FnOnce() -> io::Result<()>) -> io::Result<Side> {
        self.fork(|socket| {
            let problem = work().err().map(|error| error.to_string());
            let _ = wire::send(socket, &problem, &[]);
        })
    }

    /// Forks a process that talks to the keeper over a socket of its own, and holds nothing else of the keeper's: neither its other sockets, which
    /// would look alive after their owner's death, nor those of other children. The instance's lock it holds, since it works on the instance.
    pub fn fork(&self, work: impl FnOnce(&OwnedFd)) -> io::Result<Side> {
        let (ours, its) = wire::pair()?;
        #[allow(unsafe_code)]
        // SAFETY: the keeper has one thread.
        match unsafe { sys::fork() }? {
            Cloned::Parent { pidfd, .. } => Ok(Side { pidfd, socket: ours }),
            Cloned::Child => {
                let kept = [its.as_raw_fd(), self.shared.agent.as_raw_fd(), self.instance.lock.as_raw_fd()];
                if sys::close_all_but(&kept).is_ok() {
                    work(&its);
                }
                sys::exit_now(0)
            }
        }
    }
}

/// A child of the keeper that is no agent.
#[derive(Debug)]
pub struct Side {
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// The keeper's end of their socket.
    pub socket: OwnedFd,
}

impl Side {
    /// Reaps one that has ended or is about to.
    pub fn reap(&self) {
        let _ = waitid(WaitId::PidFd(self.pidfd()), WaitIdOptions::EXITED);
    }

    /// Its process descriptor, for waiting.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Reaps one that was started by [`Ground::beside`]; what went wrong, if anything.
    pub fn finish(self) -> Option<String> {
        self.reap();
        match wire::receive::<Option<String>>(&self.socket) {
            Ok(Some((problem, _))) => problem,
            Ok(None) => Some("the cleaner ended before it was done".into()),
            Err(error) => Some(error.to_string()),
        }
    }
}
