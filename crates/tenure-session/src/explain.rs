//! Why a session is alive and what will end it, or why it ended, with the evidence (TR-8).

use crate::failure::Failure;
use crate::lease::Lease;
use crate::limits::SessionLimits;
use crate::presence::{Presence, Work};
use crate::reason::TerminationReason;
use crate::session::{EnvironmentState, Session};
use crate::state::State;
use crate::time::Timestamp;
use crate::verdict::{Limit, Verdict, limits_ahead, verdict};
use serde::{Deserialize, Serialize};

/// What ends it, or would.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Why.
    pub reason: TerminationReason,
    /// When.
    pub at: Timestamp,
}

/// What the explanation rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last worked in.
    pub last_activity_at: Timestamp,
    /// What that was.
    pub last_activity: String,
    /// Whether work is in progress.
    pub work: Work,
    /// What it may do and use.
    pub limits: SessionLimits,
    /// When it will have lived as long as it may.
    pub lifetime_ends_at: Timestamp,
    /// Who holds it, without the token.
    pub lease_expires_at: Option<Timestamp>,
    /// When the lease was last renewed.
    pub last_heartbeat_at: Option<Timestamp>,
    /// What is known of its environment.
    pub environment: EnvironmentState,
    /// What the one who ended it said.
    pub detail: Option<String>,
    /// What failed.
    pub failure: Option<Failure>,
}

/// Why a session is alive, or why it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whether it lives.
    pub alive: bool,
    /// Where it is in its life.
    pub state: State,
    /// The whole in one sentence.
    pub summary: String,
    /// Why it ended.
    pub ended: Option<Cause>,
    /// What will end it first, as things stand.
    pub ends_first: Option<Cause>,
    /// Everything that can end it by itself, as things stand, soonest first.
    pub ahead: Vec<Cause>,
    /// What this rests on.
    pub evidence: Evidence,
}

/// Why the session is alive at `now`, or why it ended.
pub fn explain(session: &Session, presence: &Presence, now: Timestamp) -> Explanation {
    let cause = |(limit, at): (Limit, Timestamp)| Cause { reason: limit.reason(), at };
    let (ended, mut ahead) = match verdict(session, presence, now) {
        Verdict::Gone(end) => (Some(Cause { reason: end.reason, at: end.at }), Vec::new()),
        Verdict::End(limit, at) => (Some(cause((limit, at))), Vec::new()),
        Verdict::Proceed => (None, limits_ahead(session, presence).into_iter().flatten().map(cause).collect()),
    };
    ahead.sort_by_key(|cause: &Cause| cause.at);
    let ends_first = ahead.first().cloned();
    // An end that is not recorded yet is an end.
    let state = ended.as_ref().map_or(session.state, |ended| ended.reason.ends_in());
    Explanation {
        alive: ended.is_none(),
        state,
        summary: summary(session, presence, ended.as_ref(), ends_first.as_ref()),
        ended,
        ends_first,
        ahead,
        evidence: evidence(session, presence),
    }
}

fn evidence(session: &Session, presence: &Presence) -> Evidence {
    let end = session.end.as_ref();
    Evidence {
        created_at: session.created_at,
        last_activity_at: presence.last_activity_at(session),
        last_activity: session.last_activity.clone(),
        work: presence.work,
        limits: session.limits,
        lifetime_ends_at: session.lifetime_ends_at,
        lease_expires_at: session.lease.map(|lease: Lease| lease.expires_at),
        last_heartbeat_at: session.lease.and_then(|lease| lease.last_heartbeat_at),
        environment: session.environment_state(),
        detail: end.and_then(|end| end.detail.clone()),
        failure: end.and_then(|end| end.failure.clone()),
    }
}

fn summary(session: &Session, presence: &Presence, ended: Option<&Cause>, first: Option<&Cause>) -> String {
    if let Some(ended) = ended {
        return format!("It ended at {} for the reason {}.", ended.at, ended.reason);
    }
    let why = match session.state {
        State::Created | State::Initializing => "it is being made",
        State::Paused => "it is paused",
        State::Ready | State::Running => match presence.work {
            Work::InProgress => "work is in progress",
            Work::Unknown => {
                "no limit has passed that is known, and its environment has not said whether work is in progress"
            }
            Work::None => "no limit has passed",
        },
        State::Terminated | State::Failed => "it has ended",
    };
    match first {
        Some(first) => format!(
            "It is alive: {why}. It will end at {} for the reason {}, unless something changes.",
            first.at, first.reason
        ),
        None => format!("It is alive: {why}."),
    }
}
