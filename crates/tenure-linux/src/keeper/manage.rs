//! What managers ask of a keeper, and what becomes of their environments when they go.

use super::clean::Files;
use super::door::Caller;
use super::facts::Bound;
use super::link::{Heard, Link};
use super::place::{Ordered, Place};
use super::serve::{Keeper, Waiting};
use super::wire::{self, Answer, Build, Greeting, Hello, Request, VERSION_MAX, VERSION_MIN};
use crate::sys;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

impl Keeper {
    /// Hears one packet: others get their turn between two.
    pub(super) fn hear_manager(&mut self) {
        let Some(manager) = &mut self.manager else { return };
        manager.flush();
        match manager.hear() {
            Heard::Request(request, files) => self.serve_request(*request, files),
            Heard::Nothing => {}
            Heard::Gone => self.manager_gone(),
        }
    }

    fn serve_request(&mut self, request: Request, files: Vec<OwnedFd>) {
        match request {
            Request::Create { request, order } => {
                self.waiting.push_back(Waiting { request, order, held: files });
                self.serve_waiting();
                if self.only_one {
                    self.berths_ready = 0;
                }
            }
            Request::Kill { berth } => self.kill(&berth),
            Request::Deadline { berth, deadline_boot_ms, grace_ms } => {
                self.deadline_set(&berth, deadline_boot_ms, grace_ms);
            }
            Request::Bind { request, berth, environment, generation, deadline_boot_ms, grace_ms } => {
                let bound = Bound { environment, generation };
                let problem = self.bind(&berth, bound, deadline_boot_ms, grace_ms).err();
                self.tell(&Answer::Bound { request, problem }, &[]);
            }
            Request::List { request } => self.list(request),
            Request::Forget { berth } => self.forget(berth),
            Request::Discard { berth } => self.discard(&berth),
            Request::Quit => self.quit(),
        }
    }

    /// Gives ready berths to waiting orders.
    pub(super) fn serve_waiting(&mut self) {
        let is_ready = |(_, place): &(&String, &Place)| matches!(place, Place::Ready(_));
        let ready: Vec<String> = self.places.iter().filter(is_ready).map(|(name, _)| name.clone()).collect();
        for name in ready {
            let Some(Waiting { request, order, held }) = self.waiting.pop_front() else { return };
            let Some(Place::Ready(stem)) = self.places.remove(&name) else { continue };
            let ordered = Ordered { request: Some(request), key: order.key, grace_ms: order.grace_ms, held };
            // A stem that has just died shows itself at its end; then the request fails.
            let _ = wire::send(&stem.socket, &Build { order }, &[]);
            self.places.insert(name, Place::Building { stem, order: ordered, child: None });
        }
    }

    fn bind(&mut self, berth: &str, bound: Bound, deadline_boot_ms: Option<u64>, grace_ms: u64) -> Result<(), String> {
        let Some(Place::Live { agent }) = self.places.get_mut(berth) else { return Err("it has ended".into()) };
        let facts = &mut agent.facts;
        (facts.bound, facts.deadline_boot_ms, facts.grace_ms) = (Some(bound), deadline_boot_ms, grace_ms);
        // What is not written down another keeper would take for nobody's.
        self.facts.write(facts).map_err(|error| error.to_string())
    }

    fn deadline_set(&mut self, berth: &str, deadline_boot_ms: Option<u64>, grace_ms: u64) {
        let Some(Place::Live { agent }) = self.places.get_mut(berth) else { return };
        let facts = &mut agent.facts;
        (facts.deadline_boot_ms, facts.grace_ms) = (deadline_boot_ms, grace_ms);
        if facts.bound.is_some() {
            // The agent holds its deadline itself; this copy is for one that is frozen when this keeper is killed as well.
            let _ = self.facts.write(facts);
        }
    }

    fn list(&mut self, request: u64) {
        let mut manager = self.manager.take();
        if let Some(manager) = &mut manager {
            for agent in self.places.values().filter_map(Place::process).filter(|agent| agent.facts.bound.is_some()) {
                let volume_dir = File::open(&agent.facts.berth.volume.path).ok();
                let mut files = vec![agent.pidfd.as_fd()];
                files.extend(volume_dir.as_ref().map(AsFd::as_fd));
                manager.tell(&Answer::Held(agent.facts.clone()), &files);
            }
            for facts in self.told.values() {
                manager.tell(&Answer::Held(Box::new(facts.clone())), &[]);
            }
            manager.tell(&Answer::Listed { request }, &[]);
        }
        self.manager = manager;
    }

