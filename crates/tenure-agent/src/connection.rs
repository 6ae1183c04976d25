//! One connection of a manager: bytes in, frames, bytes out, all of them bounded.

use crate::poll::Source;
use crate::request::Task;
use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags};
use std::mem::MaybeUninit;
use std::time::Instant;
use tenure_protocol::{
    DATA_MAX, Decoder, FailureCode, Frame, FrameError, Nonce, Reply, Stream, encode_data, encode_message,
};

/// Most bytes that wait to be sent before their sources are left unread.
const OUT_MAX: usize = 256 * 1024;
/// A new request is taken up only when less than this waits to be sent.
pub const REQUEST_ROOM: usize = 64 * 1024;
/// Most bytes of an unfinished frame before the handshake is over.
const HANDSHAKE_BYTES_MAX: usize = 4096;
/// Descriptors that one message can bring.
pub const DESCRIPTORS_MAX: usize = 2;

/// What waits to be sent.
#[derive(Debug, Default)]
pub struct OutBuffer {
    bytes: Vec<u8>,
    sent: usize,
}

impl OutBuffer {
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a whole data frame more may be put in.
    pub fn has_room(&self) -> bool {
        self.len() + DATA_MAX + 64 <= OUT_MAX
    }

    /// Whether the answer to one more request may be put in.
    pub fn has_room_for_an_answer(&self) -> bool {
        self.len() < REQUEST_ROOM
    }

    pub fn reply(&mut self, reply: &Reply) {
        self.message(reply).unwrap_or_else(|_| {
            let failed = Reply::Failed { code: FailureCode::Limit, message: "the answer is too long".into() };
            let _ = self.message(&failed);
        });
    }

    pub fn message<T: serde::Serialize>(&mut self, message: &T) -> Result<(), FrameError> {
        encode_message(message, &mut self.bytes)
    }

    pub fn data(&mut self, stream: Stream, bytes: &[u8]) {
        encode_data(stream, bytes, &mut self.bytes);
    }

    fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        while self.sent < self.bytes.len() {
            match rustix::net::send(socket, &self.bytes[self.sent..], SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => self.sent += sent,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if self.is_empty() {
            self.sent = 0;
            self.bytes.clear();
            self.bytes.shrink_to(DATA_MAX);
        } else if self.sent >= OUT_MAX {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }
}

/// How far a connection has come.
#[derive(Debug)]
pub enum Phase {
    /// A hello is due.
    Hello,
    /// The manager's proof is due.
    Prove { version: u32, manager: Nonce, agent: Nonce, generation: u64 },
    /// The manager has proven itself.
    Serving(Box<Task>),
}

/// What reading from the socket brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Bytes,
    Nothing,
    /// The peer is gone, or broke the rules.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub socket: Source,
    pub out: OutBuffer,
    pub phase: Phase,
    pub opened: Instant,
    /// A frame for which its receiver has no room yet; nothing is read before it is gone.
    pub stalled: Option<Frame>,
    pub hung_up: bool,
    pub descriptors: Vec<OwnedFd>,
    decoder: Decoder,
}

impl Connection {
    pub fn new(socket: Source, opened: Instant) -> Self {
        Connection {
            socket,
            out: OutBuffer::default(),
            phase: Phase::Hello,
            opened,
            stalled: None,
            hung_up: false,
            descriptors: Vec::new(),
            decoder: Decoder::new(),
        }
    }

    pub fn authenticated(&self) -> bool {
        matches!(self.phase, Phase::Serving(_))
    }

    pub fn flush(&mut self) -> Result<(), Errno> {
        self.out.flush(self.socket.as_fd())
    }

    /// The frame that is next in turn.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        match self.stalled.take() {
            Some(frame) => Ok(Some(frame)),
            None => self.decoder.next_frame(),
        }
    }

    /// Reads once from the socket.
    pub fn receive(&mut self, scratch: &mut [u8]) -> Received {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [std::io::IoSliceMut::new(scratch)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let message = match rustix::net::recvmsg(&self.socket, &mut slices, &mut control, flags) {
            Ok(message) => message,
            Err(Errno::AGAIN | Errno::INTR) => return Received::Nothing,
            Err(_) => return Received::Closed,
        };
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = item {
                self.descriptors.extend(descriptors);
            }
        }
        let too_many = message.flags.contains(ReturnFlags::CTRUNC) || self.descriptors.len() > DESCRIPTORS_MAX;
        let too_early = !self.authenticated() && !self.descriptors.is_empty();
        if message.bytes == 0 || too_many || too_early {
            return Received::Closed;
        }
        self.decoder.push(&scratch[..message.bytes]);
        if !self.authenticated() && self.decoder.pending() > HANDSHAKE_BYTES_MAX {
            return Received::Closed;
        }
        Received::Bytes
    }

    /// Descriptors that came with no message that takes them are closed.
    pub fn drop_unexpected_descriptors(&mut self) {
        if self.decoder.pending() == 0 {
            self.descriptors.clear();
        }
    }

    /// Waits for what can be dealt with: bytes in unless a frame is stalled, room for bytes out if there are any.
    pub fn update_interest(&mut self) {
        let mut interest = EventFlags::RDHUP;
        interest.set(EventFlags::IN, self.stalled.is_none());
        interest.set(EventFlags::OUT, !self.out.is_empty());
        self.socket.want(interest);
    }
}

impl Drop for Connection {
    /// A forked child that has not yet called exec holds a copy of the socket; the peer must see the end now.
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}
