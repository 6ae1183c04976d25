//! The audit: its entries, and what reading all of it again found.

use crate::wire::words;
use serde::Serialize;
use serde_json::Value;
use tenure_engine::{AuditEntry, Problem, ProblemKind, Verification};
use tenure_session::{SessionId, State, Timestamp, Trigger};
use utoipa::ToSchema;

/// One entry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditBody<'a> {
    /// Its place in the line of everything, from 1.
    position: u64,
    /// Its place in its chain, from 1.
    seq: u64,
    /// About which session.
    #[schema(value_type = Option<String>)]
    session_id: Option<&'a SessionId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The state before.
    #[schema(value_type = Option<words::SessionState>)]
    old_state: Option<State>,
    /// The state after.
    #[schema(value_type = Option<words::SessionState>)]
    new_state: Option<State>,
    /// What set it off.
    #[schema(value_type = words::AuditTrigger)]
    trigger: Trigger,
    /// Who: `user:NAME`, `admin:NAME`, or `system`.
    actor: &'a str,
    /// What.
    action: &'a str,
    /// Why, where there is a why.
    reason: Option<&'a str>,
    /// Whatever else; `null` once it was erased.
    #[schema(value_type = Option<Object>)]
    metadata: Option<&'a Value>,
    /// SHA-256 of the canonical metadata.
    metadata_hash: &'a str,
    /// SHA-256 of the entry.
    hash: &'a str,
    /// The hash of the entry before it in its chain.
    prev_hash: &'a str,
    /// The line hash at its position.
    line_hash: &'a str,
}

impl<'a> AuditBody<'a> {
    /// An entry as it is told.
    pub fn new(entry: &'a AuditEntry) -> AuditBody<'a> {
        AuditBody {
            position: entry.position,
            seq: entry.seq,
            session_id: entry.session_id.as_ref(),
            at: entry.at,
            old_state: entry.old_state,
            new_state: entry.new_state,
            trigger: entry.trigger,
            actor: &entry.actor,
            action: &entry.action,
            reason: entry.reason.as_deref(),
            metadata: entry.metadata.as_ref(),
            metadata_hash: &entry.metadata_hash,
            hash: &entry.hash,
            prev_hash: &entry.prev_hash,
            line_hash: &entry.line_hash,
        }
    }
}

/// What reading the whole audit again found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditVerification)]
pub struct VerificationBody<'a> {
    /// Whether it is as it was written.
    intact: bool,
    /// How many entries were read.
    entries: u64,
    /// In how many chains.
    chains: u64,
    /// How many signed heads were checked.
    heads_checked: u64,
    /// Whether signatures were checked: a public key is configured.
    signatures_checked: bool,
    /// The first place where it is not as it was written.
    problem: Option<ProblemBody<'a>>,
}

/// A place where the audit is not as it was written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditProblem)]
pub struct ProblemBody<'a> {
    /// Where, in the line of everything.
    position: u64,
    /// What is wrong there.
    #[schema(value_type = words::AuditProblemKind)]
    kind: ProblemKind,
    /// In the chain of which session.
    #[schema(value_type = Option<String>)]
    session_id: Option<&'a SessionId>,
}

impl<'a> VerificationBody<'a> {
    /// What was found.
    pub fn new(found: &'a Verification, signatures_checked: bool) -> VerificationBody<'a> {
        let problem = |problem: &'a Problem| ProblemBody {
            position: problem.position,
            kind: problem.kind,
            session_id: problem.session_id.as_ref(),
        };
        VerificationBody {
            intact: found.problem.is_none(),
            entries: found.entries,
            chains: found.chains,
            heads_checked: found.heads_checked,
            signatures_checked,
            problem: found.problem.as_ref().map(problem),
        }
    }
}
