//! How far a berth is, and the agent that runs in one.

use super::facts::Facts;
use super::ground::Side;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;
use tenure_protocol::Key;

/// How far a berth is.
pub enum Place {
    /// Its stem makes it ready.
    Preparing(Side),
    /// Its stem waits for an order.
    Ready(Side),
    /// Its stem builds.
    Building { stem: Side, order: Ordered, child: Option<OwnedFd> },
    /// Its agent runs, and does not listen yet.
    Starting { stem: Side, order: Ordered, agent: Agent, volume_dir: OwnedFd },
    /// Its agent listens.
    Live { agent: Agent },
    /// Its agent, which is not our child, has ended, and the kernel may yet say how.
    Fading { agent: Agent, until: Instant },
    /// What it left is taken down.
    Cleaning(Side),
}

/// What an order left to remember.
pub struct Ordered {
    /// The manager's number; none once that manager is gone.
    pub request: Option<u64>,
    /// What the environment shares with its manager.
    pub key: Key,
    /// How long its agent takes about its end.
    pub grace_ms: u64,
    /// Locks on what it stands on.
    pub held: Vec<OwnedFd>,
}

/// A running agent.
pub struct Agent {
    /// Who it is.
    pub facts: Box<Facts>,
    /// Names exactly its process.
    pub pidfd: OwnedFd,
    /// The agent sees here that its keeper is gone. None for one that another keeper made.
    pub control: Option<OwnedFd>,
    /// Locks on what it stands on, its template say, which stay for as long as it runs. They are kept out here: whoever has one can take it for
    /// himself alone.
    pub _held: Vec<OwnedFd>,
    /// Whether it was killed from here.
    pub killed: bool,
}

impl Place {
    /// The agent that runs here, if one does.
    pub fn agent(&self) -> Option<&Agent> {
        match self {
            Place::Starting { agent, .. } | Place::Live { agent } => Some(agent),
            Place::Preparing(_)
            | Place::Ready(_)
            | Place::Building { .. }
            | Place::Fading { .. }
            | Place::Cleaning(_) => None,
        }
    }

    /// As [`Place::agent`], and one that has ended in an unknown way.
    pub fn process(&self) -> Option<&Agent> {
        match self {
            Place::Fading { agent, .. } => Some(agent),
            other => other.agent(),
        }
    }

    /// As [`Place::process`], to change it.
    pub fn process_mut(&mut self) -> Option<&mut Agent> {
        match self {
            Place::Starting { agent, .. } | Place::Live { agent } | Place::Fading { agent, .. } => Some(agent),
            Place::Preparing(_) | Place::Ready(_) | Place::Building { .. } | Place::Cleaning(_) => None,
        }
    }

    /// The descriptors on which something happens next.
    pub fn watched(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Place::Preparing(stem) | Place::Ready(stem) | Place::Building { stem, .. } => vec![stem.socket.as_fd()],
            Place::Starting { agent, .. } => agent.control.iter().map(AsFd::as_fd).collect(),
            Place::Live { agent } => vec![agent.pidfd.as_fd()],
            // Only time brings it on.
            Place::Fading { .. } => Vec::new(),
            Place::Cleaning(side) => vec![side.pidfd()],
        }
    }
}
