//! How sessions end: once, for a reason of a closed set, with a failure where it is one (LC-4, TM-1, TM-2, TM-5).

use crate::law::Law;
use crate::sample::{at, end_for, failure, session};
use tenure_session::TerminationReason::*;
use tenure_session::*;

trials![
    the_first_reason_stands_whatever_comes_later,
    failed_is_not_entered_without_a_failure,
    an_end_that_is_no_failure_has_none,
    every_reason_ends_in_its_state,
    callers_may_give_only_the_reasons_that_are_theirs,
    the_reasons_are_a_closed_set,
];

/// Every reason, the state it ends in, and who may give it.
const REASONS: [(TerminationReason, &str, State, &str); 12] = [
    (UserRequest, "user_request", State::Terminated, "users"),
    (AdminRequest, "admin_request", State::Terminated, "admins"),
    (Completed, "completed", State::Terminated, "users"),
    (MaxLifetime, "max_lifetime", State::Terminated, "nobody"),
    (IdleTimeout, "idle_timeout", State::Terminated, "nobody"),
    (LeaseExpired, "lease_expired", State::Terminated, "nobody"),
    (ExecConcurrency, "exec_concurrency", State::Terminated, "nobody"),
    (Deleted, "deleted", State::Terminated, "nobody"),
    (EnvironmentLost, "environment_lost", State::Failed, "nobody"),
    (FailedInit, "failed_init", State::Failed, "nobody"),
    (FailedRuntime, "failed_runtime", State::Failed, "nobody"),
    (FailedInfra, "failed_infra", State::Failed, "nobody"),
];

/// TM-1, TM-2
fn the_first_reason_stands_whatever_comes_later(law: &Law) {
    for state in [State::Terminated, State::Failed] {
        let ended = session(state);
        for (later, ..) in REASONS {
            let ending = (law.end)(&ended, end_for(later, at(9_000)));
            assert_eq!(ending, Ok(Ending::Stands(ended.end.as_ref().unwrap())), "{later}");
        }
    }
}

/// LC-4
fn failed_is_not_entered_without_a_failure(law: &Law) {
    for (reason, _, ends_in, _) in REASONS {
        let bare = End { at: at(1), reason, detail: None, failure: None };
        match ends_in {
            State::Failed => {
                assert_eq!((law.end)(&session(State::Running), bare), Err(NoSuchEnd::FailureMissing(reason)));
            }
            _ => assert_eq!((law.end)(&session(State::Running), bare.clone()), Ok(Ending::Ends(ends_in, bare))),
        }
        let whole = end_for(reason, at(1));
        assert_eq!((law.end)(&session(State::Created), whole.clone()), Ok(Ending::Ends(ends_in, whole)));
    }
}

/// LC-4
fn an_end_that_is_no_failure_has_none(law: &Law) {
    let end = End { at: at(1), reason: Completed, detail: None, failure: Some(failure(FailureType::Runtime)) };
    assert_eq!((law.end)(&session(State::Ready), end), Err(NoSuchEnd::FailureUncalledFor(Completed)));
}

/// TM-5
fn every_reason_ends_in_its_state(law: &Law) {
    for (reason, _, state, _) in REASONS {
        assert_eq!((law.ends_in)(reason), state, "{reason}");
        assert_eq!(reason.failure_type().is_some(), state == State::Failed, "{reason}");
    }
}

/// TM-5
fn callers_may_give_only_the_reasons_that_are_theirs(law: &Law) {
    for (reason, _, _, who) in REASONS {
        assert_eq!((law.may_be_given_by)(reason, false), who == "users", "{reason}");
        assert_eq!((law.may_be_given_by)(reason, true), who != "nobody", "{reason}");
    }
    assert_eq!((law.by_default)(false), UserRequest);
    assert_eq!((law.by_default)(true), AdminRequest);
}

/// TM-5, TR-4
fn the_reasons_are_a_closed_set(_: &Law) {
    assert_eq!(REASONS.map(|(reason, ..)| reason), TerminationReason::ALL);
    for (reason, text, ..) in REASONS {
        assert_eq!((reason.as_str(), text.parse()), (text, Ok(reason)));
        assert_eq!(serde_json::to_value(reason).unwrap(), text);
    }
    let triggers = ["user_action", "api_call", "system_timeout", "recovery", "error"];
    assert_eq!(Trigger::ALL.iter().map(|trigger| trigger.as_str()).collect::<Vec<_>>(), triggers);
    assert!("expired".parse::<TerminationReason>().is_err());
}
