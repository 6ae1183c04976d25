//! What becomes of a berth: each step from what it was waiting for.

use super::clean;
use super::facts::{End, Facts};
use super::ground::Side;
use super::place::{Agent, Ordered, Place};
use super::recover;
use super::serve::Keeper;
use super::wire::{self, Answer, Built};
use crate::storage::Owner;
use crate::sys::{self, Exit};
use crate::walls::step::Failed;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long the kernel may take to say how somebody else's child ended: until its parent, the host's first process mostly, reaps it.
const FADING_PATIENCE: Duration = Duration::from_secs(3);

impl Keeper {
    /// Something happened at a berth: finds out what, from what it was waiting for.
    pub(super) fn advance(&mut self, name: &str) {
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
            Place::Building { stem, order, child } => self.built(name, stem, order, child),
            Place::Starting { stem, order, agent, volume_dir } => self.started(name, &stem, &order, agent, &volume_dir),
            Place::Live { agent } => self.ended(name, agent, Instant::now() + FADING_PATIENCE),
            Place::Fading { agent, until } => self.ended(name, agent, until),
            Place::Cleaning(side) => {
                let problem = side.finish();
                self.cleaned(name, problem);
                None
            }
        };
        if let Some(next) = next {
            self.places.insert(name.to_owned(), next);
        }
        if self.quitting {
            // It was being built when the end began, and nobody will ask for its own.
            self.kill(name);
        }
        self.serve_waiting();
    }

    fn built(&mut self, name: &str, stem: Side, mut order: Ordered, child: Option<OwnedFd>) -> Option<Place> {
        let (heard, child) = match (wire::receive::<Built>(&stem.socket), child) {
            (Ok(Some((Built::Cloned, mut files))), None) => {
                return Some(Place::Building { stem, order, child: files.pop() });
            }
            (Ok(Some((Built::Started { berth }, files))), Some(pidfd)) => {
                let held = std::mem::take(&mut order.held);
                let facts = Facts::new(*berth, order.key, order.grace_ms, &held);
                match (<[OwnedFd; 2]>::try_from(files), facts) {
                    (Ok([control, volume_dir]), Ok(facts)) => {
                        let agent =
                            Agent { facts: Box::new(facts), pidfd, control: Some(control), _held: held, killed: false };
                        return Some(Place::Starting { stem, order, agent, volume_dir });
                    }
                    _ => (Ok(None), Some(pidfd)),
                }
            }
            (heard, child) => (heard, child),
        };
        if let Some(pidfd) = child {
            end(&pidfd);
        }
        self.lost(name, &stem, Some(&order), heard)
    }

    /// The agent's first byte says that it listens; an end without one, that it never will.
    fn started(
        &mut self,
        name: &str,
        stem: &Side,
        order: &Ordered,
        agent: Agent,
        volume_dir: &OwnedFd,
    ) -> Option<Place> {
        stem.reap();
        let listens = agent.control.as_ref().is_some_and(|control| rustix::io::read(control, &mut [0; 1]) == Ok(1));
        match order.request {
            Some(request) if listens => {
                let created = Answer::Created { request, berth: Box::new(agent.facts.berth.clone()) };
                self.tell(&created, &[agent.pidfd.as_fd(), volume_dir.as_fd()]);
                return Some(Place::Live { agent });
            }
            Some(request) => {
                let why = Failed::new("agent", "it ended before it listened");
                self.tell(&Answer::Failed { request, why }, &[]);
            }
            // Whoever wanted it is gone.
            None => {}
        }
        end(&agent.pidfd);
        self.cleaning(name, clean::Files::KeepSurvivors)
    }

    fn ended(&mut self, name: &str, mut agent: Agent, until: Instant) -> Option<Place> {
        let end = match waitid(WaitId::PidFd(agent.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => End { exit_code: status.exit_status(), signal: status.terminating_signal() },
            // Not our child: another keeper made it.
            Ok(None) | Err(_) => match sys::pidfd_exit(&agent.pidfd) {
                Exit::Exited(code) => End { exit_code: Some(code), signal: None },
                Exit::Killed(signal) => End { exit_code: None, signal: Some(signal) },
                Exit::NotYet if !agent.killed && Instant::now() < until => return Some(Place::Fading { agent, until }),
                Exit::NotYet | Exit::CannotTell => End::default(),
            },
        };
        let oom_kills = self.ground.groups.group(name).observe().oom_kills.filter(|kills| *kills > 0);
        let End { exit_code, signal } = end;
        self.tell(&Answer::Ended { berth: name.to_owned(), exit_code, signal, oom_kills }, &[]);
        if agent.facts.bound.is_none() {
            return self.cleaning(name, clean::Files::KeepSurvivors);
        }
        agent.facts.end = Some(end);
        // Should it not be written, a later keeper says that nobody knows.
        let _ = self.facts.write(&agent.facts);
        self.told.insert(name.to_owned(), *agent.facts);
        self.cleaning(name, clean::Files::Remove)
    }

    /// A stem ended or said that it could not.
    fn lost(
        &mut self,
        name: &str,
        stem: &Side,
        order: Option<&Ordered>,
        heard: io::Result<Option<(Built, Vec<OwnedFd>)>>,
    ) -> Option<Place> {
        let why = match heard {
            Ok(Some((Built::Failed(why), _))) => why,
            Ok(_) => Failed::new("stem", "it ended before it was done"),
            Err(error) => Failed::new("stem", error),
        };
        stem.reap();
        let dismissed = self.forgotten.contains(name);
        let request = match order {
            Some(order) => order.request,
            None if dismissed => None,
            // A berth that cannot be made ready fails whoever waits for one; nobody waits for ever.
            None => self.waiting.pop_front().map(|waiting| waiting.request),
        };
        match request {
            Some(request) => self.tell(&Answer::Failed { request, why }, &[]),
            None if order.is_none() && !dismissed => self.berths_ready = self.berths_ready.saturating_sub(1),
            None => {}
        }
        self.cleaning(name, clean::Files::KeepSurvivors)
    }

    /// Takes down whatever there is of a berth.
    pub(super) fn clean(&mut self, name: &str, files: clean::Files) {
        let side = self.ground.beside(|| clean::stray(&self.ground, name, files));
        if let Ok(side) = side {
            self.places.insert(name.to_owned(), Place::Cleaning(side));
        }
    }

    fn cleaning(&self, name: &str, files: clean::Files) -> Option<Place> {
        self.ground.beside(|| clean::berth(&self.ground, name, files)).ok().map(Place::Cleaning)
    }

    fn cleaned(&mut self, name: &str, problem: Option<String>) {
        let forgotten = self.forgotten.remove(name);
        let survivor = self.ground.survivor(name);
        if forgotten && survivor.is_some() && problem.is_none() {
            // It was discarded while what ran over them was taken down.
            self.forgotten.insert(name.to_owned());
            return self.clean(name, clean::Files::Remove);
        }
        // What resists stays known, so that somebody can try again.
        if forgotten && problem.is_none() {
            self.told.remove(name);
            let _ = self.facts.remove(name);
        }
        // It was given files of another boot, and did not come so far as to own them.
        if let Some(owner) = survivor {
            self.survived(name, owner);
        }
        self.tell(&Answer::Cleaned { berth: name.to_owned(), problem }, &[]);
    }
}

impl Keeper {
    /// Another life of it can be made over the files that are in this berth.
    fn survived(&mut self, name: &str, owner: Owner) {
        // They were in another berth before.
        let moved = |found: &Facts| {
            let bound = found.bound.as_ref();
            found.survived && bound.is_some_and(|bound| bound.environment == owner.environment)
        };
        let moved: Vec<String> =
            self.told.iter().filter(|(_, found)| moved(found)).map(|(berth, _)| berth.clone()).collect();
        for berth in moved.into_iter().filter(|berth| !self.ground.volumes.exists(berth)) {
            self.told.remove(&berth);
            let _ = self.facts.remove(&berth);
        }
        self.told.insert(name.to_owned(), recover::survivor(&self.ground, name, owner));
    }
}

/// Ends a child and reaps it.
fn end(pidfd: &OwnedFd) {
    let _ = sys::pidfd_kill(pidfd);
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}
