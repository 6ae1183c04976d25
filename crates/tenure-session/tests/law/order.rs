//! The order of the checks: ended, limits, fence, state (TM-2, TM-3, TM-4, LS-7, TR-1, TR-2).

use crate::law::Law;
use crate::sample::*;
use tenure_session::Operation::*;
use tenure_session::State::*;
use tenure_session::*;

trials![
    an_ended_session_is_gone_before_anything_else_is_looked_at,
    a_limit_that_passed_comes_before_the_fence_and_the_state,
    the_fence_comes_before_the_state,
    only_the_current_token_passes_the_fence_and_admins_are_fenced_too,
    what_is_not_fenced_needs_no_token,
    a_read_at_a_passed_limit_waits_for_the_end_to_be_recorded,
    ending_it_again_is_done_already,
    a_transition_out_of_the_end_is_illegal_and_to_where_it_is_is_done,
    deleting_and_undeleting_still_change_the_record_after_the_end,
    a_deleted_session_is_found_by_what_does_and_not_by_what_reads,
    an_archived_session_is_read_where_that_is_asked_for_and_nothing_changes_it,
    nothing_reaches_an_environment_that_is_lost_or_does_not_answer,
    a_session_without_an_environment_can_be_paused_but_not_worked_in,
    only_pausing_resuming_and_ending_are_asked_for_by_name,
];

fn refused(refusal: Refusal) -> Admission {
    Admission::Refuse(refusal)
}

/// TM-3, TM-4
fn an_ended_session_is_gone_before_anything_else_is_looked_at(law: &Law) {
    for state in [Terminated, Failed] {
        let ended = with_lease(session(state), at(100));
        let gone = refused(Refusal::Gone(ended.end.clone().unwrap()));
        for operation in [ExecRun, FileWrite, SessionPause, PreviewRegister, SessionExtend] {
            // The lifetime passed too, the lease expired, the token is missing, and the state does not fit.
            for now in [0, LIFETIME * 2] {
                assert_eq!((law.admit)(&owner(), &ended, &attempt(operation, at(now))), gone, "{operation}");
            }
        }
        for operation in [SessionGet, SessionStatus, SessionExplain, SessionAudit, ExecList, ExecOutput] {
            let admission = (law.admit)(&owner(), &ended, &attempt(operation, at(LIFETIME * 2)));
            assert_eq!(admission, Admission::Admit, "{operation}");
        }
    }
}

/// TM-4
fn a_limit_that_passed_comes_before_the_fence_and_the_state(law: &Law) {
    for state in [Created, Initializing, Ready, Running, Paused] {
        let held = with_lease(session(state), at(LIFETIME * 2));
        for operation in [ExecRun, SessionPause, SessionResume, FileWrite, SessionTerminate, SessionUndelete] {
            let admission = (law.admit)(&owner(), &held, &attempt(operation, at(LIFETIME)));
            let over = Admission::End(Limit::MaxLifetime, at(LIFETIME));
            assert_eq!(admission, over, "{operation} when {state}");
        }
        let expired = with_lease(session(state), at(50));
        let admission = (law.admit)(&owner(), &expired, &attempt(ExecRun, at(50)));
        assert_eq!(admission, Admission::End(Limit::LeaseExpired, at(50)), "{state}");
    }
}

/// TM-4, LS-7
fn the_fence_comes_before_the_state(law: &Law) {
    for state in [Created, Initializing, Ready, Running, Paused] {
        let held = with_lease(session(state), at(LIFETIME));
        for operation in [ExecRun, ExecStdin, SessionPause, SessionResume, FileWrite, FileDelete, SessionTransition] {
            let admission = (law.admit)(&owner(), &held, &attempt(operation, at(1)));
            assert_eq!(admission, refused(Refusal::StaleLease), "{operation} when {state}");
        }
    }
}

/// TM-4, LS-7
fn only_the_current_token_passes_the_fence_and_admins_are_fenced_too(law: &Law) {
    let held = with_lease(session(Running), at(LIFETIME));
    for who in [owner(), admin()] {
        for (token, admission) in [
            (None, refused(Refusal::StaleLease)),
            (Some(LeaseToken(4)), refused(Refusal::StaleLease)),
            (Some(LeaseToken(6)), refused(Refusal::StaleLease)),
            (Some(LeaseToken(5)), Admission::Admit),
        ] {
            let attempt = Attempt { token, ..attempt(ExecRun, at(1)) };
            assert_eq!((law.admit)(&who, &held, &attempt), admission, "{token:?} from {who:?}");
        }
    }
    // Where nobody holds it, a token is no hindrance.
    let attempt = Attempt { token: Some(LeaseToken(4)), ..attempt(ExecRun, at(1)) };
    assert_eq!((law.admit)(&owner(), &session(Running), &attempt), Admission::Admit);
}

