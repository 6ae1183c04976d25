//! States, phases and the steps between them: every pair (LC-1, LC-2, LC-3, LC-8, LC-9).

use crate::law::Law;
use crate::sample::{at, session};
use tenure_session::State::*;
use tenure_session::*;

trials![
    every_pair_of_states_is_allowed_or_refused_as_written,
    a_refused_transition_names_where_it_is_and_where_it_could_go,
    every_state_has_its_phase_and_a_deleted_session_is_deleted,
    names_of_states_and_phases_read_back,
    resuming_returns_to_the_state_it_was_paused_from,
    the_first_work_makes_a_session_running_and_nothing_makes_it_ready_again,
    every_step_that_is_taken_is_allowed,
];

/// LC-1, LC-3, LC-8
fn every_pair_of_states_is_allowed_or_refused_as_written(law: &Law) {
    // From the left to the top: created, initializing, ready, running, paused, terminated, failed.
    let written = [
        (Created, ".x...xx"),
        (Initializing, "..x..xx"),
        (Ready, "...xxxx"),
        (Running, "....xxx"),
        (Paused, "..xx.xx"),
        (Terminated, "......."),
        (Failed, "......."),
    ];
    assert_eq!(written.map(|(from, _)| from), State::ALL);
    for (from, row) in written {
        for (to, allowed) in State::ALL.into_iter().zip(row.chars()) {
            assert_eq!((law.transition)(from, to).is_ok(), allowed == 'x', "{from} to {to}");
        }
    }
}

/// LC-3
fn a_refused_transition_names_where_it_is_and_where_it_could_go(law: &Law) {
    for from in State::ALL {
        for to in State::ALL {
            if let Err(illegal) = (law.transition)(from, to) {
                assert_eq!((illegal.from, illegal.to), (from, to));
                let possible = State::ALL.into_iter().filter(|to| (law.transition)(from, *to).is_ok());
                assert_eq!(illegal.allowed(), possible.collect::<Vec<_>>());
            }
        }
    }
}

/// LC-2
fn every_state_has_its_phase_and_a_deleted_session_is_deleted(law: &Law) {
    let written = [
        (Created, "CREATING"),
        (Initializing, "CREATING"),
        (Ready, "ACTIVE"),
        (Running, "ACTIVE"),
        (Paused, "PAUSED"),
        (Terminated, "STOPPED"),
        (Failed, "STOPPED"),
    ];
    for (state, phase) in written {
        assert_eq!((law.phase)(&session(state)).as_str(), phase, "{state}");
        let deleted = Session { deleted_at: Some(at(9)), ..session(state) };
        assert_eq!((law.phase)(&deleted).as_str(), "DELETED", "{state}");
    }
}

/// LC-2
fn names_of_states_and_phases_read_back(_: &Law) {
    for state in State::ALL {
        assert_eq!(state.to_string().parse(), Ok(state));
        assert_eq!(state.phase().to_string().parse(), Ok(state.phase()));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        assert_eq!(serde_json::to_value(state.phase()).unwrap(), state.phase().as_str());
    }
    for text in ["", "READY", "ready\n", "archived"] {
        assert!(text.parse::<State>().is_err(), "{text:?}");
    }
    assert!("active".parse::<Phase>().is_err());
}

/// LC-1, LC-9
fn resuming_returns_to_the_state_it_was_paused_from(law: &Law) {
    for from in [Ready, Running] {
        for (pause, pause_to, resume, resume_to) in [
            (Operation::SessionPause, None, Operation::SessionResume, None),
            (Operation::SessionTransition, Some(Paused), Operation::SessionTransition, Some(from)),
        ] {
            let step = (law.step)(&session(from), pause, pause_to);
            assert_eq!(step, Some(Step { to: Paused, resumes_to: Some(from) }));
            let paused = Session { resumes_to: Some(from), ..session(Paused) };
            let step = (law.step)(&paused, resume, resume_to);
            assert_eq!(step, Some(Step { to: from, resumes_to: None }));
        }
    }
}

/// LC-8
fn the_first_work_makes_a_session_running_and_nothing_makes_it_ready_again(law: &Law) {
    let work = [Operation::ExecRun, Operation::Terminal];
    for operation in work {
        assert_eq!((law.step)(&session(Ready), operation, None), Some(Step { to: Running, resumes_to: None }));
    }
    for operation in Operation::ALL.iter().copied() {
        assert_ne!((law.step)(&session(Running), operation, None).map(|step| step.to), Some(Ready), "{operation}");
        let step = (law.step)(&session(Ready), operation, None);
        if step.is_some_and(|step| step.to == Running) {
            assert!(work.contains(&operation), "{operation}");
        }
    }
}

/// LC-1
fn every_step_that_is_taken_is_allowed(law: &Law) {
    for state in State::ALL {
        for operation in Operation::ALL.iter().copied() {
            for to in [None].into_iter().chain(State::ALL.map(Some)) {
                if let Some(step) = (law.step)(&session(state), operation, to) {
                    assert_eq!((law.transition)(state, step.to), Ok(()), "{operation} when {state}");
                    assert!(step.to.is_live(), "an end is no step: {operation} when {state}");
                    assert_eq!(step.resumes_to, (step.to == Paused).then_some(state));
                }
            }
        }
    }
    for operation in [Operation::ExecRun, Operation::FileWrite, Operation::SessionPause] {
        assert_eq!((law.step)(&session(Paused), operation, None), None, "{operation}");
    }
}
