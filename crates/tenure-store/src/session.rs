//! The changes of a session, each with its guard and its audit entry.

use crate::audit::AuditDraft;
use crate::idempotency::{IdempotencyClaim, IdempotencyRecord};
use serde_json::Value;
use tenure_session::{End, EnforcedLimits, Phase, Session, SessionEnvironment, SessionId, State, Timestamp, UserId};

/// A new session: everything of it appears together or not at all (LC-5).
#[derive(Debug, Clone, PartialEq)]
pub struct SessionCreate {
    /// Its row; limits and lease are part of it. Its state is `created`, or `ready` where it is made without an environment.
    pub session: Session,
    /// Its state document, at most 1 MiB.
    pub state_document: Value,
    /// The key under which the same request will be answered the same.
    pub claim: Option<IdempotencyClaim>,
    /// Its first audit entry.
    pub entry: AuditDraft,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionCreated {
    /// It is there.
    Made,
    /// There is a session of this ID already, and nothing was changed: try other digits.
    IdTaken,
    /// The idempotency key is in use, by this record, and nothing was changed.
    Claimed(IdempotencyRecord),
}

/// From one state to another (LC-3): done only if the session is in `from` when it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionMove {
    /// Which.
    pub id: SessionId,
    /// The state it must be in.
    pub from: State,
    /// The state it goes to: a live one.
    pub to: State,
    /// When.
    pub at: Timestamp,
    /// Where resuming leads, for a session that is paused by this.
    pub resumes_to: Option<State>,
    /// Its environment from now on; as before where none is given.
    pub environment: Option<SessionEnvironment>,
    /// What the host enforces from now on; as before where none is given.
    pub enforced: Option<EnforcedLimits>,
    /// Whether its idle clock begins anew, and by which operation.
    pub activity: Option<String>,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// What must still hold when a session is ended because a limit passed (LS-4): what moved the limit meanwhile saves the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndGuard {
    /// Nothing: it ends.
    Always,
    /// Its lifetime still ends then.
    Lifetime(Timestamp),
    /// It was last worked in then, or earlier.
    Idle(Timestamp),
    /// Its lease still expires then.
    Lease(Timestamp),
}

/// The end of a session: done only if it has none yet (TM-2) and the guard holds.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionEnd {
    /// Which.
    pub id: SessionId,
    /// How; the state follows from the reason.
    pub end: End,
    /// When this is recorded.
    pub at: Timestamp,
    /// What must still hold.
    pub guard: EndGuard,
    /// Its audit entry; the old state in it is put right by the store.
    pub entry: AuditDraft,
}

/// The deletion of a session: a live one is ended first, in the same transaction (TR-1).
#[derive(Debug, Clone, PartialEq)]
pub struct SessionDelete {
    /// Which.
    pub id: SessionId,
    /// When.
    pub at: Timestamp,
    /// Its end and the entry of that, where it has none yet.
    pub end: (End, AuditDraft),
    /// The entry of the deletion.
    pub entry: AuditDraft,
}

/// More time for a session: done only while it lives (GV-8).
#[derive(Debug, Clone, PartialEq)]
pub struct SessionExtend {
    /// Which.
    pub id: SessionId,
    /// How much.
    pub by_ms: u64,
    /// When.
    pub at: Timestamp,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// An environment for a live session that has none; its state stays (EN-1). Refused where it has one, or has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionAttach {
    /// Which.
    pub id: SessionId,
    /// Its environment.
    pub environment: SessionEnvironment,
    /// What the host enforces in it.
    pub enforced: EnforcedLimits,
    /// When.
    pub at: Timestamp,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// Another life of a live session's environment, made over the files of the one before, or what became of that life (EN-11). Done only while the session
/// lives and its environment is this one in the life `from`; the new life is that one or the next.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionRemake {
    /// Which session.
    pub id: SessionId,
    /// The life that must be stored.
    pub from: u64,
    /// Its environment from now on: the same, in the life `from` or the next.
    pub environment: SessionEnvironment,
    /// What the host enforces from now on; as before where none is given.
    pub enforced: Option<EnforcedLimits>,
    /// When.
    pub at: Timestamp,
    /// Its audit entry.
    pub entry: AuditDraft,
}

/// What became of a guarded change. The session is as it is afterwards.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed {
    /// It was made.
    Done(Session),
    /// Its guard did not hold, and nothing was changed.
    Refused(Session),
    /// There is no such session.
    Missing,
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Of this owner.
    pub owner: Option<UserId>,
    /// In this state.
    pub state: Option<State>,
    /// In this phase.
    pub phase: Option<Phase>,
    /// Made from this template: `name`, or `name@version`.
    pub template: Option<String>,
    /// With these words, all of them.
    pub metadata: Vec<(String, String)>,
    /// Deleted and archived ones too.
    pub include_deleted: bool,
}