/// LS-7
fn what_is_not_fenced_needs_no_token(law: &Law) {
    let held = with_lease(session(Running), at(LIFETIME));
    for operation in [SessionGet, FileRead, DirList, PreviewProxy, SessionTerminate, SessionDelete, SessionExtend] {
        assert_eq!((law.admit)(&owner(), &held, &attempt(operation, at(1))), Admission::Admit, "{operation}");
    }
}

/// TM-3, TM-4
fn a_read_at_a_passed_limit_waits_for_the_end_to_be_recorded(law: &Law) {
    for operation in [SessionGet, SessionStatus, SessionExplain, ExecOutput, SessionTerminate] {
        let admission = (law.admit)(&owner(), &session(Ready), &attempt(operation, at(IDLE)));
        assert_eq!(admission, Admission::End(Limit::IdleTimeout, at(IDLE)), "{operation}");
    }
}

/// TM-2
fn ending_it_again_is_done_already(law: &Law) {
    for ended in [session(Terminated), session(Failed), deleted()] {
        for to in [None, Some(Terminated)] {
            let attempt = Attempt { to, ..attempt(SessionTerminate, at(LIFETIME)) };
            assert_eq!((law.admit)(&owner(), &ended, &attempt), Admission::Already);
        }
    }
}

/// LC-1, TM-2, TM-3
fn a_transition_out_of_the_end_is_illegal_and_to_where_it_is_is_done(law: &Law) {
    for from in [Terminated, Failed] {
        for to in State::ALL {
            let attempt = Attempt { to: Some(to), ..attempt(SessionTransition, at(0)) };
            let expected = match to == from {
                true => Admission::Already,
                false => refused(Refusal::Transition(IllegalTransition { from, to })),
            };
            assert_eq!((law.admit)(&owner(), &session(from), &attempt), expected, "{from} to {to}");
        }
        let admission = (law.admit)(&owner(), &session(from), &attempt(SessionTransition, at(0)));
        assert_eq!(admission, refused(Refusal::Gone(session(from).end.unwrap())));
    }
}

/// TR-1, TR-6
fn deleting_and_undeleting_still_change_the_record_after_the_end(law: &Law) {
    let admit = |session: &Session, operation| (law.admit)(&owner(), session, &attempt(operation, at(7_000)));
    for state in [Terminated, Failed] {
        assert_eq!(admit(&session(state), SessionDelete), Admission::Admit, "{state}");
        assert_eq!(admit(&session(state), SessionUndelete), Admission::Already, "{state}");
    }
    assert_eq!(admit(&deleted(), SessionDelete), Admission::Already);
    assert_eq!(admit(&deleted(), SessionUndelete), Admission::Admit);
    assert_eq!(admit(&session(Ready), SessionUndelete), Admission::Already);
}

/// TR-1, TR-2
fn a_deleted_session_is_found_by_what_does_and_not_by_what_reads(law: &Law) {
    for operation in [SessionGet, SessionStatus, SessionExplain, SessionAudit, SessionEvents, ExecList, ExecOutput] {
        assert_eq!((law.found)(&deleted(), operation, false), Lookup::Deleted, "{operation}");
        assert_eq!((law.found)(&deleted(), operation, true), Lookup::Ok, "{operation}");
        assert_eq!((law.found)(&session(Failed), operation, false), Lookup::Ok, "{operation}");
    }
    for operation in [ExecRun, FileRead, SessionTerminate, SessionDelete, SessionUndelete, SessionExtend] {
        assert_eq!((law.found)(&deleted(), operation, false), Lookup::Ok, "{operation}");
    }
    let gone = refused(Refusal::Gone(deleted().end.unwrap()));
    assert_eq!((law.admit)(&owner(), &deleted(), &attempt(ExecRun, at(7_000))), gone);
    assert_eq!((law.admit)(&owner(), &deleted(), &attempt(SessionGet, at(7_000))), Admission::Admit);
}

