//! The order of the checks (TM-4): what becomes of one attempt to do something to one session.
//!
//! ```text
//! authentication, format, existence, access, role, stored answer     before, by whoever holds the store
//!   ─► ended ─► max_lifetime ─► idle_timeout ─► lease_expired         verdict.rs
//!   ─► fence ─► state                                                 admit, here
//!   ─► body                                                           by whoever knows its shape
//!   ─► exec concurrency                                               admit_exec, here
//! ```

use crate::lease::LeaseToken;
use crate::limits::OnExecLimit;
use crate::operation::{AfterEnd, Fence, Operation, States};
use crate::reason::TerminationReason;
use crate::session::{End, EnvironmentState, Session};
use crate::state::{IllegalTransition, State, transition};
use crate::time::Timestamp;
use crate::verdict::{Limit, Presence, Verdict, verdict};

/// Somebody who may, tries to do something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// What.
    pub operation: Operation,
    /// When.
    pub now: Timestamp,
    /// What goes on in the session beyond what is stored.
    pub presence: Presence,
    /// The token that came along.
    pub token: Option<LeaseToken>,
    /// Where to, where it is a transition.
    pub to: Option<State>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is done.
    Admit,
    /// What it asks for is so already.
    Already,
    /// A limit passed at this instant: the session's end is recorded first, then the attempt is made again.
    End(Limit, Timestamp),
    /// It is not done.
    Refuse(Refusal),
}

/// Why something is not done to a session that the caller may know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It has ended.
    Gone(End),
    /// Somebody else holds the session; the current token is not told.
    StaleLease,
    /// It has no environment yet.
    NotReady(State),
    /// Every process in it stands still.
    Paused,
    /// It was made without an environment.
    NoEnvironment,
    /// Its environment has not answered since a restart.
    Recovering,
    /// There is no such transition.
    Transition(IllegalTransition),
    /// As many execs run as may.
    ExecLimit {
        /// How many may.
        limit: u32,
    },
}

/// What becomes of an attempt, up to the state; the body is looked at next, then [`admit_exec`].
pub fn admit(session: &Session, attempt: &Attempt) -> Admission {
    let row = attempt.operation.row();
    match verdict(session, &attempt.presence, attempt.now) {
        Verdict::Proceed => {}
        Verdict::End(limit, at) => return Admission::End(limit, at),
        Verdict::Gone(end) => return after_end(session, end, attempt),
    }
    if let (Fence::Token, Some(lease)) = (row.fence, session.lease)
        && attempt.token != Some(lease.token)
    {
        return Admission::Refuse(Refusal::StaleLease);
    }
    match in_state(session, row.states, attempt.to) {
        Ok(admission) => admission,
        Err(refusal) => Admission::Refuse(refusal),
    }
}

fn after_end(session: &Session, end: &End, attempt: &Attempt) -> Admission {
    match attempt.operation.row().after_end {
        AfterEnd::Gone => Admission::Refuse(Refusal::Gone(end.clone())),
        AfterEnd::Read | AfterEnd::NotApplicable => Admission::Admit,
        AfterEnd::Done => match attempt.to {
            Some(to) if to != session.state => {
                Admission::Refuse(Refusal::Transition(IllegalTransition { from: session.state, to }))
            }
            _ => Admission::Already,
        },
    }
}

fn in_state(session: &Session, states: States, to: Option<State>) -> Result<Admission, Refusal> {
    let state = session.state;
    match states {
        States::NoSession | States::Any | States::Live => Ok(Admission::Admit),
        States::Working => workable(session).map(|()| Admission::Admit),
        States::Running => match (workable(session), state) {
            (Ok(()), State::Ready) => Err(Refusal::NotReady(state)),
            (result, _) => result.map(|()| Admission::Admit),
        },
        States::Pause => match state {
            State::Paused => Ok(Admission::Already),
            _ => workable(session).map(|()| Admission::Admit),
        },
        States::Resume => match state {
            State::Paused => Ok(Admission::Admit),
            _ => workable(session).map(|()| Admission::Already),
        },
        States::Transition => to.map_or(Ok(Admission::Admit), |to| in_transition(session, to)),
    }
}

/// What a caller may ask for by name: pause, resume, end. Everything else moves by itself.
fn in_transition(session: &Session, to: State) -> Result<Admission, Refusal> {
    let from = session.state;
    if from == to {
        return Ok(Admission::Already);
    }
    let illegal = Refusal::Transition(IllegalTransition { from, to });
    let asked_for_by_name = match to {
        State::Paused | State::Terminated => true,
        State::Ready | State::Running => session.resumes_to == Some(to),
        State::Created | State::Initializing | State::Failed => false,
    };
    match transition(from, to) {
        Ok(()) if asked_for_by_name => Ok(Admission::Admit),
        _ => Err(illegal),
    }
}

fn workable(session: &Session) -> Result<(), Refusal> {
    match session.state {
        State::Created | State::Initializing => Err(Refusal::NotReady(session.state)),
        State::Paused => Err(Refusal::Paused),
        State::Ready | State::Running => match session.environment_state() {
            EnvironmentState::None => Err(Refusal::NoEnvironment),
            EnvironmentState::Recovering => Err(Refusal::Recovering),
            EnvironmentState::Provisioning => Err(Refusal::NotReady(session.state)),
            EnvironmentState::Ready | EnvironmentState::Frozen | EnvironmentState::Lost | EnvironmentState::Gone => {
                Ok(())
            }
        },
        // Both are ends, and an ended session does not come here.
        State::Terminated | State::Failed => Err(Refusal::NotReady(session.state)),
    }
}

/// Whether one more exec may run beside those that do (GV-2).
pub fn admit_exec(session: &Session, running: u32) -> Result<(), ExecOverLimit> {
    let limit = session.limits.max_concurrent_execs;
    if running < limit {
        return Ok(());
    }
    Err(match session.limits.on_exec_limit {
        OnExecLimit::Terminate => ExecOverLimit::End(TerminationReason::ExecConcurrency),
        OnExecLimit::Reject => ExecOverLimit::Refuse(Refusal::ExecLimit { limit }),
    })
}

/// What becomes of the exec that is too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOverLimit {
    /// The session ends.
    End(TerminationReason),
    /// The exec is refused.
    Refuse(Refusal),
}
