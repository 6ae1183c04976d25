//! The loop: waits for events, lets each connection and each exec that has something to do take one bounded turn, and waits again.
//!
//! Nothing blocks, nothing is unbounded, and nobody's turn is long: a source is left unread while its destination is full, so the
//! kernel's buffers hold a fast writer back, however far it is from the slow reader.

use crate::clock::{AwakeClock, TICK};
use crate::connection::{Connection, Phase, REQUEST_ROOM, Received};
use crate::credentials::Tenant;
use crate::ending::Ending;
use crate::exec::Exec;
use crate::handshake;
use crate::poll::{Poller, Source, Token};
use crate::request::{Handled, Step, Task};
use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tenure_protocol::{Boot, CONNECTIONS_MAX, Frame};

/// How long a connection may take for its handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Most frames that one connection may bring forward per turn.
const FRAMES_PER_TURN: usize = 16;
/// Most connections accepted per turn.
const ACCEPTS_PER_TURN: usize = 32;

/// What Bind brought.
#[derive(Debug)]
pub struct Binding {
    pub generation: u64,
    pub env: BTreeMap<String, String>,
}

/// Everything the agent knows.
#[derive(Debug)]
pub struct Agent {
    pub poller: Rc<Poller>,
    pub boot: Boot,
    pub tenant: Tenant,
    pub listener: Source,
    /// `None` once the keeper is gone and need not be there.
    pub control: Option<Source>,
    pub signals: Source,
    pub deadline: Source,
    /// When the hard deadline is due; none once it was.
    pub deadline_due: Option<Duration>,
    pub oom: Option<OwnedFd>,
    pub binding: Option<Binding>,
    pub ending: Option<Ending>,
    pub connections: BTreeMap<u64, Connection>,
    pub execs: BTreeMap<u64, Exec>,
    pub ready_connections: BTreeSet<u64>,
    pub ready_execs: BTreeSet<u64>,
    pub next_id: u64,
    pub clock: AwakeClock,
    pub scratch: Vec<u8>,
    /// Kept so that a connection can be refused even when no descriptor is left.
    pub spare: Option<OwnedFd>,
    pub reap_again: bool,
}

impl Agent {
    /// Runs until everything has ended; says how to exit.
    pub fn run(&mut self) -> i32 {
        loop {
            for (token, flags) in self.poller.clone().wait(self.wait_ms(Instant::now())) {
                self.dispatch(token, flags);
            }
            let now = Instant::now();
            if self.reap_again {
                self.reap();
            }
            self.check_times(now);
            for key in std::mem::take(&mut self.ready_execs) {
                self.exec_turn(key, now);
            }
            for id in std::mem::take(&mut self.ready_connections) {
                self.connection_turn(id, now);
            }
            if let Some(code) = self.ending_step(now) {
                return code;
            }
        }
    }