/// TR-2, TR-6, TM-2
fn an_archived_session_is_read_where_that_is_asked_for_and_nothing_changes_it(law: &Law) {
    for archived in [archived(false), archived(true)] {
        for operation in [SessionGet, SessionStatus, SessionExplain, SessionAudit, SessionEvents, ExecList, ExecOutput]
        {
            assert_eq!((law.found)(&archived, operation, false), Lookup::Archived, "{operation}");
            assert_eq!((law.found)(&archived, operation, true), Lookup::Ok, "{operation}");
        }
        let admit = |operation| (law.admit)(&owner(), &archived, &attempt(operation, at(7_000)));
        let gone = refused(Refusal::Gone(archived.end.clone().unwrap()));
        for operation in [ExecRun, FileRead, SessionUndelete, SessionExtend, LeaseTake] {
            assert_eq!((law.found)(&archived, operation, false), Lookup::Ok, "{operation}");
            assert_eq!(admit(operation), gone, "{operation}");
        }
        let so_already = archived.deleted_at.is_some();
        assert_eq!(admit(SessionDelete), if so_already { Admission::Already } else { gone });
        assert_eq!(admit(SessionTerminate), Admission::Already);
        assert_eq!(admit(SessionGet), Admission::Admit);
    }
}

/// TM-6, EN-10
fn nothing_reaches_an_environment_that_is_lost_or_does_not_answer(law: &Law) {
    for known in [EnvironmentState::Recovering, EnvironmentState::Lost, EnvironmentState::Gone] {
        let session = with_environment(session(Running), known);
        for operation in [ExecRun, ExecStdin, FileRead, FileWrite, PreviewProxy, SessionPause] {
            let admission = (law.admit)(&owner(), &session, &attempt(operation, at(1)));
            assert_eq!(admission, refused(Refusal::Recovering), "{operation} when {known:?}");
        }
        for operation in [SessionGet, ExecOutput, SessionTerminate, SessionDelete, SessionExtend] {
            let admission = (law.admit)(&owner(), &session, &attempt(operation, at(1)));
            assert_eq!(admission, Admission::Admit, "{operation} when {known:?}");
        }
    }
    let frozen = with_environment(session(Running), EnvironmentState::Frozen);
    assert_eq!((law.admit)(&owner(), &frozen, &attempt(ExecRun, at(1))), Admission::Admit);
}

/// EN-1, LC-9
fn a_session_without_an_environment_can_be_paused_but_not_worked_in(law: &Law) {
    let admit = |state, operation| {
        let session = with_environment(session(state), EnvironmentState::None);
        (law.admit)(&owner(), &session, &attempt(operation, at(1)))
    };
    for operation in [ExecRun, ExecStdin, FileRead, FileWrite, PreviewRegister, PreviewList, PreviewProxy] {
        for state in [Ready, Running, Paused] {
            assert_eq!(admit(state, operation), refused(Refusal::NoEnvironment), "{operation} when {state}");
        }
        assert_eq!(admit(Created, operation), refused(Refusal::NotReady(Created)), "{operation}");
    }
    assert_eq!(admit(Ready, SessionPause), Admission::Admit);
    assert_eq!(admit(Paused, SessionResume), Admission::Admit);
    assert_eq!(admit(Ready, SessionResume), Admission::Already);
}

/// LC-3, LC-9
fn only_pausing_resuming_and_ending_are_asked_for_by_name(law: &Law) {
    // As `machine.rs` writes it, without what moves by itself: `=` is done already, `x` is done, `.` is illegal.
    let written = [
        (Created, None, "=....x."),
        (Initializing, None, ".=...x."),
        (Ready, None, "..=.xx."),
        (Running, None, "...=xx."),
        (Paused, Some(Ready), "..x.=x."),
        (Paused, Some(Running), "...x=x."),
    ];
    for (from, resumes_to, row) in written {
        let session = Session { resumes_to, ..session(from) };
        for (to, answer) in State::ALL.into_iter().zip(row.chars()) {
            let attempt = Attempt { to: Some(to), ..attempt(SessionTransition, at(1)) };
            let expected = match answer {
                '=' => Admission::Already,
                'x' => Admission::Admit,
                _ => refused(Refusal::Transition(IllegalTransition { from, to })),
            };
            assert_eq!((law.admit)(&owner(), &session, &attempt), expected, "{from} to {to}");
        }
    }
}
