//! Leases under load: taken, taken over, renewed, given up; and what is told to whoever holds none any more.

use crate::client::{Client, Stopped};
use crate::facts::{Certainty, Session};
use crate::http::{Holder, Request};
use serde_json::{Value, json};

/// Longer than any run: such a lease never runs out.
const LONG_MS: u64 = 12 * 3_600_000;
/// So short that a lease may run out while nobody renews it.
const SHORT_MS: u64 = 3000;
/// Soon enough for nearly every heartbeat to move the expiry.
const INTERVAL_MS: u64 = 20;

impl Session {
    /// Whether somebody may hold it.
    pub(crate) fn may_be_held(&self) -> bool {
        self.hold.unsure || self.hold.held.is_some()
    }

    /// The answer to taking its lease. Whether the token was none that was given before.
    pub(crate) fn lease_taken(&mut self, ttl_ms: u64, lease: &Value, expires_at: &Value) -> bool {
        if ttl_ms < LONG_MS {
            self.reasons.insert("lease_expired");
        }
        let Some(token) = lease["token"].as_u64() else { return false };
        let grew = token > self.hold.token_last;
        self.hold.token_last = token.max(self.hold.token_last);
        self.hold.held = Some(token);
        self.hold.expires_at = expires_at.as_str().unwrap_or_default().to_owned();
        self.hold.unsure = false;
        grew
    }
}

impl Client {
    /// How long a lease is to hold.
    pub(crate) fn terms(&mut self) -> Value {
        let ttl_ms = if self.random.percent(20) { SHORT_MS } else { LONG_MS };
        json!({ "ttl_ms": ttl_ms, "heartbeat_interval_ms": INTERVAL_MS })
    }

    /// Something about a session's lease.
    pub(crate) fn lease(&mut self, index: usize) -> Result<(), Stopped> {
        let held = self.sessions[index].hold.held.is_some();
        match self.random.below(100) {
            _ if !held => self.lease_take(index, self.sessions[index].hold.unsure),
            0..55 => self.heartbeat(index),
            55..67 => self.lease_take(index, true),
            67..75 => self.lease_take(index, false),
            75..90 => self.stale(index),
            _ => self.lease_release(index),
        }
    }

    /// Takes it; where somebody holds it, only as a takeover.
    fn lease_take(&mut self, index: usize, takeover: bool) -> Result<(), Stopped> {
        let mut terms = self.terms();
        let ttl_ms = terms["ttl_ms"].as_u64().unwrap_or_default();
        terms["takeover"] = takeover.into();
        let session = &mut self.sessions[index];
        let (id, before) = (session.id.clone(), session.hold.clone());
        if ttl_ms < LONG_MS {
            session.reasons.insert("lease_expired");
        }
        session.hold.unsure = true;
        let answer = self.ask(&Request::json("POST", format!("/v1/sessions/{id}/lease"), &terms))?;
        let body = answer.json();
        self.sessions[index].hold = before.clone();
        match (answer.status, answer.code().as_str()) {
            (200, _) => {
                let allowed = takeover || before.unsure || before.held.is_none();
                let grew = self.sessions[index].lease_taken(ttl_ms, &body["lease"], &body["lease_expires_at"]);
                self.acknowledged(if takeover { "lease takeover" } else { "lease take" });
                self.check(allowed, || format!("the lease of {id} was taken from its holder: {}", answer.told()));
                let last = before.token_last;
                self.check(grew, || format!("a token of {id} was given twice: {last} was before {}", answer.told()));
            }
            (409, "LEASE_HELD") => {
                let held = !takeover && (before.held.is_some() || before.unsure);
                self.check(held, || format!("nobody holds {id}: {}", answer.told()));
            }
            _ => self.refused(index, "lease take", &answer),
        }
        Ok(())
    }

    fn heartbeat(&mut self, index: usize) -> Result<(), Stopped> {
        let (id, before) = (self.sessions[index].id.clone(), self.sessions[index].hold.clone());
        let answer = self.ask(&Request::new("POST", format!("/v1/sessions/{id}/heartbeat")))?;
        match (answer.status, answer.code().as_str()) {
            (200, _) => {
                let until = answer.json()["lease_expires_at"].as_str().unwrap_or_default().to_owned();
                let known = before.expires_at;
                self.check(until >= known, || format!("the lease of {id} went from {known} back to {until}"));
                self.sessions[index].hold.expires_at = until;
                self.acknowledged("heartbeat");
            }
            (409, "NO_LEASE") => {
                self.check(before.unsure, || format!("{id} has no lease any more: {}", answer.told()));
            }
            _ => self.refused(index, "heartbeat", &answer),
        }
        Ok(())
    }