    pub fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn dispatch(&mut self, token: Token, flags: EventFlags) {
        match token {
            Token::Listener => self.accept(),
            Token::Control => self.check_control(),
            Token::Signals => self.read_signals(),
            Token::Deadline => self.check_deadline(),
            Token::Connection(id) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.hung_up |= flags.intersects(EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP);
                    self.ready_connections.insert(id);
                }
            }
            Token::Aside(id) => drop(self.ready_connections.insert(id)),
            Token::Exec(key) => drop(self.ready_execs.insert(key)),
        }
    }

    /// Milliseconds until something is due, rounded up; `None` where nothing is.
    fn wait_ms(&self, now: Instant) -> Option<u64> {
        if self.reap_again || !self.ready_connections.is_empty() || !self.ready_execs.is_empty() {
            return Some(0);
        }
        let handshakes = self.connections.values().filter_map(|connection| self.connection_wakes_at(connection));
        let settling = self.execs.values().filter_map(Exec::wakes_at);
        let ending = self.ending.iter().map(Ending::wakes_at);
        let instants = handshakes.chain(settling).chain(ending).map(|at| at.saturating_duration_since(now));
        let limits = self.execs.values().filter_map(|exec| exec.limit);
        let limits = limits.map(|limit| limit.at.saturating_sub(self.clock.awake()).min(TICK));
        let wait = instants.chain(limits).min()?;
        Some(u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
    }

    fn connection_wakes_at(&self, connection: &Connection) -> Option<Instant> {
        match &connection.phase {
            Phase::Hello | Phase::Prove { .. } => Some(connection.opened + HANDSHAKE_TIME),
            Phase::Serving(task) => task.wakes_at(),
        }
    }

    fn check_times(&mut self, now: Instant) {
        self.check_limits(now);
        for (id, connection) in &self.connections {
            if self.connection_wakes_at(connection).is_some_and(|at| at <= now) {
                self.ready_connections.insert(*id);
            }
        }
        let settled = self.execs.iter().filter(|(_, exec)| exec.wakes_at().is_some_and(|at| at <= now));
        self.ready_execs.extend(settled.map(|(key, _)| *key));
    }

    /// The keeper only ever closes its end, or dies.
    fn check_control(&mut self) {
        let Some(control) = &self.control else { return };
        let mut ignored = [0; 64];
        match rustix::io::read(control, &mut ignored) {
            Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(0) | Err(_) => {
                self.control = None;
                if self.binding.is_none() || self.boot.dies_with_keeper {
                    self.end_at_once();
                }
            }
        }
    }

    fn read_signals(&mut self) {
        let mut ignored = [0; 1024];
        while matches!(rustix::io::read(&self.signals, &mut ignored), Ok(1..)) {}
        self.reap_again = true;
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) if self.connections.len() < CONNECTIONS_MAX => {
                    let id = self.fresh_id();
                    let socket = Source::new(&self.poller, socket, Token::Connection(id));
                    self.connections.insert(id, Connection::new(socket, Instant::now()));
                    self.ready_connections.insert(id);
                }
                Ok(_) => {}
                Err(Errno::MFILE | Errno::NFILE) => {
                    self.spare = None;
                    drop(rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC));
                    self.spare = rustix::io::fcntl_dupfd_cloexec(&self.listener, 3).ok();
                    break;
                }
                Err(_) => break,
            }
        }
    }

    /// One turn of a connection: frames in, a step of its task, bytes out.
    fn connection_turn(&mut self, id: u64, now: Instant) {
        if !self.take_frames(id, now) || !self.task_turn(id, now) || !self.finish_turn(id, now) {
            self.connection_close(id);
        }
    }

    fn take_frames(&mut self, id: u64, now: Instant) -> bool {
        for turn in 0.. {
            let Some(connection) = self.connections.get_mut(&id) else { return true };
            if turn >= FRAMES_PER_TURN {
                self.ready_connections.insert(id);
                return true;
            }
            match connection.next_frame() {
                Err(_) => return false,
                Ok(Some(frame)) => match self.take_frame(id, frame, now) {
                    Handled::Taken => {}
                    Handled::Later(frame) => return self.stall(id, frame),
                    Handled::Broken => return false,
                },
                Ok(None) => match connection.receive(&mut self.scratch) {
                    Received::Bytes => {}
                    Received::Nothing => return !connection.hung_up,
                    Received::Closed => return false,
                },
            }
        }
        true
    }

    /// Keeps a frame for which there is no room. Whoever has hung up meanwhile waits for nothing any more.
    fn stall(&mut self, id: u64, frame: Frame) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        connection.stalled = Some(frame);
        !connection.hung_up
    }

    fn take_frame(&mut self, id: u64, frame: Frame, now: Instant) -> Handled {
        let generation = self.binding.as_ref().map_or(0, |binding| binding.generation);
        match self.connections.get_mut(&id) {
            Some(connection) if !connection.authenticated() => {
                match handshake::step(connection, &frame, &self.boot, generation) {
                    Some(()) => Handled::Taken,
                    None => Handled::Broken,
                }
            }
            Some(_) => self.serve_frame(id, frame, now),
            None => Handled::Broken,
        }
    }

    fn task_turn(&mut self, id: u64, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        let Phase::Serving(task) = &mut connection.phase else {
            return now < connection.opened + HANDSHAKE_TIME;
        };
        match task.step(&mut connection.out, &mut self.scratch, &self.tenant, now) {
            Step::Waiting => {}
            Step::Again => drop(self.ready_connections.insert(id)),
            Step::Finished => {
                **task = Task::Idle;
                self.ready_connections.insert(id);
            }
            Step::Broken => return false,
        }
        true
    }

    fn finish_turn(&mut self, id: u64, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        let unsent = connection.out.len();
        if connection.flush().is_err() {
            return false;
        }
        // What waited for room would not hear of it: nothing may be left whose sending is an event.
        if connection.out.len() < unsent && unsent >= REQUEST_ROOM {
            self.ready_connections.insert(id);
        }
        connection.update_interest();
        if let Phase::Serving(task) = &connection.phase
            && let Task::Attached(key) = **task
        {
            self.exec_turn(key, now);
        }
        true
    }

    pub fn connection_close(&mut self, id: u64) {
        self.ready_connections.remove(&id);
        let Some(connection) = self.connections.remove(&id) else { return };
        if let Phase::Serving(task) = &connection.phase
            && let Task::Attached(key) = **task
        {
            self.exec_detach(key, id);
        }
    }
}
