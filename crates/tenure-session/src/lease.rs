//! A lease: who holds a session and until when; how it is taken, renewed and given up, and what fences its holders from each other (LS-1…7, GV-7).
//!
//! ```text
//!            take                    renew: expiry = now + TTL, once per interval
//!  no lease ──────► held (token n) ──┐
//!      ▲              │   ▲     ▲    │
//!      │ give up      │   │     └────┘
//!      └──────────────┤   └── take over: token n + 1
//!                     ▼
//!                  expired: the session ends, and nothing renews it
//! ```
//!
//! The token only grows: the session remembers the highest one it ever gave, whatever became of that lease. A lease that ran out is never renewed, also not
//! by whoever comes before its end is recorded. The store says the same again inside each update.

use crate::limits::{InvalidField, Range};
use crate::presence::{Presence, activity_lag_ms};
use crate::session::Session;
use crate::state::State;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest idle window that a session is given after a time in which nobody could have worked in it.
const IDLE_AFTER_DOWNTIME_MS: u64 = 60_000;

/// How many intervals a heartbeat may be away before it counts as late.
const LATE_INTERVALS: u64 = 2;

/// Fences the holders of one session from each other: it only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseToken(pub u64);

impl LeaseToken {
    /// The one that comes after it.
    #[must_use]
    pub fn next(self) -> LeaseToken {
        LeaseToken(self.0.saturating_add(1))
    }
}

/// A lease as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The holder's token.
    pub token: LeaseToken,
    /// For how long a renewal holds.
    pub ttl_ms: u64,
    /// How often the holder is asked to renew.
    pub heartbeat_interval_ms: u64,
    /// When it runs out, if it is not renewed.
    pub expires_at: Timestamp,
    /// When it was last renewed; never where it was only taken.
    pub last_heartbeat_at: Option<Timestamp>,
}

/// For how long a lease holds, and how often it is to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseTerms {
    /// For how long a renewal holds.
    pub ttl_ms: u64,
    /// How often the holder is asked to renew.
    pub heartbeat_interval_ms: u64,
}

/// The terms that somebody asks for: what is not given is taken from further down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaseRequest {
    /// See [`LeaseTerms::ttl_ms`].
    pub ttl_ms: Option<u64>,
    /// See [`LeaseTerms::heartbeat_interval_ms`].
    pub heartbeat_interval_ms: Option<u64>,
}

/// Defaults and bounds of leases: from the configuration, and from nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeasePolicy {
    /// Where neither request nor template say.
    pub default: LeaseTerms,
    /// Bounds of [`LeaseTerms::ttl_ms`].
    pub ttl_ms: Range,
}

impl Default for LeasePolicy {
    /// 60 seconds, renewed every 5; from a tenth of a second to a day.
    fn default() -> Self {
        LeasePolicy {
            default: LeaseTerms { ttl_ms: 60_000, heartbeat_interval_ms: 5_000 },
            ttl_ms: Range::new(100..=24 * 3_600_000),
        }
    }
}

/// The terms of a lease: the request's over the template's over the default, within the bounds (LS-1). An interval that nobody asked for fits the TTL; one
/// that was asked for is shorter than it, as no renewal would come in time otherwise.
pub fn lease_terms(
    request: &LeaseRequest,
    template: Option<LeaseTerms>,
    policy: &LeasePolicy,
) -> Result<LeaseTerms, InvalidField> {
    let ttl_ms = request.ttl_ms.or(template.map(|terms| terms.ttl_ms)).unwrap_or(policy.default.ttl_ms);
    if !policy.ttl_ms.holds(ttl_ms) {
        let problem = format!("is {ttl_ms}, allowed is {} to {}", policy.ttl_ms.min, policy.ttl_ms.max);
        return Err(InvalidField::new("lease.ttl_ms", problem));
    }
    let usual = template.map_or(policy.default.heartbeat_interval_ms, |terms| terms.heartbeat_interval_ms);
    let fitting = usual.min(ttl_ms / 2).max(1);
    let heartbeat_interval_ms = request.heartbeat_interval_ms.unwrap_or(fitting);
    if !(1..ttl_ms).contains(&heartbeat_interval_ms) {
        let problem = format!("is {heartbeat_interval_ms}, allowed is 1 to less than ttl_ms");
        return Err(InvalidField::new("lease.heartbeat_interval_ms", problem));
    }
    Ok(LeaseTerms { ttl_ms, heartbeat_interval_ms })
}

/// What becomes of a wish to take a session's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseTake {
    /// It is taken, and this is what the session has from now on; its token is the highest there ever was.
    Taken(Lease),
    /// Somebody holds it until then, and it was not to be taken over.
    Held(Timestamp),
    /// The session has ended, or its lease ran out and it is about to.
    Over,
}

/// Takes the lease of a session (LS-7). Over a holder only where `takeover` says so, whoever that holder is.
pub fn lease_take(session: &Session, terms: LeaseTerms, takeover: bool, now: Timestamp) -> LeaseTake {
    match held(session, now) {
        Held::Over => LeaseTake::Over,
        Held::By(lease) if !takeover => LeaseTake::Held(lease.expires_at),
        Held::By(_) | Held::Free => LeaseTake::Taken(Lease {
            token: session.lease_token_last.next(),
            ttl_ms: terms.ttl_ms,
            heartbeat_interval_ms: terms.heartbeat_interval_ms,
            expires_at: now.plus_ms(terms.ttl_ms).min(session.lifetime_ends_at),
            last_heartbeat_at: None,
        }),
    }
}

/// What becomes of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseRenewal {
    /// The lease is this from now on.
    Renewed {
        /// What it is.
        lease: Lease,
        /// Whether the heartbeat came late: after more than two intervals.
        late: bool,
    },
    /// It was renewed within the interval: it stays as it is.
    Fresh(Lease),
    /// The session has no lease.
    NoLease,
    /// Somebody else holds it.
    Stale,
    /// The session has ended, or its lease ran out and it is about to.
    Over,
}

