//! The keeper's loop: it waits for its manager, its stems, its agents and its cleaners, and moves each berth along.
//!
//! ```text
//! stem: preparing ──► ready ──► building ──► starting ──► live ──► (fading ──►) cleaning ──► gone
//!           └───────────┴──────────┴────────────┴─────────────────────────────────►┘   whatever ends early is cleaned as well
//! ```
//!
//! What a manager asks is in `manage`, what becomes of a berth in `advance`.

use super::clean;
use super::door::Door;
use super::facts::{Facts, FactsDir};
use super::ground::{Ground, Side};
use super::link::Link;
use super::place::{Agent, Place};
use super::recover::{self, Recovered};
use super::start::Settings;
use super::stem;
use super::wire::{Answer, Host};
use crate::walls::order::Order;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a keeper that has nothing left stays for the space of what it removed.
const SETTLE_PATIENCE: Duration = Duration::from_secs(4);
/// How long a keeper that ends waits for its manager to read the last answers.
const LAST_WORDS: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long after its deadline and its grace an agent that is not frozen counts as stuck.
const STUCK_MS: u64 = 10_000;
/// How often a keeper looks at an agent that should be gone by now: it may be frozen later, and a grace may be running.
const OVERDUE_LOOK: Duration = Duration::from_millis(100);

/// Everything the keeper knows.
pub struct Keeper {
    pub(super) ground: Ground,
    pub(super) host: Host,
    pub(super) manager: Option<Link>,
    /// Where the next manager comes in, if the keeper outlives this one.
    pub(super) door: Option<Door>,
    pub(super) facts: FactsDir,
    pub(super) places: BTreeMap<String, Place>,
    /// Bound environments that have ended or are lost, of which somebody still has to hear.
    pub(super) told: BTreeMap<String, Facts>,
    /// Berths of which nobody has to hear once they are cleaned up.
    pub(super) forgotten: BTreeSet<String>,
    /// Orders for which there is no berth yet, each with what it holds.
    pub(super) waiting: VecDeque<Waiting>,
    sweep: Option<Side>,
    pub(super) berths_ready: usize,
    pub(super) only_one: bool,
    next: u64,
    pub(super) quitting: bool,
}

/// An order for which there is no berth yet.
pub struct Waiting {
    /// The manager's number.
    pub request: u64,
    /// What to make.
    pub order: Box<Order>,
    /// Locks on what it is to stand on.
    pub held: Vec<OwnedFd>,
}

/// What the loop waits for.
#[derive(Clone)]
enum Source {
    Manager,
    Door,
    Caller,
    Sweep,
    /// A stem's socket, an agent's first byte, or the end of whatever the berth runs.
    Place(String),
}

impl Keeper {
    /// A keeper with nothing to keep.
    pub fn new(ground: Ground, host: Host, settings: &Settings, sweep: Side, facts: FactsDir) -> Keeper {
        Keeper {
            ground,
            host,
            manager: None,
            door: None,
            facts,
            places: BTreeMap::new(),
            told: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            waiting: VecDeque::new(),
            sweep: Some(sweep),
            berths_ready: settings.berths_ready,
            only_one: settings.only_one,
            next: 1,
            quitting: false,
        }
    }

    /// The same, outliving its managers, and going on where the keeper before it was killed.
    pub fn lasting(mut self, door: Door, recovered: Vec<(String, Recovered)>) -> Keeper {
        self.door = Some(door);
        self.next = recover::next_number(recovered.iter().map(|(name, _)| name), boot_ms());
        for (name, found) in recovered {
            match found {
                Recovered::Alive(facts, pidfd) => {
                    let _held = facts.hold_again();
                    let agent = Agent { facts, pidfd, control: None, _held, killed: false };
                    self.places.insert(name, Place::Live { agent });
                }
                Recovered::Ended(facts) => {
                    // Should it not be written, the next keeper finds the same.
                    let _ = self.facts.write(&facts);
                    self.told.insert(name.clone(), *facts);
                    self.clean(&name, clean::Files::Remove);
                }
                Recovered::Told(facts) => drop(self.told.insert(name, *facts)),
                Recovered::Unfinished(facts) => {
                    self.told.insert(name.clone(), *facts);
                    self.clean(&name, clean::Files::KeepSurvivors);
                }
                Recovered::Stray => {
                    self.forgotten.insert(name.clone());
                    self.clean(&name, clean::Files::KeepSurvivors);
                }
            }
        }
        self
    }

    /// Serves this manager from now on.
    pub fn serve_manager(&mut self, link: Link) {
        self.manager = Some(link);
    }

