//! Dialling a port on the environment's own loopback: bytes both ways, each direction ended on its own.

use crate::connection::OutBuffer;
use crate::failure::Failure;
use crate::poll::{Poller, Source, Token};
use crate::request::Step;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddr, SocketFlags, SocketType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tenure_protocol::{DATA_MAX, Reply, Stream};

const CONNECT_TIME: Duration = Duration::from_secs(5);
const READS_PER_TURN: usize = 4;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting { until: Instant },
    Open,
}

/// A dialled port.
#[derive(Debug)]
pub struct Dial {
    poller: Rc<Poller>,
    token: Token,
    port: u16,
    address: IpAddr,
    socket: Source,
    state: State,
    pending: Vec<u8>,
    sent: usize,
    input_ended: bool,
    shut: bool,
    output_ended: bool,
}

fn connect(poller: &Rc<Poller>, token: Token, address: IpAddr, port: u16) -> Result<Source, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddr::new(address, port)) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(errno) => return Err(errno),
    }
    let mut source = Source::new(poller, socket, token);
    source.want(EventFlags::OUT);
    Ok(source)
}

impl Dial {
    /// Begins to connect, first over IPv4, then over IPv6.
    pub fn begin(poller: &Rc<Poller>, token: Token, port: u16, now: Instant) -> Result<Dial, Failure> {
        let four = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let (address, socket) = match connect(poller, token, four, port) {
            Ok(socket) => (four, socket),
            Err(first) => match connect(poller, token, six, port) {
                Ok(socket) => (six, socket),
                Err(_) => return Err(failure(first, port)),
            },
        };
        Ok(Dial {
            poller: poller.clone(),
            token,
            port,
            address,
            socket,
            state: State::Connecting { until: now + CONNECT_TIME },
            pending: Vec::new(),
            sent: 0,
            input_ended: false,
            shut: false,
            output_ended: false,
        })
    }

    pub fn wakes_at(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { until } => Some(until),
            State::Open => None,
        }
    }

    /// Whether the next frame can be taken.
    pub fn has_room(&mut self) -> bool {
        if self.state == State::Open {
            self.flush();
        }
        self.state == State::Open && self.pending.is_empty()
    }

    /// Takes a frame; an empty one ends the direction. Input past its end, or for a peer that is gone, is passed over.
    pub fn feed(&mut self, bytes: Vec<u8>) {
        if self.input_ended {
            return;
        }
        self.input_ended = bytes.is_empty();
        self.pending = bytes;
        self.sent = 0;
        self.flush();
    }

    fn flush(&mut self) {
        while self.sent < self.pending.len() {
            match rustix::net::send(&self.socket, &self.pending[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.input_ended = true;
                    break;
                }
            }
        }
        self.pending = Vec::new();
        self.sent = 0;
        if self.input_ended && !self.shut {
            self.shut = true;
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        }
    }

    /// Moves what can be moved.
    pub fn step(&mut self, out: &mut OutBuffer, scratch: &mut [u8], now: Instant) -> Step {
        if let State::Connecting { until } = self.state {
            return self.check_connected(out, until, now);
        }
        self.flush();
        for _ in 0..READS_PER_TURN {
            if self.output_ended || !out.has_room() {
                break;
            }
            let most = scratch.len().min(DATA_MAX);
            match rustix::io::read(&self.socket, &mut scratch[..most]) {
                Ok(read) => {
                    out.data(Stream::Output, &scratch[..read]);
                    self.output_ended = read == 0;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // A reset is not an end: the manager must not take what came for the whole.
                Err(_) => return Step::Broken,
            }
        }
        let mut interest = EventFlags::empty();
        interest.set(EventFlags::IN, !self.output_ended && out.has_room());
        interest.set(EventFlags::OUT, !self.pending.is_empty());
        self.socket.want(interest);
        let over = self.output_ended && self.input_ended && self.pending.is_empty();
        if over { Step::Finished } else { Step::Waiting }
    }

    fn check_connected(&mut self, out: &mut OutBuffer, until: Instant, now: Instant) -> Step {
        let failed = match rustix::net::sockopt::socket_error(&self.socket) {
            Ok(Ok(())) if now >= until => Errno::TIMEDOUT,
            Ok(Ok(())) if rustix::net::getpeername(&self.socket).is_err() => return Step::Waiting,
            // With nobody listening, a port out of the range for outgoing connections can happen to reach itself.
            Ok(Ok(())) if self.reached_itself() => Errno::CONNREFUSED,
            Ok(Ok(())) => {
                self.state = State::Open;
                out.reply(&Reply::Done);
                return Step::Again;
            }
            Ok(Err(errno)) | Err(errno) => errno,
        };
        let six = IpAddr::V6(Ipv6Addr::LOCALHOST);
        if failed == Errno::CONNREFUSED
            && self.address != six
            && let Ok(socket) = connect(&self.poller, self.token, six, self.port)
        {
            self.socket = socket;
            self.address = six;
            return Step::Again;
        }
        out.reply(&failure(failed, self.port).reply());
        Step::Finished
    }

    fn reached_itself(&self) -> bool {
        match (rustix::net::getsockname(&self.socket), rustix::net::getpeername(&self.socket)) {
            (Ok(own), Ok(peer)) => Some(own) == peer,
            (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
        }
    }
}

fn failure(errno: Errno, port: u16) -> Failure {
    Failure::of(errno, &format!("port {port}"))
}
