//! What users see: status and explanation, which never say anything else than the verdict (ST-1, TR-8).

use crate::law::Law;
use crate::sample::*;
use tenure_session::State::*;
use tenure_session::*;

trials![
    every_state_is_shown_as_itself,
    a_limit_that_passed_is_shown_as_the_end_before_it_is_recorded,
    the_remaining_seconds_run_to_the_earliest_end,
    an_environment_is_ready_only_where_it_can_be_worked_in,
    a_failure_is_shown_in_the_words_for_its_user,
    an_explanation_of_the_living_names_what_ends_it_first_and_all_that_can,
    an_explanation_says_what_is_not_known_of_work,
    an_explanation_of_the_ended_names_the_recorded_reason_and_its_evidence,
    a_check_says_what_a_sweep_would_do_and_what_it_is_for,
    an_explanation_never_holds_the_token_or_the_variables,
];

const NOTHING: Presence = Presence { work: Work::None, last_activity_at: None };

/// ST-1
fn every_state_is_shown_as_itself(law: &Law) {
    let written = [
        (Created, "creating", 1),
        (Initializing, "initializing", 2),
        (Ready, "ready", 3),
        (Running, "running", 3),
        (Paused, "paused", 3),
        (Terminated, "terminated", 3),
        (Failed, "error", 3),
    ];
    for (state, shown, step) in written {
        let status = (law.status)(&session(state), &NOTHING, at(1));
        assert_eq!(serde_json::to_value(status.display_state).unwrap(), shown, "{state}");
        assert_eq!((status.progress.current_step, status.progress.total_steps), (step, 3), "{state}");
        assert!(!status.message.is_empty() && !status.progress.step_description.is_empty());
        assert_eq!(status.error_reason.is_some(), state == Failed, "{state}");
        // Every state has an end, so that nobody waits for ever.
        assert_eq!(status.remaining_seconds > 0, state.is_live(), "{state}");
    }
}

/// ST-1, TR-8
fn a_limit_that_passed_is_shown_as_the_end_before_it_is_recorded(law: &Law) {
    for now in [IDLE, IDLE + 1] {
        let status = (law.status)(&session(Running), &NOTHING, at(now));
        assert_eq!(status.display_state, DisplayState::Terminated);
        assert_eq!((status.environment_ready, status.remaining_seconds), (false, 0));
        assert!(status.message.contains("idle_timeout"), "{}", status.message);
        let explanation = (law.explain)(&session(Running), &NOTHING, at(now));
        assert_eq!((explanation.alive, explanation.state), (false, Terminated));
        assert_eq!(explanation.ended, Some(Cause { reason: TerminationReason::IdleTimeout, at: at(IDLE) }));
        assert_eq!((explanation.ends_first, explanation.ahead), (None, Vec::new()));
    }
}

/// ST-1
fn the_remaining_seconds_run_to_the_earliest_end(law: &Law) {
    let remaining = |session: &Session, presence, now| (law.status)(session, presence, at(now)).remaining_seconds;
    assert_eq!(remaining(&session(Ready), &NOTHING, 0), 10);
    assert_eq!(remaining(&session(Ready), &NOTHING, 1), 9);
    assert_eq!(remaining(&session(Ready), &NOTHING, IDLE - 1), 0);
    assert_eq!(remaining(&session(Ready), &WORKING, 0), 100);
    assert_eq!(remaining(&session(Paused), &NOTHING, 0), 100);
    assert_eq!(remaining(&with_lease(session(Paused), at(7_000)), &NOTHING, 0), 7);
    assert_eq!(remaining(&session(Terminated), &NOTHING, 0), 0);
}

/// ST-1
fn an_environment_is_ready_only_where_it_can_be_worked_in(law: &Law) {
    use EnvironmentState as E;
    for state in State::ALL {
        for known in [E::None, E::Provisioning, E::Ready, E::Frozen, E::Recovering, E::Lost, E::Gone] {
            let session = with_environment(session(state), known);
            let expected = known == E::Ready && [Ready, Running].contains(&state);
            assert_eq!((law.status)(&session, &NOTHING, at(1)).environment_ready, expected, "{state}, {known:?}");
        }
    }
}

/// ST-1, FL-1
fn a_failure_is_shown_in_the_words_for_its_user(law: &Law) {
    let context = FailureContext { cause: "timeout".to_owned(), details: Some("clone3: EAGAIN".to_owned()) };
    let failure = classify(FailureType::Init, &context);
    let end = End { failure: Some(failure.clone()), ..end_for(TerminationReason::FailedInit, at(2)) };
    let status = (law.status)(&Session { end: Some(end), ..session(Failed) }, &NOTHING, at(9));
    assert_eq!((status.message, status.recoverable), (failure.user_message, true));
    assert_eq!(status.error_reason, Some(failure.message));
    let written = serde_json::to_string(&(law.status)(&session(Failed), &NOTHING, at(9))).unwrap();
    assert!(!written.contains("EAGAIN"), "{written}");
}

