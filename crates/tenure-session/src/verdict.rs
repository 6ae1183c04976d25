//! Whether a session goes on: the one place in which a limit is compared with a clock (TM-4, GV-3).
//!
//! Requests, the sweeper, recovery and `explain` all ask here. A limit is passed at the instant it names, not after it. Where several are passed, the
//! first in the order of [`Limit`] is the reason, and the instant is the one at which that limit passed, whoever asks when.

use crate::presence::{Presence, Work};
use crate::reason::TerminationReason;
use crate::session::{End, Session};
use crate::state::State;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What ends a session by itself, in the order in which it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// It lived as long as it may.
    MaxLifetime,
    /// Nobody worked in it for as long as that may be.
    IdleTimeout,
    /// Its lease ran out.
    LeaseExpired,
}

impl Limit {
    /// The reason it ends for then.
    pub fn reason(self) -> TerminationReason {
        match self {
            Limit::MaxLifetime => TerminationReason::MaxLifetime,
            Limit::IdleTimeout => TerminationReason::IdleTimeout,
            Limit::LeaseExpired => TerminationReason::LeaseExpired,
        }
    }
}

/// Whether a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It does.
    Proceed,
    /// It does not, and that is not recorded yet: this limit passed at this instant.
    End(Limit, Timestamp),
    /// It ended, and that is recorded.
    Gone(&'a End),
}

/// Whether the session goes on at `now`.
pub fn verdict<'a>(session: &'a Session, presence: &Presence, now: Timestamp) -> Verdict<'a> {
    if let Some(end) = &session.end {
        return Verdict::Gone(end);
    }
    limits_ahead(session, presence)
        .into_iter()
        .flatten()
        .find(|(_, passes_at)| now >= *passes_at)
        .map_or(Verdict::Proceed, |(limit, passed_at)| Verdict::End(limit, passed_at))
}

/// When each limit passes as things stand, in the order in which they are looked at. `None` for one that cannot pass: there is none, or its clock
/// stands still, as the idle clock does while the session works or may be at work, is paused, or is not ready yet.
pub fn limits_ahead(session: &Session, presence: &Presence) -> [Option<(Limit, Timestamp)>; 3] {
    let lease = session.lease.map(|lease| (Limit::LeaseExpired, lease.expires_at));
    let idle = idle_at(session, presence).map(|at| (Limit::IdleTimeout, at));
    [Some((Limit::MaxLifetime, session.lifetime_ends_at)), idle, lease]
}

/// The earliest instant at which the verdict can change by itself. What is stored may be earlier than this, never later: it is computed without presence,
/// which a crash takes away.
pub fn deadline(session: &Session, presence: &Presence) -> Option<Timestamp> {
    match session.end {
        Some(_) => None,
        None => limits_ahead(session, presence).into_iter().flatten().map(|(_, at)| at).min(),
    }
}

fn idle_at(session: &Session, presence: &Presence) -> Option<Timestamp> {
    let idle_clock_runs = match session.state {
        State::Ready | State::Running => presence.work == Work::None,
        State::Created | State::Initializing | State::Paused | State::Terminated | State::Failed => false,
    };
    let timeout_ms = session.limits.idle_timeout_ms.filter(|_| idle_clock_runs)?;
    Some(presence.last_activity_at(session).plus_ms(timeout_ms))
}
