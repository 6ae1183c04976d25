//! Why a session is alive, or why it ended, as it is told.

use crate::wire::session::FailureBody;
use crate::wire::words;
use serde::Serialize;
use tenure_session::{Cause, Explanation, Session, SessionId, State, TerminationReason, Timestamp};
use utoipa::ToSchema;

/// Why a session is alive and what will end it, or why it ended, with the evidence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub struct ExplanationBody<'a> {
    /// Which session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// Whether it lives.
    alive: bool,
    /// Where it is in its life.
    #[schema(value_type = words::SessionState)]
    state: State,
    /// The whole in one sentence.
    summary: &'a str,
    /// Why it ended.
    ended: Option<CauseBody>,
    /// What will end it first, as things stand.
    ends_first: Option<CauseBody>,
    /// Everything that can end it by itself, as things stand, soonest first.
    ahead: Vec<CauseBody>,
    /// What this rests on.
    evidence: EvidenceBody<'a>,
}

/// What ends a session, or would.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cause)]
pub struct CauseBody {
    /// Why.
    #[schema(value_type = words::Reason)]
    reason: TerminationReason,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// What an explanation rests on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Evidence)]
pub struct EvidenceBody<'a> {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last worked in.
    #[schema(value_type = String, format = DateTime)]
    last_activity_at: Timestamp,
    /// What that was.
    last_activity: &'a str,
    /// Whether work is in progress: an exec, a terminal, a preview request. `unknown` where its environment has not said so since the service started.
    #[schema(value_type = words::Work)]
    work: tenure_session::Work,
    /// How long it may live.
    max_lifetime_ms: u64,
    /// How long it may live without work.
    idle_timeout_ms: Option<u64>,
    /// When it will have lived as long as it may.
    #[schema(value_type = String, format = DateTime)]
    lifetime_ends_at: Timestamp,
    /// When its lease runs out.
    #[schema(value_type = Option<String>, format = DateTime)]
    lease_expires_at: Option<Timestamp>,
    /// When the lease was last renewed.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_heartbeat_at: Option<Timestamp>,
    /// What is known of its environment.
    #[schema(value_type = words::EnvironmentStatus)]
    environment: tenure_session::EnvironmentState,
    /// What the one who ended it said.
    detail: Option<&'a str>,
    /// What failed.
    failure: Option<FailureBody<'a>>,
}

impl<'a> ExplanationBody<'a> {
    /// An explanation as it is told.
    pub fn new(session: &'a Session, explanation: &'a Explanation) -> ExplanationBody<'a> {
        let evidence = &explanation.evidence;
        ExplanationBody {
            session_id: &session.id,
            alive: explanation.alive,
            state: explanation.state,
            summary: &explanation.summary,
            ended: explanation.ended.as_ref().map(CauseBody::new),
            ends_first: explanation.ends_first.as_ref().map(CauseBody::new),
            ahead: explanation.ahead.iter().map(CauseBody::new).collect(),
            evidence: EvidenceBody {
                created_at: evidence.created_at,
                last_activity_at: evidence.last_activity_at,
                last_activity: &evidence.last_activity,
                work: evidence.work,
                max_lifetime_ms: evidence.limits.max_lifetime_ms,
                idle_timeout_ms: evidence.limits.idle_timeout_ms,
                lifetime_ends_at: evidence.lifetime_ends_at,
                lease_expires_at: evidence.lease_expires_at,
                last_heartbeat_at: evidence.last_heartbeat_at,
                environment: evidence.environment,
                detail: evidence.detail.as_deref(),
                failure: evidence.failure.as_ref().map(FailureBody::new),
            },
        }
    }
}

impl CauseBody {
    fn new(cause: &Cause) -> CauseBody {
        CauseBody { reason: cause.reason, at: cause.at }
    }
}
