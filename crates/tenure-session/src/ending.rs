//! The end of a session: once, for one reason, and never in `failed` without a failure (TM-1, TM-2, LC-4).

use crate::reason::TerminationReason;
use crate::session::{End, Session};
use crate::state::State;

/// What becomes of a wish to end a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending<'a> {
    /// It ends in this state, like this.
    Ends(State, End),
    /// It has ended already; the first end stands.
    Stands(&'a End),
}

/// Reason and failure do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchEnd {
    /// The reason ends in `failed`, which cannot be entered without one.
    #[error("a session that ends for the reason {0} needs a failure")]
    FailureMissing(TerminationReason),
    /// The reason is no failure's.
    #[error("a session that ends for the reason {0} has no failure")]
    FailureUncalledFor(TerminationReason),
}

/// Ends a session, unless it has ended. The store says the same in the update itself.
pub fn end<'a>(session: &'a Session, end: End) -> Result<Ending<'a>, NoSuchEnd> {
    if let Some(first) = &session.end {
        return Ok(Ending::Stands(first));
    }
    let state = end.reason.ends_in();
    match (state == State::Failed, end.failure.is_some()) {
        (true, false) => Err(NoSuchEnd::FailureMissing(end.reason)),
        (false, true) => Err(NoSuchEnd::FailureUncalledFor(end.reason)),
        (true, true) | (false, false) => Ok(Ending::Ends(state, end)),
    }
}
