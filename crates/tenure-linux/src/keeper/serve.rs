//! The keeper's loop: it waits for its manager, its stems, its agents and its cleaners, and moves each berth along.
//!
//! ```text
//! stem: preparing ──► ready ──► building ──► starting ──► live ──► cleaning ──► gone
//!           └───────────┴──────────┴────────────┴───────────────────►┘   whatever ends early is cleaned as well
//! ```

use super::berth::Berth;
use super::ground::{Ground, Side};
use super::start::Settings;
use super::wire::{self, Answer, Build, Built, Request};
use super::{clean, stem};
use crate::sys;
use crate::walls::order::Order;
use crate::walls::step::Failed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a keeper that has nothing left stays for the space of what it removed.
const SETTLE_PATIENCE: Duration = Duration::from_secs(4);

/// Everything the keeper knows.
pub struct Keeper {
    ground: Ground,
    manager: Option<OwnedFd>,
    places: BTreeMap<String, Place>,
    /// Orders for which there is no berth yet.
    waiting: VecDeque<(u64, Box<Order>)>,
    sweep: Option<Side>,
    berths_ready: usize,
    only_one: bool,
    next: u64,
    quitting: bool,
}

/// How far a berth is.
enum Place {
    /// Its stem makes it ready.
    Preparing(Side),
    /// Its stem waits for an order.
    Ready(Side),
    /// Its stem builds.
    Building { stem: Side, request: u64, child: Option<OwnedFd> },
    /// Its agent runs, and does not listen yet.
    Starting { request: u64, stem: Side, agent: Agent, volume_dir: OwnedFd },
    /// Its agent listens.
    Live { agent: Agent },
    /// What it left is taken down.
    Cleaning(Side),
}

/// A running agent.
struct Agent {
    berth: Box<Berth>,
    pidfd: OwnedFd,
    /// The agent sees here that its keeper is gone.
    control: OwnedFd,
    /// When it has to be gone. Its agent sees to that; for a frozen one the keeper does.
    deadline_boot_ms: Option<u64>,
    grace_ms: u64,
}

/// How long after its deadline and its grace an agent that is not frozen counts as stuck.
const STUCK_MS: u64 = 10_000;
/// How often a keeper looks at an agent that should be gone by now: it may be frozen later, and a grace may be running.
const OVERDUE_LOOK: Duration = Duration::from_millis(100);

/// What the loop waits for.
#[derive(Clone)]
enum Source {
    Manager,
    Sweep,
    /// A stem's socket, an agent's first byte, or the end of whatever the berth runs.
    Place(String),
}

impl Keeper {
    /// A keeper with nothing to keep.
    pub fn new(ground: Ground, manager: OwnedFd, settings: &Settings, sweep: Side) -> Keeper {
        Keeper {
            ground,
            manager: Some(manager),
            places: BTreeMap::new(),
            waiting: VecDeque::new(),
            sweep: Some(sweep),
            berths_ready: settings.berths_ready,
            only_one: settings.only_one,
            next: 1,
            quitting: false,
        }
    }

    /// Serves until it is told to quit, or its manager is gone, and nothing is left.
    pub fn serve(mut self) -> io::Result<()> {
        loop {
            if self.quitting && self.places.is_empty() && self.sweep.is_none() {
                return self.leave();
            }
            if !self.quitting {
                self.ready_berths()?;
            }
            self.end_overdue();
            for source in self.wait()? {
                match source {
                    Source::Manager => self.hear_manager(),
                    Source::Sweep => drop(self.sweep.take().map(Side::finish)),
                    Source::Place(name) => self.advance(&name),
                }
            }
        }
    }

    /// Removes what belongs to the instance as a whole, and what a cleaner that was ended did not get to. A child that a stem cloned and never reported
    /// has ended with it, and is reaped here.
    fn leave(mut self) -> io::Result<()> {
        while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
        let removed = clean::groups(&self.ground.groups).and(self.ground.volumes.remove_all());
        // Where something resists, the instance stays with it, so that a later start finds both.
        let removed = removed.and_then(|()| self.ground.instance.remove());
        if let Some(manager) = self.manager.take() {
            let _ = wire::send(&manager, &Answer::Bye, &[]);
        }
        // Nobody waits for this any more; only the pool is kept mounted for it.
        removed.and(self.ground.volumes.settle(SETTLE_PATIENCE))
    }