    fn forget(&mut self, berth: String) {
        if self.places.contains_key(&berth) {
            self.forgotten.insert(berth);
        } else if self.told.get(&berth).is_some_and(|facts| !facts.survived) {
            // Files that another life may be made over are discarded, never forgotten.
            self.told.remove(&berth);
            let _ = self.facts.remove(&berth);
        }
    }

    fn discard(&mut self, berth: &str) {
        match self.places.get(berth) {
            Some(_) => {
                self.forgotten.insert(berth.to_owned());
                self.kill(berth);
            }
            None if self.told.contains_key(berth) => {
                self.forgotten.insert(berth.to_owned());
                self.clean(berth, Files::Remove);
            }
            None => self.tell(&Answer::Cleaned { berth: berth.to_owned(), problem: None }, &[]),
        }
    }

    pub(super) fn kill(&mut self, name: &str) {
        if let Some(agent) = self.places.get_mut(name).and_then(Place::process_mut) {
            // Whoever kills does not wait to hear what killed it.
            agent.killed = true;
            let _ = sys::pidfd_kill(&agent.pidfd);
            // On version 1 a frozen process dies only when it is thawed.
            let _ = agent.facts.berth.group.thaw();
        }
    }

    fn quit(&mut self) {
        self.quitting = true;
        self.dismiss_stems();
        for name in self.places.keys().cloned().collect::<Vec<_>>() {
            self.kill(&name);
        }
    }

    /// Nobody orders anything more for now.
    fn dismiss_stems(&mut self) {
        self.waiting.clear();
        for (name, place) in &self.places {
            if let Place::Preparing(side) | Place::Ready(side) = place {
                self.forgotten.insert(name.clone());
                // Its socket closed, a stem that waits ends; one that prepares ends when it reports.
                let _ = rustix::net::shutdown(&side.socket, rustix::net::Shutdown::Both);
            }
        }
    }

    /// Its environments end with it, or go on if they are bound.
    fn manager_gone(&mut self) {
        self.manager = None;
        if self.door.is_none() {
            return self.quit();
        }
        self.berths_ready = 0;
        self.dismiss_stems();
        for place in self.places.values_mut() {
            if let Place::Building { order, .. } | Place::Starting { order, .. } = place {
                // Whoever comes next counts its own.
                order.request = None;
            }
        }
        self.end_unbound();
    }

    /// Ends what belongs to nobody, once no manager is left that could give it away.
    fn end_unbound(&mut self) {
        let unbound = self.places.values().filter_map(Place::agent).filter(|agent| agent.facts.bound.is_none());
        for name in unbound.map(|agent| agent.facts.berth.name.clone()).collect::<Vec<_>>() {
            self.kill(&name);
        }
    }

    /// Somebody at the door has said something.
    pub(super) fn hear_callers(&mut self) {
        while let Some(caller) = self.door.as_mut().and_then(super::door::Door::hear) {
            if let Caller::Manager(socket, hello) = caller {
                self.receive(socket, &hello);
            }
        }
    }

    /// Lets a manager take over, unless another one lives.
    fn receive(&mut self, socket: OwnedFd, hello: &Hello) {
        let Some(version) = wire::choose_version(hello.version_min, hello.version_max) else {
            let greeting = Greeting::NoVersion { version_min: VERSION_MIN, version_max: VERSION_MAX };
            return drop(wire::send(&socket, &greeting, &[]));
        };
        if self.manager.as_ref().is_some_and(Link::is_dead) {
            self.hear_out_the_dead();
        }
        if self.manager.is_some() || self.quitting {
            return drop(wire::send(&socket, &Greeting::Busy, &[]));
        }
        // Whoever does not take this is seen as gone by the loop.
        let _ = wire::send(&socket, &Greeting::Welcome { version }, &[]);
        let Ok(link) = Link::new(socket) else { return };
        self.berths_ready = hello.berths_ready;
        self.serve_manager(link);
        self.tell(&Answer::Up(self.host.clone()), &[]);
    }

    /// What a manager said before it died counts.
    fn hear_out_the_dead(&mut self) {
        while self.manager.as_ref().is_some_and(Link::is_dead) {
            self.hear_manager();
        }
    }
}
