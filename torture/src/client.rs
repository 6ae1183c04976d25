//! A client: what it has, what it counts, and how it takes answers that nobody wished for.

use crate::facts::{ApiKey, Certainty, Creating, End, Session};
use crate::http::{Answer, Broken, Connection, Holder, Request};
use crate::random::Random;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is done to others than the manager, beside the clients' work. Set before it is done.
#[derive(Debug, Default)]
pub struct Weather {
    /// Agents are being killed: sessions may fail.
    pub agents: AtomicBool,
    /// How many were, in all.
    pub agents_killed: AtomicU64,
    /// The keeper is being killed: environments may not be made.
    pub keeper: AtomicBool,
    /// The host fails: what cannot be made durable is refused.
    pub trouble: AtomicBool,
    /// The disk is full: what programs print may be cut, where that is said.
    pub full: AtomicBool,
    /// The round is over.
    pub over: AtomicBool,
}

/// What was done, and what was lost.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Operations that were acknowledged, by name.
    pub acknowledged: BTreeMap<&'static str, u64>,
    /// Operations whose answer never came.
    pub unknown: u64,
    /// Operations that were refused because the host failed.
    pub unavailable: u64,
    /// Things that were compared with what is there.
    pub checked: u64,
    /// Sessions that ended because their environment was killed.
    pub failed: u64,
    /// What was not as it should be, in words.
    pub losses: Vec<String>,
}

impl Tally {
    /// Adds another's.
    pub fn add(&mut self, other: &Tally) {
        for (name, count) in &other.acknowledged {
            *self.acknowledged.entry(name).or_default() += count;
        }
        self.unknown += other.unknown;
        self.unavailable += other.unavailable;
        self.checked += other.checked;
        self.failed += other.failed;
        self.losses.extend(other.losses.iter().cloned());
    }
}

/// The server went away, or something that only it could answer.
#[derive(Debug)]
pub struct Stopped;

/// A client with sessions of its own.
pub struct Client {
    pub(crate) name: String,
    pub(crate) random: Random,
    pub(crate) connection: Option<Connection>,
    pub(crate) weather: Arc<Weather>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) creating: Vec<Creating>,
    pub(crate) keys: Vec<ApiKey>,
    pub(crate) round: u64,
    serial: u64,
    /// What it did and found.
    pub tally: Tally,
}

impl Client {
    /// A new one, whose choices are decided by this chance.
    pub fn new(name: String, random: Random, weather: Arc<Weather>) -> Client {
        let tally = Tally::default();
        let (sessions, creating, keys) = (Vec::new(), Vec::new(), Vec::new());
        Client { name, random, connection: None, weather, sessions, creating, keys, round: 0, serial: 0, tally }
    }

    /// From now on it talks over this connection, in this round.
    pub fn connect(&mut self, connection: Connection, round: u64) {
        self.connection = Some(connection);
        self.round = round;
    }

    /// A word that nobody else uses.
    pub(crate) fn word(&mut self, kind: &str) -> String {
        self.serial += 1;
        format!("{kind}-{}-{}", self.name, self.serial)
    }

    /// Something is not as it should be.
    pub(crate) fn lost(&mut self, what: impl Into<String>) {
        let loss = format!("round {} client {}: {}", self.round, self.name, what.into());
        self.tally.losses.push(loss);
    }

    /// Something was compared.
    pub(crate) fn check(&mut self, is_so: bool, otherwise: impl FnOnce() -> String) {
        self.tally.checked += 1;
        if !is_so {
            self.lost(otherwise());
        }
    }

    pub(crate) fn acknowledged(&mut self, operation: &'static str) {
        *self.tally.acknowledged.entry(operation).or_default() += 1;
    }