    /// Keeps as many berths on the way as are wanted, and one for each order that waits.
    fn ready_berths(&mut self) -> io::Result<()> {
        let on_the_way =
            self.places.values().filter(|place| matches!(place, Place::Preparing(_) | Place::Ready(_))).count();
        for _ in on_the_way..self.berths_ready + self.waiting.len() {
            let name = format!("b{:06}", self.next);
            self.next += 1;
            let side = self.ground.fork(|keeper| stem::run(&self.ground, &name, keeper))?;
            self.places.insert(name, Place::Preparing(side));
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut watched: Vec<(Source, BorrowedFd<'_>)> = Vec::with_capacity(2 + self.places.len() * 2);
        watched.extend(self.manager.iter().map(|manager| (Source::Manager, manager.as_fd())));
        watched.extend(self.sweep.iter().map(|sweep| (Source::Sweep, sweep.pidfd())));
        for (name, place) in &self.places {
            watched.extend(place.watched().into_iter().map(|fd| (Source::Place(name.clone()), fd)));
        }
        let mut polled: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        match poll(&mut polled, self.patience().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().zip(&watched).filter(|(polled, _)| !polled.revents().is_empty());
        Ok(ready.map(|(_, (source, _))| source.clone()).collect())
    }

    /// How long the loop may wait for anything to happen: until the next deadline.
    fn patience(&self) -> Option<Timespec> {
        let next = self.places.values().filter_map(|place| place.agent()?.deadline_boot_ms).min()?;
        let left = Duration::from_millis(next.saturating_sub(boot_ms())).max(OVERDUE_LOOK);
        Timespec::try_from(left).ok()
    }

    /// Kills what is past its deadline and does not see to that itself: at once where it is frozen, else when its own grace is long over.
    fn end_overdue(&mut self) {
        let now = boot_ms();
        let late =
            |agent: &Agent, by: u64| agent.deadline_boot_ms.is_some_and(|deadline| deadline.saturating_add(by) <= now);
        let overdue = |agent: &&Agent| {
            late(agent, agent.grace_ms.saturating_add(STUCK_MS)) || late(agent, 0) && agent.berth.group.observe().frozen
        };
        for name in self
            .places
            .values()
            .filter_map(Place::agent)
            .filter(overdue)
            .map(|agent| agent.berth.name.clone())
            .collect::<Vec<_>>()
        {
            self.kill(&name);
        }
    }

    fn hear_manager(&mut self) {
        let Some(manager) = &self.manager else { return };
        match wire::receive::<Request>(manager) {
            Ok(Some((Request::Create { request, order }, _))) => {
                self.waiting.push_back((request, order));
                self.serve_waiting();
                if self.only_one {
                    self.berths_ready = 0;
                }
            }
            Ok(Some((Request::Kill { berth }, _))) => self.kill(&berth),
            Ok(Some((Request::Deadline { berth, deadline_boot_ms, grace_ms }, _))) => {
                if let Some(Place::Live { agent }) = self.places.get_mut(&berth) {
                    (agent.deadline_boot_ms, agent.grace_ms) = (deadline_boot_ms, grace_ms);
                }
            }
            Ok(Some((Request::Quit, _))) => self.quit(),
            // Gone, or out of its mind: the environments do not outlive their manager here.
            Ok(None) | Err(_) => {
                self.manager = None;
                self.quit();
            }
        }
    }

    /// Gives ready berths to waiting orders.
    fn serve_waiting(&mut self) {
        let ready: Vec<String> = self
            .places
            .iter()
            .filter(|(_, place)| matches!(place, Place::Ready(_)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ready {
            let Some((request, order)) = self.waiting.pop_front() else { return };
            let Some(Place::Ready(stem)) = self.places.remove(&name) else { continue };
            // A stem that has just died shows itself at its end; then the request fails.
            let _ = wire::send(&stem.socket, &Build { order }, &[]);
            self.places.insert(name, Place::Building { stem, request, child: None });
        }
    }

    fn kill(&mut self, name: &str) {
        if let Some(Place::Live { agent } | Place::Starting { agent, .. }) = self.places.get(name) {
            let _ = sys::pidfd_kill(&agent.pidfd);
            // On version 1 a frozen process dies only when it is thawed.
            let _ = agent.berth.group.thaw();
        }
    }

    fn quit(&mut self) {
        self.quitting = true;
        self.waiting.clear();
        for name in self.places.keys().cloned().collect::<Vec<_>>() {
            self.kill(&name);
            if let Some(Place::Preparing(side) | Place::Ready(side)) = self.places.get(&name) {
                // Its socket closed, a stem that waits ends; one that prepares ends when it reports.
                let _ = rustix::net::shutdown(&side.socket, rustix::net::Shutdown::Both);
            }
        }
    }

    /// Something happened at a berth: finds out what, from what it was waiting for.
    fn advance(&mut self, name: &str) {
        let Some(place) = self.places.remove(name) else { return };
        let next = match place {
            Place::Preparing(stem) => match wire::receive::<Built>(&stem.socket) {
                Ok(Some((Built::Ready, _))) => Some(Place::Ready(stem)),
                heard => self.lost(name, &stem, None, heard),
            },
            Place::Ready(stem) => {
                let heard = wire::receive::<Built>(&stem.socket);
                self.lost(name, &stem, None, heard)
            }
            Place::Building { stem, request, child } => self.built(name, stem, request, child),
            Place::Starting { request, stem, agent, volume_dir } => {
                self.started(name, request, stem, agent, volume_dir)
            }
            Place::Live { agent } => self.ended(name, &agent),
            Place::Cleaning(side) => {
                self.tell(&Answer::Cleaned { berth: name.to_owned(), problem: side.finish() }, &[]);
                None
            }
        };
        self.places.extend(next.map(|place| (name.to_owned(), place)));
        if self.quitting {
            // It was being built when the end began, and nobody will ask for its own.
            self.kill(name);
        }
        self.serve_waiting();
    }

    fn built(&mut self, name: &str, stem: Side, request: u64, child: Option<OwnedFd>) -> Option<Place> {
        let (heard, child) = match (wire::receive::<Built>(&stem.socket), child) {
            (Ok(Some((Built::Cloned, mut files))), None) => {
                return Some(Place::Building { stem, request, child: files.pop() });
            }
            (Ok(Some((Built::Started { berth }, files))), Some(pidfd)) => match <[OwnedFd; 2]>::try_from(files) {
                Ok([control, volume_dir]) => {
                    let agent = Agent { berth, pidfd, control, deadline_boot_ms: None, grace_ms: 0 };
                    return Some(Place::Starting { request, stem, agent, volume_dir });
                }
                Err(_) => (Ok(None), Some(pidfd)),
            },
            (heard, child) => (heard, child),
        };
        if let Some(pidfd) = child {
            end(&pidfd);
        }
        self.lost(name, &stem, Some(request), heard)
    }

    /// The agent's first byte says that it listens; an end without one, that it never will.
    fn started(&mut self, name: &str, request: u64, stem: Side, agent: Agent, volume_dir: OwnedFd) -> Option<Place> {
        stem.reap();
        if rustix::io::read(&agent.control, &mut [0; 1]) == Ok(1) {
            let created = Answer::Created { request, berth: agent.berth.clone() };
            self.tell(&created, &[agent.pidfd.as_fd(), volume_dir.as_fd()]);
            return Some(Place::Live { agent });
        }
        end(&agent.pidfd);
        self.tell(&Answer::Failed { request, why: Failed::new("agent", "it ended before it listened") }, &[]);
        self.clean(name)
    }

    fn ended(&mut self, name: &str, agent: &Agent) -> Option<Place> {
        let status = waitid(WaitId::PidFd(agent.pidfd.as_fd()), WaitIdOptions::EXITED).ok().flatten();
        let ended = Answer::Ended {
            berth: name.to_owned(),
            exit_code: status.as_ref().and_then(|status| status.exit_status()),
            signal: status.as_ref().and_then(|status| status.terminating_signal()),
        };
        self.tell(&ended, &[]);
        self.clean(name)
    }

    /// A stem ended or said that it could not.
    fn lost(
        &mut self,
        name: &str,
        stem: &Side,
        request: Option<u64>,
        heard: io::Result<Option<(Built, Vec<OwnedFd>)>>,
    ) -> Option<Place> {
        let why = match heard {
            Ok(Some((Built::Failed(why), _))) => why,
            Ok(_) => Failed::new("stem", "it ended before it was done"),
            Err(error) => Failed::new("stem", error),
        };
        stem.reap();
        // A berth that cannot be made ready fails whoever waits for one; nobody waits for ever.
        let request = request.or_else(|| self.waiting.pop_front().map(|(request, _)| request));
        match request {
            Some(request) => self.tell(&Answer::Failed { request, why }, &[]),
            None if !self.quitting => self.berths_ready = self.berths_ready.saturating_sub(1),
            None => {}
        }
        self.clean(name)
    }

    fn clean(&mut self, name: &str) -> Option<Place> {
        self.ground.beside(|| clean::berth(&self.ground, name)).ok().map(Place::Cleaning)
    }

    fn tell(&mut self, answer: &Answer, files: &[BorrowedFd<'_>]) {
        if let Some(manager) = &self.manager {
            // A manager that is gone shows itself as such in the loop.
            let _ = wire::send(manager, answer, files);
        }
    }
}

/// Ends a child and reaps it.
fn end(pidfd: &OwnedFd) {
    let _ = sys::pidfd_kill(pidfd);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// Now, on the clock that goes on while the host sleeps.
fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

impl Place {
    /// The agent that runs here, if one does.
    fn agent(&self) -> Option<&Agent> {
        match self {
            Place::Starting { agent, .. } | Place::Live { agent } => Some(agent),
            Place::Preparing(_) | Place::Ready(_) | Place::Building { .. } | Place::Cleaning(_) => None,
        }
    }

    /// The descriptors on which something happens next.
    fn watched(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Place::Preparing(stem) | Place::Ready(stem) | Place::Building { stem, .. } => vec![stem.socket.as_fd()],
            Place::Starting { agent, .. } => vec![agent.control.as_fd()],
            Place::Live { agent } => vec![agent.pidfd.as_fd()],
            Place::Cleaning(side) => vec![side.pidfd()],
        }
    }
}
