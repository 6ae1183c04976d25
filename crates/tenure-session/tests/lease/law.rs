//! The law of leases as a value: its functions by name, so that one of them can be replaced by a wrong one.

use tenure_session as right;
use tenure_session::*;

/// What becomes of a renewal whose session may have changed between the look at it and the update.
pub struct Update<'a> {
    /// As it was read.
    pub read: &'a Session,
    /// When it was read.
    pub read_at: Timestamp,
    /// As it is when it is updated.
    pub row: &'a Session,
    /// When it is updated.
    pub now: Timestamp,
}

/// Every decision about leases. The product has exactly one of these; the others are there to be caught.
#[derive(Clone, Copy)]
pub struct Law {
    /// What is wrong with it; nothing with the right one.
    pub wrong: &'static str,
    pub terms: fn(&LeaseRequest, Option<LeaseTerms>, &LeasePolicy) -> Result<LeaseTerms, InvalidField>,
    pub take: fn(&Session, LeaseTerms, bool, Timestamp) -> LeaseTake,
    pub renew: fn(&Session, Option<LeaseToken>, Timestamp) -> LeaseRenewal,
    pub release: fn(&Session, Option<LeaseToken>, Timestamp) -> LeaseRelease,
    pub shift: fn(&Session, Timestamp, Timestamp) -> Option<DowntimeShift>,
    /// Whether a call with this token gets through to the session.
    pub fence: fn(&Session, Option<LeaseToken>, Timestamp) -> bool,
    /// The renewal as the store makes it: the right one decides again inside the update.
    pub renew_in_update: fn(&Law, &Update<'_>, Option<LeaseToken>) -> LeaseRenewal,
    /// The taking over as the store makes it.
    pub take_in_update: fn(&Law, &Update<'_>, LeaseTerms, bool) -> LeaseTake,
    /// Whether the store ends a session whose lease was seen to run out at this instant.
    pub expire_in_update: fn(&Session, Timestamp) -> bool,
}

/// The law of the product.
pub const RIGHT: Law = Law {
    wrong: "",
    terms: right::lease_terms,
    take: right::lease_take,
    renew: right::lease_renew,
    release: right::lease_release,
    shift: right::shift_downtime,
    fence,
    renew_in_update: |law, update, token| (law.renew)(update.row, token, update.now),
    take_in_update: |law, update, terms, takeover| (law.take)(update.row, terms, takeover, update.now),
    expire_in_update: |row, seen| row.end.is_none() && row.lease.is_some_and(|lease| lease.expires_at == seen),
};

fn fence(session: &Session, token: Option<LeaseToken>, now: Timestamp) -> bool {
    let attempt = Attempt { operation: Operation::ExecRun, now, presence: Presence::default(), token, to: None };
    admit(session, &attempt) == Admission::Admit
}