    /// Asks once.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer, Stopped> {
        let token = self.token(request);
        let Some(connection) = &mut self.connection else { return Err(Stopped) };
        match connection.ask(request, token) {
            Ok(answer) => self.believed(answer),
            Err(Broken { unsent, hung, why }) => {
                if hung {
                    self.lost(format!("{} {} hangs: {why}", request.method, request.path));
                }
                self.tally.unknown += u64::from(!unsent);
                Err(Stopped)
            }
        }
    }

    /// Where the host fails, whoever is refused for it does not know whether it was done.
    pub(crate) fn believed(&mut self, answer: Answer) -> Result<Answer, Stopped> {
        let code = answer.code();
        match (answer.status, code.as_str()) {
            (503, "UNAVAILABLE" | "INIT_FAILED") | (507, "DISK_FULL") if self.in_trouble() => {
                self.tally.unavailable += 1;
                Err(Stopped)
            }
            _ => Ok(answer),
        }
    }

    /// The token of the session that is meant.
    fn token(&self, request: &Request) -> Option<u64> {
        match request.holder {
            Holder::Nobody => None,
            Holder::Of(token) => Some(token),
            Holder::Rightful => {
                let id = request.path.strip_prefix("/v1/sessions/")?.split(['/', '?']).next()?;
                self.sessions.iter().find(|session| session.id == id)?.hold.held
            }
        }
    }

    pub(crate) fn in_trouble(&self) -> bool {
        self.weather.trouble.load(Ordering::Relaxed)
    }

    /// Whether the round is over.
    pub(crate) fn is_over(&self) -> bool {
        self.weather.over.load(Ordering::Relaxed)
    }

    pub(crate) fn agents_die(&self) -> bool {
        self.weather.agents.load(Ordering::Relaxed)
    }

    pub(crate) fn keeper_dies(&self) -> bool {
        self.weather.keeper.load(Ordering::Relaxed)
    }

    /// Compares an end with what is known, and remembers it.
    pub(crate) fn ended(&mut self, index: usize, end: End) {
        let session = &mut self.sessions[index];
        let told = format!("{} ended at {} for {}", session.id, end.at, end.reason);
        let lease_ended = end.reason == "lease_expired";
        let early = lease_ended && end.at < session.hold.expires_at;
        let until = session.hold.expires_at.clone();
        self.check(!early, || format!("{told}; its lease was acknowledged until {until}"));
        let session = &mut self.sessions[index];
        match &session.end {
            Some(known) => {
                let known = known.clone();
                self.check(known == end, || format!("{told}; acknowledged was {} for {}", known.at, known.reason));
            }
            None => {
                let killed = matches!(end.reason.as_str(), "environment_lost" | "failed_runtime");
                let allowed = session.may_end(&end.reason)
                    || killed && (self.weather.agents.load(Ordering::Relaxed) || session.reasons.contains("killed"));
                session.end = Some(end);
                self.tally.failed += u64::from(killed);
                self.check(allowed, || format!("{told}, which nothing called for"));
            }
        }
    }

    /// An answer to an operation on a session that is no success: a refusal that its state explains, or a finding.
    pub(crate) fn refused(&mut self, index: usize, what: &str, answer: &Answer) {
        let (id, code) = (self.sessions[index].id.clone(), answer.code());
        match (answer.status, code.as_str()) {
            (410, _) => match End::of(&answer.json()) {
                Some(end) => self.ended(index, end),
                None => self.lost(format!("{what} on {id}: 410 without an end: {}", answer.told())),
            },
            (409, "SESSION_PAUSED") => {
                let may_be = self.sessions[index].may_be("paused");
                self.check(may_be, || format!("{what} on {id}: paused, which it was not"));
            }
            (412, "STALE_LEASE") if self.sessions[index].hold.unsure => {}
            // It is being taken over.
            (503, "RECOVERING") => {}
            // One that was killed while it was frozen dies when it thaws.
            _ if self.agents_die() || self.sessions[index].reasons.contains("killed") => {}
            _ => self.lost(format!("{what} on {id}: {}", answer.told())),
        }
    }

    /// Agents were killed: whatever lived may have failed by it.
    pub fn agents_were_killed(&mut self) {
        for session in self.sessions.iter_mut().filter(|session| session.end.is_none()) {
            session.reasons.insert("killed");
        }
    }

    /// The disk was full: what runs may have printed what nobody could keep.
    pub fn disk_was_full(&mut self) {
        self.sessions.iter_mut().filter(|session| session.end.is_none()).for_each(|session| session.cut = true);
    }

    /// Whether output of this session may be cut.
    pub(crate) fn may_be_cut(&self, index: usize) -> bool {
        self.sessions[index].cut || self.weather.full.load(Ordering::Relaxed)
    }

    /// Sessions that live, for all that is known.
    pub(crate) fn living(&self) -> Vec<usize> {
        let lives = |index: &usize| self.sessions[*index].lives();
        (0..self.sessions.len()).filter(lives).collect()
    }

    /// Takes up a session that the server told of.
    pub(crate) fn take_up(&mut self, creating: &Creating, body: &Value, answered: Certainty) {
        let Some(id) = body["id"].as_str() else {
            return self.lost(format!("a session without an ID: {body}"));
        };
        let mut session = Session::new(id, &creating.tag, creating.soon);
        session.asked = creating.key.clone().map(|key| (key, creating.body.clone()));
        if answered != Certainty::Yes {
            session.reasons.extend(["failed_init", "failed_infra"]);
            session.states.extend(["created".to_owned(), "initializing".to_owned()]);
        }
        if let Some(ttl_ms) = creating.body["lease"]["ttl_ms"].as_u64() {
            session.hold.unsure = true;
            session.lease_taken(ttl_ms, &body["lease"], &body["lease_expires_at"]);
        } else if creating.soon.is_none() {
            session.expires_at = body["expires_at"].as_str().map(|at| (at.to_owned(), Certainty::Yes));
        }
        self.sessions.push(session);
        if let Some(end) = body["terminated_at"].is_string().then(|| End::of(body)).flatten() {
            self.ended(self.sessions.len() - 1, end);
        }
    }
}
