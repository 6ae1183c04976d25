//! Laws that let in whom they should not, or refuse whom they should: access, the order of the checks, states, execs.

use crate::law::{Law, RIGHT};
use tenure_session as right;
use tenure_session::*;

/// See the names.
pub const LAWS: &[Law] = &[
    Law { wrong: "the fence comes before the end", admit: |_, s, a| fenced(s, a, |_| true), ..RIGHT },
    Law {
        wrong: "the fence comes before the limits",
        admit: |_, s, a| fenced(s, a, |answer| matches!(answer, Admission::End(..))),
        ..RIGHT
    },
    Law { wrong: "the state comes before the fence", admit: state_before_fence, ..RIGHT },
    Law { wrong: "the state comes before the limits", admit: state_before_limits, ..RIGHT },
    Law {
        wrong: "admins are not fenced",
        admit: |who, s, a| if who.role == Role::Admin { unfenced(s, a) } else { right::admit(s, a) },
        ..RIGHT
    },
    Law {
        wrong: "a newer token passes the fence",
        admit: |_, s, a| if a.token > s.lease.map(|lease| lease.token) { unfenced(s, a) } else { right::admit(s, a) },
        ..RIGHT
    },
    Law {
        wrong: "no token passes the fence",
        admit: |_, s, a| if a.token.is_none() { unfenced(s, a) } else { right::admit(s, a) },
        ..RIGHT
    },
    Law { wrong: "reads are fenced", admit: |_, s, a| also_fenced(s, a, Operation::FileRead), ..RIGHT },
    Law { wrong: "terminating is fenced", admit: |_, s, a| also_fenced(s, a, Operation::SessionTerminate), ..RIGHT },
    Law { wrong: "reads after the end are refused", admit: no_read_after_end, ..RIGHT },
    Law {
        wrong: "reads at a passed limit are answered",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::End(..) if a.operation.row().after_end == AfterEnd::Read => Admission::Admit,
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "work after the end is admitted",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Refuse(Refusal::Gone(_)) if a.operation == Operation::FileWrite => Admission::Admit,
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "terminating twice is refused",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Already if a.operation == Operation::SessionTerminate => gone(s),
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "terminating what failed is an illegal transition",
        admit: |_, s, a| match a.to {
            Some(to) if s.end.is_some() && to != s.state => illegal(s.state, to),
            _ => right::admit(s, a),
        },
        ..RIGHT
    },
    Law { wrong: "deleting the ended does nothing", admit: |_, s, a| done(s, a, Operation::SessionDelete), ..RIGHT },
    Law { wrong: "undeleting does nothing", admit: |_, s, a| done(s, a, Operation::SessionUndelete), ..RIGHT },
    Law {
        wrong: "a transition leads out of the end",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Refuse(Refusal::Transition(_)) if s.end.is_some() => Admission::Admit,
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "a transition makes a session failed",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Refuse(Refusal::Transition(_)) if s.end.is_none() && a.to == Some(State::Failed) => {
                Admission::Admit
            }
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "a transition resumes to either state",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Refuse(Refusal::Transition(i)) if i.from == State::Paused && i.to.phase() == Phase::Active => {
                Admission::Admit
            }
            answer => answer,
        },
        ..RIGHT
    },
    Law { wrong: "exec runs while paused", admit: |_, s, a| lets(s, a, Operation::ExecRun, State::Paused), ..RIGHT },
    Law {
        wrong: "exec runs before ready",
        admit: |_, s, a| lets(s, a, Operation::ExecRun, State::Initializing),
        ..RIGHT
    },
    Law {
        wrong: "exec in a ready session is refused",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Admit if a.operation == Operation::ExecRun && s.state == State::Ready => not_ready(s),
            answer => answer,
        },
        ..RIGHT
    },
    Law { wrong: "stdin where nothing runs", admit: |_, s, a| lets(s, a, Operation::ExecStdin, State::Ready), ..RIGHT },
    Law {
        wrong: "files are read while paused",
        admit: |_, s, a| lets(s, a, Operation::FileRead, State::Paused),
        ..RIGHT
    },
    Law {
        wrong: "pausing the paused is refused",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Already if a.operation == Operation::SessionPause => Admission::Refuse(Refusal::Paused),
            answer => answer,
        },
        ..RIGHT
    },
    Law { wrong: "work reaches a lost environment", admit: |_, s, a| reaches(s, a, EnvironmentState::Lost), ..RIGHT },
    Law { wrong: "work reaches what is gone", admit: |_, s, a| reaches(s, a, EnvironmentState::Gone), ..RIGHT },
    Law {
        wrong: "work reaches what does not answer",
        admit: |_, s, a| reaches(s, a, EnvironmentState::Recovering),
        ..RIGHT
    },
    Law {
        wrong: "a session without an environment is not ready for ever",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Refuse(Refusal::NoEnvironment) => not_ready(s),
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "a session without an environment cannot be paused",
        admit: |_, s, a| match right::admit(s, a) {
            Admission::Admit if a.operation == Operation::SessionPause && s.environment.is_none() => {
                Admission::Refuse(Refusal::NoEnvironment)
            }
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "one exec more than the limit runs",
        admit_exec: |s, running| right::admit_exec(s, running.saturating_sub(1)),
        ..RIGHT
    },
    Law {
        wrong: "one exec fewer than the limit runs",
        admit_exec: |s, running| right::admit_exec(s, running.saturating_add(1)),
        ..RIGHT
    },
    Law {
        wrong: "reject ends the session",
        admit_exec: |s, running| {
            right::admit_exec(s, running).map_err(|_| ExecOverLimit::End(TerminationReason::ExecConcurrency))
        },
        ..RIGHT
    },
    Law {
        wrong: "terminate only refuses",
        admit_exec: |s, running| {
            let limit = s.limits.max_concurrent_execs;
            right::admit_exec(s, running).map_err(|_| ExecOverLimit::Refuse(Refusal::ExecLimit { limit }))
        },
        ..RIGHT
    },
    Law {
        wrong: "an admin is a stranger to the sessions of others",
        may: |who, s, o| if who.user == s.owner { right::may(who, s, o) } else { Err(Denied::Stranger) },
        ..RIGHT
    },
    Law {
        wrong: "a stranger may read",
        may: |who, s, o| match right::may(who, s, o) {
            Err(Denied::Stranger) if o == Operation::SessionGet => Ok(Access::Owner),
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "the role is asked before the session exists",
        may: |who, s, o| may_without_session(who, o).and_then(|()| right::may(who, s, o)),
        ..RIGHT
    },
    Law {
        wrong: "owners extend their own sessions",
        may: |who, s, o| match right::may(who, s, o) {
            Err(Denied::Role) => Ok(Access::Owner),
            answer => answer,
        },
        ..RIGHT
    },
    Law {
        wrong: "an admin's own sessions take no administrator",
        may: |who, s, o| match right::may(who, s, o) {
            Ok(Access::Owner) if o.row().who == Who::Admin => Err(Denied::Role),
            answer => answer,
        },
        ..RIGHT
    },
    Law { wrong: "reads find the deleted", found: |_, _, _| Lookup::Ok, ..RIGHT },
    Law {
        wrong: "nothing finds the deleted",
        found: |s, _, all| if s.deleted_at.is_some() && !all { Lookup::Deleted } else { Lookup::Ok },
        ..RIGHT
    },
    Law { wrong: "asking for the deleted does not help", found: |s, o, _| right::found(s, o, false), ..RIGHT },
    Law {
        wrong: "the archived are the deleted",
        found: |s, o, all| match right::found(s, o, all) {
            Lookup::Archived => Lookup::Deleted,
            lookup => lookup,
        },
        ..RIGHT
    },
    Law {
        wrong: "reads find the archived",
        found: |s, o, all| right::found(&Session { archived_at: None, ..s.clone() }, o, all),
        ..RIGHT
    },
    Law {
        wrong: "the archived can be brought back",
        admit: |_, s, attempt| right::admit(&Session { archived_at: None, ..s.clone() }, attempt),
        ..RIGHT
    },
    Law {
        wrong: "preview health is activity",
        counts_as_activity: |o, to| o == Operation::PreviewHealth || o.counts_as_activity(to),
        ..RIGHT
    },
    Law {
        wrong: "reading a file is no activity",
        counts_as_activity: |o, to| o != Operation::FileRead && o.counts_as_activity(to),
        ..RIGHT
    },
    Law { wrong: "pausing by transition is no activity", counts_as_activity: |o, _| o.row().activity, ..RIGHT },
];

fn gone(session: &Session) -> Admission {
    session.end.clone().map_or(Admission::Admit, |end| Admission::Refuse(Refusal::Gone(end)))
}

fn not_ready(session: &Session) -> Admission {
    Admission::Refuse(Refusal::NotReady(session.state))
}

fn illegal(from: State, to: State) -> Admission {
    Admission::Refuse(Refusal::Transition(IllegalTransition { from, to }))
}

/// The right answer to somebody who has the token.
fn unfenced(session: &Session, attempt: &Attempt) -> Admission {
    right::admit(session, &Attempt { token: session.lease.map(|lease| lease.token), ..*attempt })
}

fn is_stale(session: &Session, attempt: &Attempt) -> bool {
    attempt.operation.row().fence == Fence::Token
        && session.lease.is_some_and(|lease| attempt.token != Some(lease.token))
}

/// The fence goes before answers like these.
fn fenced(session: &Session, attempt: &Attempt, before: fn(&Admission) -> bool) -> Admission {
    let answer = right::admit(session, attempt);
    if is_stale(session, attempt) && before(&answer) { Admission::Refuse(Refusal::StaleLease) } else { answer }
}

fn state_before_fence(_: &Caller, session: &Session, attempt: &Attempt) -> Admission {
    match (right::admit(session, attempt), unfenced(session, attempt)) {
        (Admission::Refuse(Refusal::StaleLease), state @ Admission::Refuse(_)) => state,
        (answer, _) => answer,
    }
}

fn state_before_limits(_: &Caller, session: &Session, attempt: &Attempt) -> Admission {
    let begin = Attempt { now: session.created_at, ..*attempt };
    match (right::admit(session, attempt), unfenced(session, &begin)) {
        (Admission::End(..), state @ Admission::Refuse(_)) => state,
        (answer, _) => answer,
    }
}

fn also_fenced(session: &Session, attempt: &Attempt, operation: Operation) -> Admission {
    match right::admit(session, attempt) {
        Admission::Admit
            if attempt.operation == operation
                && session.lease.is_some_and(|lease| attempt.token != Some(lease.token)) =>
        {
            Admission::Refuse(Refusal::StaleLease)
        }
        answer => answer,
    }
}

fn no_read_after_end(_: &Caller, session: &Session, attempt: &Attempt) -> Admission {
    if attempt.operation.row().after_end == AfterEnd::Read && session.end.is_some() {
        gone(session)
    } else {
        right::admit(session, attempt)
    }
}

fn done(session: &Session, attempt: &Attempt, operation: Operation) -> Admission {
    match right::admit(session, attempt) {
        Admission::Admit if attempt.operation == operation && session.end.is_some() => Admission::Already,
        answer => answer,
    }
}

/// This operation is let in in this state.
fn lets(session: &Session, attempt: &Attempt, operation: Operation, state: State) -> Admission {
    match right::admit(session, attempt) {
        Admission::Refuse(Refusal::NotReady(_) | Refusal::Paused)
            if attempt.operation == operation && session.state == state =>
        {
            Admission::Admit
        }
        answer => answer,
    }
}

fn reaches(session: &Session, attempt: &Attempt, known: EnvironmentState) -> Admission {
    match right::admit(session, attempt) {
        Admission::Refuse(Refusal::Recovering) if session.environment_state() == known => Admission::Admit,
        answer => answer,
    }
}
