//! The order of the checks (TM-4): what becomes of one attempt to do something to one session.
//!
//! ```text
//! authentication, format, existence, access, role, stored answer     before, by whoever holds the store
//!   ─► ended ─► max_lifetime ─► idle_timeout ─► lease_expired         verdict.rs
//!   ─► fence ─► state                                                 admit, here
//!   ─► body                                                           by whoever knows its shape
//!   ─► exec concurrency                                               admit_exec, here
//! ```

use crate::id::Lookup;
use crate::lease::LeaseToken;
use crate::limits::OnExecLimit;
use crate::operation::{AfterEnd, Effect, Fence, Operation, States};
use crate::presence::Presence;
use crate::reason::TerminationReason;
use crate::session::{End, EnvironmentState, Session};
use crate::state::{IllegalTransition, State, transition};
use crate::time::Timestamp;
use crate::verdict::{Limit, Verdict, verdict};

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
    // A live session is not deleted: there is nothing to bring back.
    if attempt.operation == Operation::SessionUndelete {
        return Admission::Already;
    }
    match in_state(session, row.states, attempt.to) {
        Ok(admission) => admission,
        Err(refusal) => Admission::Refuse(refusal),
    }
}

/// Whether the operation finds this session (TR-1, TR-2, TR-6): what reads a deleted or archived one does not, unless it asks for deleted ones too; of
/// both, archived is said. What would do something finds it, and hears from [`admit`] that it is gone.
pub fn found(session: &Session, operation: Operation, include_deleted: bool) -> Lookup {
    let reads = match operation.row().after_end {
        AfterEnd::Read => true,
        AfterEnd::Gone | AfterEnd::Done | AfterEnd::NotApplicable => false,
    };
    match (reads && !include_deleted, session.archived_at, session.deleted_at) {
        (true, Some(_), _) => Lookup::Archived,
        (true, None, Some(_)) => Lookup::Deleted,
        (true, None, None) | (false, _, _) => Lookup::Ok,
    }
}

fn after_end(session: &Session, end: &End, attempt: &Attempt) -> Admission {
    match attempt.operation.row().after_end {
        AfterEnd::Gone => Admission::Refuse(Refusal::Gone(end.clone())),
        AfterEnd::Read | AfterEnd::NotApplicable => Admission::Admit,
        AfterEnd::Done => done_after_end(session, end, attempt),
    }
}

/// After the end, deleting and undeleting still change the record; ending it again does not, and nothing leads to another state. Once it is archived
/// nothing changes the record: what is so already stays answered as that, the rest is gone.
fn done_after_end(session: &Session, end: &End, attempt: &Attempt) -> Admission {
    let deleted = session.deleted_at.is_some();
    let brings_back = attempt.operation == Operation::SessionUndelete;
    let hides = attempt.operation == Operation::SessionDelete && !deleted;
    if session.archived_at.is_some() && (brings_back || hides) {
        return Admission::Refuse(Refusal::Gone(end.clone()));
    }
    let changes_the_record = match attempt.operation.effect() {
        Effect::Transition => return transition_after_end(session, end, attempt.to),
        Effect::End => hides,
        Effect::Nothing | Effect::Work | Effect::Pause | Effect::Resume => brings_back && deleted,
    };
    if changes_the_record { Admission::Admit } else { Admission::Already }
}

fn transition_after_end(session: &Session, end: &End, to: Option<State>) -> Admission {
    let from = session.state;
    match to {
        Some(to) if to == from => Admission::Already,
        Some(to) => Admission::Refuse(Refusal::Transition(IllegalTransition { from, to })),
        None => Admission::Refuse(Refusal::Gone(end.clone())),
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
            State::Created
            | State::Initializing
            | State::Ready
            | State::Running
            | State::Terminated
            | State::Failed => movable(session).map(|()| Admission::Admit),
        },
        States::Resume => match state {
            State::Paused => movable(session).map(|()| Admission::Admit),
            State::Created
            | State::Initializing
            | State::Ready
            | State::Running
            | State::Terminated
            | State::Failed => settled(session).map(|()| Admission::Already),
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
        State::Ready | State::Running => from == State::Paused && to == session.resumed_state(),
        State::Created | State::Initializing | State::Failed => false,
    };
    if transition(from, to).is_err() || !asked_for_by_name {
        return Err(illegal);
    }
    if to.is_live() { movable(session).map(|()| Admission::Admit) } else { Ok(Admission::Admit) }
}

/// Whether its making is over.
fn settled(session: &Session) -> Result<(), Refusal> {
    match session.state {
        State::Created | State::Initializing => Err(Refusal::NotReady(session.state)),
        State::Ready | State::Running | State::Paused => Ok(()),
        // Both are ends, and an ended session does not come here.
        State::Terminated | State::Failed => Err(Refusal::NotReady(session.state)),
    }
}

/// Whether it can be frozen or thawed now. A session without an environment can: nothing in it has to stand still.
fn movable(session: &Session) -> Result<(), Refusal> {
    settled(session)?;
    match session.environment_state() {
        EnvironmentState::None | EnvironmentState::Ready | EnvironmentState::Frozen => Ok(()),
        EnvironmentState::Provisioning => Err(Refusal::NotReady(session.state)),
        EnvironmentState::Recovering | EnvironmentState::Lost | EnvironmentState::Gone => Err(Refusal::Recovering),
    }
}

/// Whether it can be worked in now.
///
/// An environment that is lost or gone ends its session, and whoever sees that records the end. Until it is recorded nothing may reach what is left, and
/// there is no end to answer with yet: it is the same as recovering, *try again*, and the next try is told that the session has ended. One that is frozen
/// under a session that is not paused stands still for a moment only, while a snapshot is taken; the work waits.
fn workable(session: &Session) -> Result<(), Refusal> {
    settled(session)?;
    if session.environment_state() == EnvironmentState::None {
        return Err(Refusal::NoEnvironment);
    }
    if session.state == State::Paused {
        return Err(Refusal::Paused);
    }
    movable(session)
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