    /// Serves until it is told to quit, or its manager is gone, and nothing is left.
    pub fn serve(mut self) -> io::Result<()> {
        loop {
            let busy = !self.places.is_empty() || self.sweep.is_some();
            if !busy && (self.quitting || self.is_idle()) {
                return self.leave();
            }
            if !self.quitting {
                self.ready_berths()?;
            }
            self.end_overdue();
            self.end_fading();
            for source in self.wait()? {
                match source {
                    Source::Manager => self.hear_manager(),
                    Source::Door => self.door.iter_mut().for_each(Door::accept),
                    Source::Caller => self.hear_callers(),
                    Source::Sweep => drop(self.sweep.take().map(Side::finish)),
                    Source::Place(name) => self.advance(&name),
                }
            }
        }
    }

    /// Whether it waits for a manager, and there is nothing to wait with.
    fn is_idle(&self) -> bool {
        self.manager.is_none() && self.door.as_ref().is_some_and(|door| door.callers().next().is_none())
    }

    /// Removes what belongs to the instance as a whole, and what a cleaner that was ended did not get to. A child that a stem cloned and never reported
    /// has ended with it, and is reaped here.
    fn leave(mut self) -> io::Result<()> {
        while let Ok(Some(_)) = waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {}
        if !self.quitting && !self.told.is_empty() {
            // The next keeper finds by the instance what somebody still has to hear of.
            return Ok(());
        }
        let removed = clean::groups(&self.ground.groups).and(self.ground.volumes.remove_all());
        // Where something resists, the instance stays with it, so that a later start finds both.
        let removed = removed.and_then(|()| self.ground.instance.remove());
        if let Some(mut manager) = self.manager.take() {
            manager.tell(&Answer::Bye, &[]);
            manager.finish(LAST_WORDS);
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
        let mut watched: Vec<(Source, BorrowedFd<'_>, PollFlags)> = Vec::with_capacity(4 + self.places.len());
        // What a manager that died said last is heard before its successor.
        watched.extend(self.manager.iter().map(|manager| (Source::Manager, manager.socket(), manager.interest())));
        if let Some(door) = &self.door {
            watched.push((Source::Door, door.listener(), PollFlags::IN));
            watched.extend(door.callers().map(|caller| (Source::Caller, caller, PollFlags::IN)));
        }
        watched.extend(self.sweep.iter().map(|sweep| (Source::Sweep, sweep.pidfd(), PollFlags::IN)));
        for (name, place) in &self.places {
            watched.extend(place.watched().into_iter().map(|fd| (Source::Place(name.clone()), fd, PollFlags::IN)));
        }
        let mut polled: Vec<PollFd<'_>> =
            watched.iter().map(|(_, fd, interest)| PollFd::from_borrowed_fd(*fd, *interest)).collect();
        match poll(&mut polled, self.patience().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().zip(&watched).filter(|(polled, _)| !polled.revents().is_empty());
        Ok(ready.map(|(_, (source, ..))| source.clone()).collect())
    }

    /// How long the loop may wait for anything to happen: until the next deadline.
    fn patience(&self) -> Option<Timespec> {
        let next = self.places.values().filter_map(|place| place.agent()?.facts.deadline_boot_ms).min();
        let left = next.map(|next| Duration::from_millis(next.saturating_sub(boot_ms())).max(OVERDUE_LOOK));
        let fading = self.places.values().any(|place| matches!(place, Place::Fading { .. })).then_some(OVERDUE_LOOK);
        Timespec::try_from(left.into_iter().chain(fading).min()?).ok()
    }

    /// Kills what is past its deadline and does not see to that itself: at once where it is frozen, else when its own grace is long over.
    fn end_overdue(&mut self) {
        let now = boot_ms();
        let late =
            |facts: &Facts, by: u64| facts.deadline_boot_ms.is_some_and(|deadline| deadline.saturating_add(by) <= now);
        let overdue = |facts: &&Facts| {
            late(facts, facts.grace_ms.saturating_add(STUCK_MS)) || late(facts, 0) && facts.berth.group.observe().frozen
        };
        let agents = self.places.values().filter_map(Place::agent).map(|agent| &*agent.facts);
        for name in agents.filter(overdue).map(|facts| facts.berth.name.clone()).collect::<Vec<_>>() {
            self.kill(&name);
        }
    }

    /// Asks again of what has ended and is not our child.
    fn end_fading(&mut self) {
        let fading = self.places.iter().filter(|(_, place)| matches!(place, Place::Fading { .. }));
        for name in fading.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.advance(&name);
        }
    }

    pub(super) fn tell(&mut self, answer: &Answer, files: &[BorrowedFd<'_>]) {
        if let Some(manager) = &mut self.manager {
            // A manager that is gone shows itself as such in the loop.
            manager.tell(answer, files);
        }
    }
}

/// Now, on the clock that goes on while the host sleeps.
pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
