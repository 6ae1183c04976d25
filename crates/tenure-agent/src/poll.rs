//! The one epoll instance: what is waited for, and whom an event is for.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{self, Errno};
use std::rc::Rc;

/// Whom an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Somebody wants to connect.
    Listener,
    /// The keeper's socket.
    Control,
    /// A child changed its state.
    Signals,
    /// The hard deadline.
    Deadline,
    /// A manager's connection.
    Connection(u64),
    /// Something that a connection's task waits for besides the connection: a dialled port, a watch.
    Aside(u64),
    /// One of an exec's pipes.
    Exec(u64),
}

const KIND_SHIFT: u32 = 56;

impl Token {
    fn encode(self) -> u64 {
        let (kind, id) = match self {
            Token::Listener => (0, 0),
            Token::Control => (1, 0),
            Token::Signals => (2, 0),
            Token::Deadline => (3, 0),
            Token::Connection(id) => (4, id),
            Token::Aside(id) => (5, id),
            Token::Exec(id) => (6, id),
        };
        (kind << KIND_SHIFT) | id
    }

    fn decode(data: u64) -> Option<Token> {
        let id = data & ((1 << KIND_SHIFT) - 1);
        Some(match data >> KIND_SHIFT {
            0 => Token::Listener,
            1 => Token::Control,
            2 => Token::Signals,
            3 => Token::Deadline,
            4 => Token::Connection(id),
            5 => Token::Aside(id),
            6 => Token::Exec(id),
            _ => return None,
        })
    }
}

/// The epoll instance.
#[derive(Debug)]
pub struct Poller(OwnedFd);

/// Most events taken at once; the rest comes in the next round.
const EVENTS_MAX: usize = 64;

impl Poller {
    pub fn new() -> io::Result<Rc<Poller>> {
        Ok(Rc::new(Poller(epoll::create(epoll::CreateFlags::CLOEXEC)?)))
    }

    /// Waits for events, at most `timeout_ms`; for ever without one.
    pub fn wait(&self, timeout_ms: Option<u64>) -> Vec<(Token, EventFlags)> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let timeout = timeout_ms.map(|ms| rustix::event::Timespec {
            tv_sec: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: (ms % 1000) as i64 * 1_000_000,
        });
        // An interrupted wait is an empty round; nothing else can fail on a descriptor of our own.
        let _ = epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), timeout.as_ref());
        events.iter().filter_map(|event| Some((Token::decode(event.data.u64())?, event.flags))).collect()
    }
}

/// A descriptor and what is waited for on it. Taken out of the poller before it is closed: a forked child that has not yet called exec
/// would otherwise keep its events coming.
#[derive(Debug)]
pub struct Source {
    poller: Rc<Poller>,
    fd: OwnedFd,
    token: Token,
    interest: EventFlags,
}

impl Source {
    /// Nothing is waited for until [`Source::want`] says so.
    pub fn new(poller: &Rc<Poller>, fd: OwnedFd, token: Token) -> Source {
        Source { poller: poller.clone(), fd, token, interest: EventFlags::empty() }
    }

    /// Waits for exactly these. With none of them the descriptor is taken out altogether, since a hang-up would be reported regardless.
    pub fn want(&mut self, interest: EventFlags) {
        if interest == self.interest {
            return;
        }
        let data = EventData::new_u64(self.token.encode());
        let done = if interest.is_empty() {
            epoll::delete(&self.poller.0, &self.fd)
        } else if self.interest.is_empty() {
            epoll::add(&self.poller.0, &self.fd, data, interest)
        } else {
            epoll::modify(&self.poller.0, &self.fd, data, interest)
        };
        if matches!(done, Ok(()) | Err(Errno::EXIST | Errno::NOENT)) {
            self.interest = interest;
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.want(EventFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_the_kernel() {
        let all = [
            Token::Listener,
            Token::Control,
            Token::Signals,
            Token::Deadline,
            Token::Connection(7),
            Token::Aside(8),
            Token::Exec((1 << KIND_SHIFT) - 1),
        ];
        for token in all {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