/// TR-8
fn an_explanation_of_the_living_names_what_ends_it_first_and_all_that_can(law: &Law) {
    use TerminationReason::*;
    let reasons = |session: &Session, presence: &Presence| {
        let explanation = (law.explain)(session, presence, at(1));
        assert!(explanation.alive && explanation.ended.is_none());
        assert_eq!(explanation.ends_first.as_ref(), explanation.ahead.first());
        let first = explanation.ends_first.expect("something ends it");
        assert!(explanation.summary.contains(first.reason.as_str()), "{}", explanation.summary);
        assert!(explanation.summary.contains(&first.at.to_string()), "{}", explanation.summary);
        explanation.ahead.into_iter().map(|cause| cause.reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&session(Ready), &NOTHING), [IdleTimeout, MaxLifetime]);
    assert_eq!(reasons(&session(Ready), &WORKING), [MaxLifetime]);
    assert_eq!(reasons(&session(Paused), &NOTHING), [MaxLifetime]);
    let held = with_lease(session(Ready), at(5_000));
    assert_eq!(reasons(&held, &NOTHING), [LeaseExpired, IdleTimeout, MaxLifetime]);
    // At the same instant the order of the checks decides.
    let tied = with_lease(session(Ready), at(IDLE));
    assert_eq!(
        reasons(&Session { lifetime_ends_at: at(IDLE), ..tied }, &NOTHING),
        [MaxLifetime, IdleTimeout, LeaseExpired]
    );
}

/// TR-8, GV-3
fn an_explanation_says_what_is_not_known_of_work(law: &Law) {
    for (presence, words) in [
        (WORKING, "work is in progress."),
        (UNKNOWN, "has not said whether work is in progress."),
        (NOTHING, "no limit has passed."),
    ] {
        let explanation = (law.explain)(&session(Running), &presence, at(1));
        assert_eq!(explanation.evidence.work, presence.work);
        assert!(explanation.summary.contains(words), "{}", explanation.summary);
    }
}

/// TR-8
fn an_explanation_of_the_ended_names_the_recorded_reason_and_its_evidence(law: &Law) {
    let end = End { detail: Some("the exam is over".to_owned()), ..end_for(TerminationReason::FailedInfra, at(4_000)) };
    let ended = Session { end: Some(end.clone()), last_activity: "exec_run".to_owned(), ..session(Failed) };
    let presence = Presence { work: Work::None, last_activity_at: Some(at(3_000)) };
    let explanation = (law.explain)(&ended, &presence, at(LIFETIME * 3));
    assert_eq!((explanation.alive, explanation.state), (false, Failed));
    assert_eq!(explanation.ended, Some(Cause { reason: end.reason, at: end.at }));
    assert_eq!((explanation.ends_first, explanation.ahead), (None, Vec::new()));
    assert_eq!((explanation.evidence.detail, explanation.evidence.failure), (end.detail, end.failure));
    assert_eq!(explanation.evidence.last_activity, "exec_run");
    assert_eq!(explanation.evidence.last_activity_at, at(3_000));
    assert!(explanation.summary.contains("failed_infra"), "{}", explanation.summary);
}

/// TR-8, LS-7
fn an_explanation_never_holds_the_token_or_the_variables(law: &Law) {
    let mut held = with_lease(session(Ready), at(5_000));
    held.lease.as_mut().unwrap().token = LeaseToken(918_273_645);
    held.variables.insert("API_KEY".to_owned(), "s3cr3t".to_owned());
    let written = serde_json::to_string(&(law.explain)(&held, &NOTHING, at(1))).unwrap();
    assert!(!written.contains("918273645") && !written.contains("s3cr3t"), "{written}");
    assert!(written.contains("lease_expires_at"), "{written}");
}

/// CL-1, TM-6: overdue before it is recorded, then left over until its environment is gone.
fn a_check_says_what_a_sweep_would_do_and_what_it_is_for(law: &Law) {
    use EnvironmentState as E;
    let check = |session: &Session, presence, now| (law.cleanup_check)(session, presence, at(now));
    let living = check(&session(Ready), &NOTHING, 1);
    assert_eq!(living, CleanupCheck { should_cleanup: false, reason: None, ttl_remaining_seconds: 9 });
    assert_eq!(check(&session(Ready), &WORKING, 0).ttl_remaining_seconds, 100);
    for now in [IDLE, IDLE + 1] {
        let reason = Some(TerminationReason::IdleTimeout);
        let overdue = CleanupCheck { should_cleanup: true, reason, ttl_remaining_seconds: 0 };
        assert_eq!(check(&session(Running), &NOTHING, now), overdue);
        assert_eq!(check(&session(Running), &WORKING, now).reason, None);
        assert!(check(&with_environment(session(Running), E::None), &NOTHING, now).should_cleanup, "not recorded yet");
    }
    for state in [Terminated, Failed] {
        for known in [E::None, E::Provisioning, E::Ready, E::Frozen, E::Recovering, E::Lost, E::Gone] {
            let ended = check(&with_environment(session(state), known), &NOTHING, 6_000);
            assert_eq!(ended.should_cleanup, !matches!(known, E::None | E::Gone), "{known:?}");
            let expected = session(state).end.map(|end| end.reason);
            assert_eq!((ended.reason, ended.ttl_remaining_seconds), (expected, 0), "{state}, {known:?}");
        }
    }
}
