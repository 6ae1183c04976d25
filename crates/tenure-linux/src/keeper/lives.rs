//! What a manager knows of the environments that its keeper has, and who waits for what.

use super::berth::Berth;
use super::facts::Facts;
use crate::walls::step::Failed;
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tenure_environment::EnvironmentEnd;
use tokio::sync::{oneshot, watch};

/// What names a living environment, for as long as anybody holds it.
#[derive(Debug, Clone)]
pub struct Files {
    /// Its agent's process descriptor.
    pub pidfd: Arc<OwnedFd>,
    /// Its volume's directory.
    pub volume_dir: Arc<OwnedFd>,
}

impl Files {
    /// As they come with an answer; none where it brings none.
    fn of(files: Vec<OwnedFd>) -> Option<Files> {
        let [pidfd, volume_dir] = <[OwnedFd; 2]>::try_from(files).ok()?;
        Some(Files { pidfd: Arc::new(pidfd), volume_dir: Arc::new(volume_dir) })
    }
}

/// A new environment.
#[derive(Debug)]
pub struct Created {
    /// Where it is.
    pub berth: Berth,
    /// Its descriptors.
    pub files: Files,
    /// How far it is on its way out.
    pub life: watch::Receiver<Life>,
}

/// An environment that the keeper has.
#[derive(Debug)]
pub struct Held {
    /// What is known of it.
    pub facts: Facts,
    /// Its descriptors, where it lives.
    pub files: Option<Files>,
    /// How far it is on its way out.
    pub life: watch::Receiver<Life>,
}

/// An environment's life as its keeper sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Its agent runs.
    Alive,
    /// Its agent has ended.
    Ended(EnvironmentEnd),
    /// Nothing of it is left, or this could not be removed.
    Cleaned(EnvironmentEnd, Option<String>),
}

impl Life {
    /// How it ended, if it has.
    pub fn end(&self) -> Option<EnvironmentEnd> {
        match self {
            Life::Alive => None,
            Life::Ended(end) | Life::Cleaned(end, _) => Some(*end),
        }
    }
}

/// What is under way.
#[derive(Debug, Default)]
pub struct State {
    /// Orders, by number.
    pub creating: HashMap<u64, oneshot::Sender<Result<Created, Failed>>>,
    /// Bindings, by number.
    pub binding: HashMap<u64, oneshot::Sender<Option<String>>>,
    /// Lists, by number.
    pub listing: HashMap<u64, oneshot::Sender<()>>,
    /// How far each berth's environment is on its way out.
    pub lives: HashMap<String, watch::Sender<Life>>,
    /// How many processes the kernel had killed for memory, of environments that ended after some were.
    pub oom_kills: HashMap<String, u64>,
    /// The descriptors of what lives: once for each, however often it is told.
    files: HashMap<String, Files>,
    /// What the keeper told last of all bound environments.
    pub held: Vec<Arc<Held>>,
    /// What it is telling now.
    telling: Vec<Arc<Held>>,
    /// Berths that the keeper before knew, and this one has not spoken of yet.
    pub doubtful: HashSet<String>,
}

impl State {
    /// The keeper is gone for good, and its environments with it: nobody will hear more of what was under way.
    pub fn abandon(&mut self) {
        // An open directory would keep the pool mounted.
        self.files.clear();
        self.held.clear();
        for (_, life) in self.lives.drain() {
            life.send_if_modified(|life| {
                let alive = *life == Life::Alive;
                if alive {
                    *life = Life::Ended(EnvironmentEnd::Unknown);
                }
                alive
            });
        }
    }

    /// Nobody will answer what was asked.
    pub fn abandon_requests(&mut self) {
        self.creating.clear();
        self.binding.clear();
        self.listing.clear();
        self.telling.clear();
    }

    /// The keeper has made an environment.
    pub fn created(&mut self, request: u64, berth: Berth, files: Vec<OwnedFd>) {
        let Some(files) = Files::of(files) else { return };
        let (sender, life) = watch::channel(Life::Alive);
        self.lives.insert(berth.name.clone(), sender);
        self.files.insert(berth.name.clone(), files.clone());
        if let Some(waiting) = self.creating.remove(&request) {
            let _ = waiting.send(Ok(Created { berth, files, life }));
        }
    }

    /// An agent has ended.
    pub fn ended(&mut self, berth: &str, end: EnvironmentEnd) {
        if let Some(life) = self.lives.get(berth) {
            life.send_if_modified(|life| {
                let alive = *life == Life::Alive;
                if alive {
                    *life = Life::Ended(end);
                }
                alive
            });
        }
    }

    /// Nothing is left in a berth, or this could not be removed.
    pub fn cleaned(&mut self, berth: &str, problem: Option<String>) {
        self.files.remove(berth);
        if let Some(life) = self.lives.remove(berth) {
            let end = life.borrow().end().unwrap_or(EnvironmentEnd::Unknown);
            life.send_replace(Life::Cleaned(end, problem));
        }
    }

    /// The keeper tells of one bound environment.
    pub fn is_held(&mut self, facts: Facts, files: Vec<OwnedFd>) {
        let berth = facts.berth.name.clone();
        let end = match (facts.end, &facts.evidence) {
            (Some(end), _) => Some(EnvironmentEnd::from(end)),
            (None, Some(_)) => Some(EnvironmentEnd::Unknown),
            (None, None) => None,
        };
        self.doubtful.remove(&berth);
        let life = self.lives.entry(berth.clone()).or_insert_with(|| watch::Sender::new(Life::Alive)).subscribe();
        if let Some(end) = end {
            self.ended(&berth, end);
        }
        let files = match (self.files.get(&berth), Files::of(files)) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(told)) => Some(self.files.entry(berth).or_insert(told).clone()),
            (None, None) => None,
        };
        self.telling.push(Arc::new(Held { facts, files, life }));
    }

    /// It has told of all.
    pub fn listed(&mut self, request: u64) {
        self.held = std::mem::take(&mut self.telling);
        // What the new keeper does not know is gone: it found everything there was.
        for berth in std::mem::take(&mut self.doubtful) {
            self.cleaned(&berth, None);
        }
        if let Some(waiting) = self.listing.remove(&request) {
            let _ = waiting.send(());
        }
    }
}