    /// An older token, or none, is refused.
    fn stale(&mut self, index: usize) -> Result<(), Stopped> {
        let hold = &self.sessions[index].hold;
        let (id, unsure, token) = (self.sessions[index].id.clone(), hold.unsure, hold.held.unwrap_or_default());
        let holder = if token > 1 { Holder::Of(self.random.below(token)) } else { Holder::Nobody };
        let request = match self.random.percent(50) {
            true => Request::new("POST", format!("/v1/sessions/{id}/heartbeat")),
            false => Request::new("PUT", format!("/v1/sessions/{id}/files?path=/workspace/stale")),
        };
        let answer = self.ask(&Request { holder, ..request })?;
        if answer.status == 412 {
            self.tally.checked += 1;
        } else {
            self.check(unsure || answer.status >= 400, || format!("{holder:?} of {id} came in: {}", answer.told()));
            if answer.status >= 400 {
                self.refused(index, "stale token", &answer);
            }
        }
        Ok(())
    }

    fn lease_release(&mut self, index: usize) -> Result<(), Stopped> {
        let (id, before) = (self.sessions[index].id.clone(), self.sessions[index].hold.clone());
        self.sessions[index].hold.unsure = true;
        let answer = self.ask(&Request::new("DELETE", format!("/v1/sessions/{id}/lease")))?;
        let hold = &mut self.sessions[index].hold;
        hold.unsure = before.unsure;
        match (answer.status, answer.code().as_str()) {
            (200, _) => {
                (hold.held, hold.unsure) = (None, false);
                hold.expires_at.clear();
                self.acknowledged("lease give up");
                self.lifetime_check(index, &answer.json());
            }
            (409, "NO_LEASE") if before.unsure => {}
            _ => self.refused(index, "lease give up", &answer),
        }
        Ok(())
    }

    /// A living session is held by whom it was, and no shorter than was acknowledged.
    pub(crate) fn lease_check(&mut self, index: usize, body: &Value) {
        let session = &self.sessions[index];
        let (id, hold) = (session.id.clone(), session.hold.clone());
        let found = body["lease_expires_at"].as_str().map(str::to_owned);
        if hold.unsure {
            return;
        }
        match (hold.held, found) {
            (Some(_), Some(until)) => {
                self.check(until >= hold.expires_at, || format!("the lease of {id} ends at {until}: {hold:?}"));
                self.sessions[index].hold.expires_at = until;
            }
            (None, None) => self.lifetime_check(index, body),
            (held, found) => self.lost(format!("the lease of {id} is {found:?}; known is {held:?}")),
        }
    }

    /// Who holds a session is made certain, where it is not: by a takeover, which nobody can have known the token of.
    pub(crate) fn lease_settle(&mut self, index: usize) -> Result<(), Stopped> {
        if !self.sessions[index].lives() || !self.sessions[index].hold.unsure {
            return Ok(());
        }
        self.lease_take(index, true)
    }

    /// The next token is above all that were given, also by servers that are dead.
    pub(crate) fn token_check(&mut self, index: usize) -> Result<(), Stopped> {
        if self.sessions[index].lives() && self.sessions[index].hold.token_last > 0 {
            self.lease_take(index, true)?;
        }
        Ok(())
    }

    /// The end of a lifetime stays where it was acknowledged, whatever the wall clock does.
    fn lifetime_check(&mut self, index: usize, body: &Value) {
        let session = &self.sessions[index];
        let (id, short) = (session.id.clone(), session.soon.is_some());
        let Some(found) = body["expires_at"].as_str().filter(|_| !short).map(str::to_owned) else { return };
        let good = match &session.expires_at {
            Some((known, Certainty::Yes)) => found == *known,
            Some((known, Certainty::Perhaps | Certainty::No)) => found >= *known,
            None => true,
        };
        let known = session.expires_at.clone();
        self.check(good, || format!("the lifetime of {id} ends at {found}; known is {known:?}"));
        self.sessions[index].expires_at = Some((found, Certainty::Yes));
    }
}