/// Renews the lease of a session for whoever has this token (LS-2). Its expiry never moves back, and never past the end of the session's lifetime.
pub fn lease_renew(session: &Session, token: Option<LeaseToken>, now: Timestamp) -> LeaseRenewal {
    let lease = match held(session, now) {
        Held::Over => return LeaseRenewal::Over,
        Held::Free => return LeaseRenewal::NoLease,
        Held::By(lease) if token != Some(lease.token) => return LeaseRenewal::Stale,
        Held::By(lease) => lease,
    };
    // A clock that was set back makes no heartbeat: one that seems to come before the last is within its interval.
    if lease.last_heartbeat_at.is_some_and(|last| now.ms_since(last) < lease.heartbeat_interval_ms) {
        return LeaseRenewal::Fresh(lease);
    }
    let expires_at = now.plus_ms(lease.ttl_ms).min(session.lifetime_ends_at).max(lease.expires_at);
    let renewed = Lease { expires_at, last_heartbeat_at: Some(now), ..lease };
    LeaseRenewal::Renewed { lease: renewed, late: is_late(session, &lease, now) }
}

/// What becomes of a wish to give the lease up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseRelease {
    /// The session has no lease from now on.
    Released,
    /// It has none already.
    NoLease,
    /// Somebody else holds it.
    Stale,
    /// The session has ended, or its lease ran out and it is about to.
    Over,
}

/// Gives the lease of a session up. The session lives on without one, and the token is never given again.
pub fn lease_release(session: &Session, token: Option<LeaseToken>, now: Timestamp) -> LeaseRelease {
    match held(session, now) {
        Held::Over => LeaseRelease::Over,
        Held::Free => LeaseRelease::NoLease,
        Held::By(lease) if token == Some(lease.token) => LeaseRelease::Released,
        Held::By(_) => LeaseRelease::Stale,
    }
}

/// What a session is moved to after a time in which the service was down (GV-7). `None` where nothing of it ran out in that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DowntimeShift {
    /// When its lease runs out now.
    pub lease_expires_at: Option<Timestamp>,
    /// When it counts as last worked in now.
    pub last_activity_at: Option<Timestamp>,
}

/// What is moved of a session after the service was down from the last sign of life until its start: a lease that ran out meanwhile gets one TTL from the
/// start, an idle limit that passed meanwhile one idle window from it, at most 60 s. What had run out before the service went down stays so.
pub fn shift_downtime(session: &Session, from: Timestamp, until: Timestamp) -> Option<DowntimeShift> {
    if session.end.is_some() {
        return None;
    }
    let meanwhile = |at: &Timestamp| from < *at && *at <= until;
    let lease_expires_at = session.lease.filter(|lease| meanwhile(&lease.expires_at)).map(|lease| {
        let one_ttl = until.plus_ms(lease.ttl_ms);
        one_ttl.min(session.lifetime_ends_at).max(lease.expires_at)
    });
    let last_activity_at = idle_timeout_ms(session).and_then(|timeout_ms| idle_again(session, timeout_ms, from, until));
    (lease_expires_at.is_some() || last_activity_at.is_some())
        .then_some(DowntimeShift { lease_expires_at, last_activity_at })
}

/// When it counts as last worked in, so that its idle limit passes one window after the start. What a crash may have lost of its activity is taken for
/// granted before and after, see [`Presence::after_crash`].
fn idle_again(session: &Session, timeout_ms: u64, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let passed_at = Presence::after_crash(session, from).last_activity_at(session).plus_ms(timeout_ms);
    if passed_at <= from || until < passed_at {
        return None;
    }
    let before_ms = timeout_ms.saturating_add(activity_lag_ms(&session.limits));
    let passes_at = until.plus_ms(timeout_ms.min(IDLE_AFTER_DOWNTIME_MS));
    let worked_in = passes_at.as_ms().saturating_sub(i64::try_from(before_ms).unwrap_or(i64::MAX));
    Some(Timestamp::from_ms(worked_in).max(session.last_activity_at))
}

/// Its idle timeout, where its idle clock runs.
fn idle_timeout_ms(session: &Session) -> Option<u64> {
    match session.state {
        State::Ready | State::Running => session.limits.idle_timeout_ms,
        State::Created | State::Initializing | State::Paused | State::Terminated | State::Failed => None,
    }
}

/// Who holds a session.
enum Held {
    /// Nobody.
    Free,
    /// The holder of this lease, which has not run out.
    By(Lease),
    /// Nobody ever again.
    Over,
}

fn held(session: &Session, now: Timestamp) -> Held {
    match session.lease {
        _ if session.end.is_some() => Held::Over,
        None => Held::Free,
        Some(lease) if now >= lease.expires_at => Held::Over,
        Some(lease) => Held::By(lease),
    }
}

/// Whether more than two intervals passed since the last heartbeat, or since the lease was taken where there was none yet. When that was is known from the
/// expiry, unless the end of the lifetime cut it short.
fn is_late(session: &Session, lease: &Lease, now: Timestamp) -> bool {
    let taken_at = || {
        let ttl_ms = i64::try_from(lease.ttl_ms).unwrap_or(i64::MAX);
        (lease.expires_at < session.lifetime_ends_at)
            .then(|| Timestamp::from_ms(lease.expires_at.as_ms().saturating_sub(ttl_ms)))
    };
    let last = lease.last_heartbeat_at.or_else(taken_at);
    last.is_some_and(|last| now.ms_since(last) > lease.heartbeat_interval_ms.saturating_mul(LATE_INTERVALS))
}
