//! The law as a value: its functions by name, so that one of them can be replaced by a wrong one.

use tenure_session as right;
use tenure_session::*;

/// Every decision of the law. The product has exactly one of these; the others are there to be caught.
#[derive(Clone, Copy)]
pub struct Law {
    /// What is wrong with it; nothing with the right one.
    pub wrong: &'static str,
    pub session_id: fn(&str) -> Result<SessionId, InvalidId>,
    pub from_compact: fn(&str) -> Result<SessionId, InvalidId>,
    pub identity: fn(&IdentityClaim<'_>, bool) -> Result<Identity, InvalidIdentity>,
    pub transition: fn(State, State) -> Result<(), IllegalTransition>,
    pub phase: fn(&Session) -> Phase,
    pub step: fn(&Session, Operation, Option<State>) -> Option<Step>,
    pub end: for<'a> fn(&'a Session, End) -> Result<Ending<'a>, NoSuchEnd>,
    pub ends_in: fn(TerminationReason) -> State,
    pub may_be_given_by: fn(TerminationReason, bool) -> bool,
    pub by_default: fn(bool) -> TerminationReason,
    pub verdict: for<'a> fn(&'a Session, &Presence, Timestamp) -> Verdict<'a>,
    pub deadline: fn(&Session, &Presence) -> Option<Timestamp>,
    pub active_at: fn(Presence, Timestamp) -> Presence,
    pub after_crash: fn(&Session, Timestamp) -> Presence,
    pub is_to_be_stored: fn(&Presence, &Session) -> bool,
    pub may: fn(&Caller, &Session, Operation) -> Result<Access, Denied>,
    pub found: fn(&Session, Operation, bool) -> Lookup,
    /// The caller is handed along, so that a law that looks at who asks can be told from one that does not.
    pub admit: fn(&Caller, &Session, &Attempt) -> Admission,
    pub admit_exec: fn(&Session, u32) -> Result<(), ExecOverLimit>,
    pub counts_as_activity: fn(Operation, Option<State>) -> bool,
    pub resolve: fn(&LimitRequest, &LimitRequest, &LimitPolicy) -> Result<SessionLimits, Vec<InvalidField>>,
    pub status: fn(&Session, &Presence, Timestamp) -> Status,
    pub explain: fn(&Session, &Presence, Timestamp) -> Explanation,
    pub cleanup_check: fn(&Session, &Presence, Timestamp) -> CleanupCheck,
    pub classify: fn(FailureType, &FailureContext) -> Failure,
}

/// The law of the product.
pub const RIGHT: Law = Law {
    wrong: "",
    session_id: |text| text.parse(),
    from_compact: SessionId::from_compact,
    identity: Identity::check,
    transition: right::transition,
    phase: Session::phase,
    step: right::step,
    end: right::end,
    ends_in: TerminationReason::ends_in,
    may_be_given_by: TerminationReason::may_be_given_by,
    by_default: TerminationReason::by_default,
    verdict: right::verdict,
    deadline: right::deadline,
    active_at: Presence::active_at,
    after_crash: Presence::after_crash,
    is_to_be_stored: Presence::is_to_be_stored,
    may: right::may,
    found: right::found,
    admit: |_, session, attempt| right::admit(session, attempt),
    admit_exec: right::admit_exec,
    counts_as_activity: Operation::counts_as_activity,
    resolve: right::resolve,
    status: right::status,
    explain: right::explain,
    cleanup_check: right::cleanup_check,
    classify: right::classify,
};
