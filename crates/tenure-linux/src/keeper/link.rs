//! The keeper's end of the connection to its manager. It never waits for a manager that does not read: deadlines are held meanwhile.

use super::wire::{self, Answer, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most answers that wait for the manager to read. One that is this far behind is not coming back.
const WAITING_MAX: usize = 16 * 1024;

/// A connection to a manager.
pub struct Link {
    socket: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    broken: bool,
}

/// What came from a manager.
pub enum Heard {
    /// It asks for something.
    Request(Box<Request>, Vec<OwnedFd>),
    /// Nothing more for now.
    Nothing,
    /// It is gone, or out of its mind.
    Gone,
}

impl Link {
    /// A connection on which both know what is spoken.
    pub fn new(socket: OwnedFd) -> io::Result<Link> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Link { socket, waiting: VecDeque::new(), broken: false })
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFlags {
        if self.waiting.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// The socket, for waiting.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Says something, now or when the manager reads.
    pub fn tell(&mut self, answer: &Answer, files: &[BorrowedFd<'_>]) {
        let copies: io::Result<Vec<OwnedFd>> = files.iter().map(BorrowedFd::try_clone_to_owned).collect();
        match (wire::encode(answer), copies) {
            (Ok(text), Ok(copies)) if self.waiting.len() < WAITING_MAX => self.waiting.push_back((text, copies)),
            _ => self.broken = true,
        }
        self.flush();
    }

    /// Sends what waits, as far as the manager reads.
    pub fn flush(&mut self) {
        while let Some((text, files)) = self.waiting.front() {
            let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
            match wire::send_text(&self.socket, text, &borrowed) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What was asked before is still heard.
                Err(_) => {
                    self.waiting.clear();
                    return;
                }
            }
        }
    }

    /// Sends what waits, for as long as this takes at most.
    pub fn finish(mut self, patience: Timespec) {
        let until = std::time::Instant::now() + std::time::Duration::new(patience.tv_sec as u64, 0);
        while !self.waiting.is_empty() && !self.is_dead() && std::time::Instant::now() < until {
            let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::OUT)];
            if poll(&mut polled, Some(&patience)).is_err() {
                return;
            }
            self.flush();
        }
    }

    /// The next request.
    pub fn hear(&mut self) -> Heard {
        if self.broken {
            return Heard::Gone;
        }
        match wire::receive::<Request>(&self.socket) {
            Ok(Some((request, files))) => Heard::Request(Box::new(request), files),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
            Ok(None) | Err(_) => Heard::Gone,
        }
    }

    /// Whether nobody is at the other end any more.
    pub fn is_dead(&self) -> bool {
        let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let looked = poll(&mut polled, Some(&now));
        self.broken || looked.is_ok_and(|_| polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }
}
