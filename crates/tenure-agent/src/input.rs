//! Standard input of one exec: bytes from its connection to its pipe or terminal, no more at a time than one frame.

use crate::poll::Source;
use crate::tty;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

/// The writing side of a program's standard input.
#[derive(Debug)]
pub struct Input {
    /// `None` once it is at its end, or nobody reads it any more.
    source: Option<Source>,
    pending: Vec<u8>,
    sent: usize,
    ending: bool,
    terminal: bool,
}

impl Input {
    pub fn new(source: Option<Source>, terminal: bool) -> Self {
        Input { source, pending: Vec::new(), sent: 0, ending: false, terminal }
    }

    /// Whether the next frame can be taken: the one before is gone, or will never be wanted.
    pub fn has_room(&self) -> bool {
        self.source.is_none() || self.pending.is_empty()
    }

    /// Takes a frame; an empty one is the end of the input.
    pub fn feed(&mut self, mut bytes: Vec<u8>) {
        if self.source.is_none() {
            return;
        }
        match (bytes.is_empty(), self.terminal) {
            (true, true) => bytes.push(tty::END_OF_INPUT),
            (true, false) => self.ending = true,
            (false, _) => {}
        }
        self.pending = bytes;
        self.sent = 0;
        self.pump();
    }

    /// Writes as much as is taken.
    pub fn pump(&mut self) {
        while let Some(source) = &self.source
            && self.sent < self.pending.len()
        {
            match rustix::io::write(source, &self.pending[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.close(),
            }
        }
        if self.sent >= self.pending.len() {
            self.pending = Vec::new();
            self.sent = 0;
            if self.ending {
                self.close();
            }
        }
        if let Some(source) = &mut self.source {
            source.want(if self.pending.is_empty() { EventFlags::empty() } else { EventFlags::OUT });
        }
    }

    /// Nothing more goes in.
    pub fn close(&mut self) {
        self.source = None;
        self.pending = Vec::new();
    }
}
