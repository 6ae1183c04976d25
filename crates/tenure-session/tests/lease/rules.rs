//! The rules of leases with their numbers written out (LS-1…7, GV-7).

use crate::law::Law;
use crate::sample::{LIFETIME, WORKING, at, end_for, session};
use tenure_session::*;

trials![
    a_lease_is_taken_for_its_own_terms_from_now,
    a_held_lease_is_taken_only_by_takeover,
    a_takeover_gives_a_token_that_was_never_given,
    a_token_is_not_given_again_after_giving_up,
    a_heartbeat_renews_from_now_and_is_remembered,
    a_heartbeat_within_the_interval_changes_nothing,
    a_heartbeat_before_the_last_one_changes_nothing,
    an_expiry_never_moves_back,
    an_expiry_never_passes_the_end_of_the_lifetime,
    a_lease_that_ran_out_is_neither_renewed_nor_taken_nor_given_up,
    the_lease_of_an_ended_session_stays_as_it_was,
    only_the_current_token_renews_gives_up_or_gets_through,
    a_session_without_a_lease_says_so,
    a_heartbeat_is_late_after_more_than_two_intervals,
    leases_live_in_every_live_state,
    terms_come_from_the_request_then_the_template_then_the_default,
    terms_out_of_bounds_are_refused_by_name,
    what_ran_out_while_nobody_could_help_it_gets_one_window_more,
    what_ran_out_before_or_did_not_run_out_stays_as_it_is,
];

const TERMS: LeaseTerms = LeaseTerms { ttl_ms: 1_000, heartbeat_interval_ms: 100 };
const STATES: [State; 5] = [State::Created, State::Initializing, State::Ready, State::Running, State::Paused];

/// A session that was taken at this instant, by token 5.
fn held(taken: i64) -> Session {
    let lease = Lease {
        token: LeaseToken(5),
        ttl_ms: TERMS.ttl_ms,
        heartbeat_interval_ms: TERMS.heartbeat_interval_ms,
        expires_at: at(taken + 1_000),
        last_heartbeat_at: None,
    };
    Session { lease: Some(lease), lease_token_last: LeaseToken(5), ..session(State::Running) }
}

/// The same, with a heartbeat.
fn beaten(taken: i64, beat: i64) -> Session {
    let mut session = held(taken);
    let lease = session.lease.as_mut().unwrap();
    (lease.expires_at, lease.last_heartbeat_at) = (at(beat + 1_000), Some(at(beat)));
    session
}

fn taken(law: &Law, session: &Session, takeover: bool, now: i64) -> Lease {
    match (law.take)(session, TERMS, takeover, at(now)) {
        LeaseTake::Taken(lease) => lease,
        other => panic!("{other:?} at {now}"),
    }
}

/// Expiry, and whether it was late; what else a renewal does is checked here.
fn renewed(law: &Law, session: &Session, now: i64) -> (Timestamp, bool) {
    let before = session.lease.unwrap();
    match (law.renew)(session, Some(before.token), at(now)) {
        LeaseRenewal::Renewed { lease, late } => {
            assert_eq!(lease.last_heartbeat_at, Some(at(now)), "the heartbeat is remembered");
            let same = Lease { expires_at: lease.expires_at, last_heartbeat_at: Some(at(now)), ..before };
            assert_eq!(lease, same, "nothing else of it changes");
            (lease.expires_at, late)
        }
        other => panic!("{other:?} at {now}"),
    }
}

/// LS-1, LS-7
fn a_lease_is_taken_for_its_own_terms_from_now(law: &Law) {
    let lease = taken(law, &session(State::Ready), false, 300);
    let expected = Lease {
        token: LeaseToken(1),
        ttl_ms: 1_000,
        heartbeat_interval_ms: 100,
        expires_at: at(1_300),
        last_heartbeat_at: None,
    };
    assert_eq!(lease, expected);
    let beaten = Session { limits: session(State::Ready).limits, ..beaten(0, 400) };
    let terms = LeaseTerms { ttl_ms: 7, heartbeat_interval_ms: 3 };
    let LeaseTake::Taken(lease) = (law.take)(&beaten, terms, true, at(500)) else { panic!("not taken over") };
    assert_eq!((lease.ttl_ms, lease.heartbeat_interval_ms), (7, 3), "a takeover has its own terms");
    assert_eq!((lease.expires_at, lease.last_heartbeat_at), (at(507), None));
}

/// LS-7
fn a_held_lease_is_taken_only_by_takeover(law: &Law) {
    for now in [0, 500, 999] {
        assert_eq!((law.take)(&held(0), TERMS, false, at(now)), LeaseTake::Held(at(1_000)), "at {now}");
        taken(law, &held(0), true, now);
    }
}

/// LS-7
fn a_takeover_gives_a_token_that_was_never_given(law: &Law) {
    assert_eq!(taken(law, &held(0), true, 1).token, LeaseToken(6));
    let remembers = Session { lease_token_last: LeaseToken(40), ..held(0) };
    assert_eq!(taken(law, &remembers, true, 1).token, LeaseToken(41));
}

/// LS-7
fn a_token_is_not_given_again_after_giving_up(law: &Law) {
    let free = Session { lease: None, ..held(0) };
    assert_eq!(taken(law, &free, false, 1).token, LeaseToken(6));
    assert_eq!(taken(law, &free, true, 1).token, LeaseToken(6));
}

/// LS-2
fn a_heartbeat_renews_from_now_and_is_remembered(law: &Law) {
    assert_eq!(renewed(law, &held(0), 0).0, at(1_000));
    assert_eq!(renewed(law, &held(0), 30).0, at(1_030), "the first needs no interval");
    assert_eq!(renewed(law, &held(0), 999).0, at(1_999));
    assert_eq!(renewed(law, &beaten(0, 400), 500).0, at(1_500), "an interval later, to the millisecond");
    assert_eq!(renewed(law, &beaten(0, 400), 1_399).0, at(2_399));
}

/// LS-2
fn a_heartbeat_within_the_interval_changes_nothing(law: &Law) {
    let session = beaten(0, 400);
    for now in [400, 401, 499] {
        let fresh = LeaseRenewal::Fresh(session.lease.unwrap());
        assert_eq!((law.renew)(&session, Some(LeaseToken(5)), at(now)), fresh, "at {now}");
    }
}

/// LS-2, GV-6
fn a_heartbeat_before_the_last_one_changes_nothing(law: &Law) {
    let session = beaten(0, 400);
    for now in [0, 200, 399] {
        let fresh = LeaseRenewal::Fresh(session.lease.unwrap());
        assert_eq!((law.renew)(&session, Some(LeaseToken(5)), at(now)), fresh, "at {now}");
    }
}

/// LS-2, GV-6
fn an_expiry_never_moves_back(law: &Law) {
    // Taken at 500, and the clock was set back: now + TTL is before what was promised.
    assert_eq!(renewed(law, &held(500), 200).0, at(1_500));
    let mut promised = beaten(0, 400);
    promised.lease.as_mut().unwrap().expires_at = at(9_000);
    assert_eq!(renewed(law, &promised, 600).0, at(9_000));
}

/// LS-2
fn an_expiry_never_passes_the_end_of_the_lifetime(law: &Law) {
    for now in [LIFETIME - 1_000, LIFETIME - 999, LIFETIME - 1] {
        assert_eq!(taken(law, &session(State::Ready), false, now).expires_at, at(LIFETIME));
        assert_eq!(renewed(law, &held(now), now).0, at(LIFETIME).max(held(now).lease.unwrap().expires_at));
        assert_eq!(renewed(law, &beaten(0, LIFETIME - 1_500), LIFETIME - 900).0, at(LIFETIME));
    }
    assert_eq!(taken(law, &session(State::Ready), false, LIFETIME - 1_001).expires_at, at(LIFETIME - 1));
}

/// LS-3, LS-4
fn a_lease_that_ran_out_is_neither_renewed_nor_taken_nor_given_up(law: &Law) {
    for session in [held(0), beaten(-200, 0)] {
        for now in [1_000, 1_001, 50_000] {
            assert_eq!((law.renew)(&session, Some(LeaseToken(5)), at(now)), LeaseRenewal::Over, "at {now}");
            assert_eq!((law.take)(&session, TERMS, true, at(now)), LeaseTake::Over, "at {now}");
            assert_eq!((law.take)(&session, TERMS, false, at(now)), LeaseTake::Over, "at {now}");
            assert_eq!((law.release)(&session, Some(LeaseToken(5)), at(now)), LeaseRelease::Over, "at {now}");
            assert!(!(law.fence)(&session, Some(LeaseToken(5)), at(now)), "at {now}");
        }
        assert_eq!((law.release)(&session, Some(LeaseToken(5)), at(999)), LeaseRelease::Released);
        assert!((law.fence)(&session, Some(LeaseToken(5)), at(999)));
    }
}

/// LS-3, TM-3
fn the_lease_of_an_ended_session_stays_as_it_was(law: &Law) {
    let end = Some(end_for(TerminationReason::UserRequest, at(50)));
    for lease in [held(0).lease, None] {
        let ended = Session { state: State::Terminated, end: end.clone(), lease, ..held(0) };
        for now in [0, 50, 51] {
            assert_eq!((law.renew)(&ended, Some(LeaseToken(5)), at(now)), LeaseRenewal::Over);
            assert_eq!((law.take)(&ended, TERMS, true, at(now)), LeaseTake::Over);
            assert_eq!((law.release)(&ended, Some(LeaseToken(5)), at(now)), LeaseRelease::Over);
        }
        assert_eq!((law.shift)(&ended, at(500), at(5_000)), None);
    }
}

/// LS-7
fn only_the_current_token_renews_gives_up_or_gets_through(law: &Law) {
    for token in [None, Some(0), Some(4), Some(6), Some(u64::MAX)].map(|token| token.map(LeaseToken)) {
        for session in [held(0), beaten(0, 10)] {
            assert_eq!((law.renew)(&session, token, at(20)), LeaseRenewal::Stale, "{token:?}");
            assert_eq!((law.release)(&session, token, at(20)), LeaseRelease::Stale, "{token:?}");
            assert!(!(law.fence)(&session, token, at(20)), "{token:?}");
        }
    }
    assert_eq!((law.release)(&held(0), Some(LeaseToken(5)), at(20)), LeaseRelease::Released);
    assert!((law.fence)(&held(0), Some(LeaseToken(5)), at(20)));
}

/// LS-2
fn a_session_without_a_lease_says_so(law: &Law) {
    let free = Session { lease: None, ..held(0) };
    for token in [None, Some(LeaseToken(5))] {
        assert_eq!((law.renew)(&free, token, at(20)), LeaseRenewal::NoLease);
        assert_eq!((law.release)(&free, token, at(20)), LeaseRelease::NoLease);
        assert!((law.fence)(&free, token, at(20)), "nobody holds it, so nobody is fenced off");
    }
}

/// LS-6
fn a_heartbeat_is_late_after_more_than_two_intervals(law: &Law) {
    for (after, late) in [(100, false), (200, false), (201, true), (999, true)] {
        assert_eq!(renewed(law, &beaten(0, 400), 400 + after).1, late, "{after} ms after the last");
        assert_eq!(renewed(law, &held(400), 400 + after).1, late, "{after} ms after it was taken");
    }
}

/// LS-2, LS-5
fn leases_live_in_every_live_state(law: &Law) {
    for state in STATES {
        let session = Session { state, ..held(0) };
        assert_eq!(renewed(law, &session, 500).0, at(1_500), "{state}");
        taken(law, &session, true, 500);
        assert_eq!((law.release)(&session, Some(LeaseToken(5)), at(500)), LeaseRelease::Released, "{state}");
        for presence in [Presence::default(), WORKING] {
            let expired = Verdict::End(Limit::LeaseExpired, at(1_000));
            assert_eq!(verdict(&session, &presence, at(1_000)), expired, "{state}");
        }
    }
}

/// LS-1
fn terms_come_from_the_request_then_the_template_then_the_default(law: &Law) {
    let policy = LeasePolicy::default();
    let template = LeaseTerms { ttl_ms: 20_000, heartbeat_interval_ms: 2_000 };
    let terms = |ttl_ms, heartbeat_interval_ms, template| {
        let request = LeaseRequest { ttl_ms, heartbeat_interval_ms };
        let terms = (law.terms)(&request, template, &policy).unwrap();
        (terms.ttl_ms, terms.heartbeat_interval_ms)
    };
    assert_eq!(terms(None, None, None), (60_000, 5_000));
    assert_eq!(terms(None, None, Some(template)), (20_000, 2_000));
    assert_eq!(terms(Some(7_000), Some(700), Some(template)), (7_000, 700));
    assert_eq!(terms(Some(90_000), None, Some(template)), (90_000, 2_000));
    assert_eq!(terms(Some(1_000), None, None), (1_000, 500), "an interval that nobody asked for fits");
    assert_eq!(terms(Some(1_000), Some(999), None), (1_000, 999));
}

/// LS-1, GV-1
fn terms_out_of_bounds_are_refused_by_name(law: &Law) {
    let policy = LeasePolicy { ttl_ms: Range { min: 500, max: 2_000 }, ..LeasePolicy::default() };
    let refused = |ttl_ms, heartbeat_interval_ms| {
        let request = LeaseRequest { ttl_ms: Some(ttl_ms), heartbeat_interval_ms };
        (law.terms)(&request, None, &policy).err().map(|invalid| invalid.field)
    };
    for ttl_ms in [0, 1, 499, 2_001, u64::MAX] {
        assert_eq!(refused(ttl_ms, None).as_deref(), Some("lease.ttl_ms"), "{ttl_ms}");
    }
    for ttl_ms in [500, 2_000] {
        assert_eq!(refused(ttl_ms, None), None, "{ttl_ms}");
        for interval_ms in [0, ttl_ms, ttl_ms + 1, u64::MAX] {
            let field = refused(ttl_ms, Some(interval_ms));
            assert_eq!(field.as_deref(), Some("lease.heartbeat_interval_ms"), "{interval_ms} of {ttl_ms}");
        }
        assert_eq!(refused(ttl_ms, Some(ttl_ms - 1)), None);
    }
}

/// GV-7
fn what_ran_out_while_nobody_could_help_it_gets_one_window_more(law: &Law) {
    let (from, until) = (at(500), at(5_000));
    // The lease expires at 1000, the idle limit of 10 s passes later.
    let shift = (law.shift)(&held(0), from, until);
    assert_eq!(shift, Some(DowntimeShift { lease_expires_at: Some(at(6_000)), last_activity_at: None }));
    for (expiry, until, moved) in [(501, 5_000, true), (5_000, 5_000, true), (5_001, 5_000, false), (500, 5_000, false)]
    {
        let shifted = (law.shift)(&held(expiry - 1_000), from, at(until));
        assert_eq!(shifted.is_some(), moved, "{expiry} in 500..{until}");
    }
    let dying = Session { lifetime_ends_at: at(5_300), ..held(0) };
    assert_eq!((law.shift)(&dying, from, until).unwrap().lease_expires_at, Some(at(5_300)));
    // Idle for 10 s, at most a minute more.
    let idle = session(State::Ready);
    let shift = (law.shift)(&idle, at(9_999), at(30_000)).unwrap();
    assert_eq!(
        shift,
        DowntimeShift { lease_expires_at: None, last_activity_at: Some(at(29_000)) },
        "and a second may be lost"
    );
    let idle = Session { last_activity_at: at(29_000), ..session(State::Ready) };
    let presence = Presence::after_crash(&idle, at(31_000));
    let ends = Verdict::End(Limit::IdleTimeout, at(40_000));
    assert_eq!(verdict(&idle, &presence, at(39_999)), Verdict::Proceed, "one window of 10 s");
    assert_eq!(verdict(&idle, &presence, at(40_000)), ends);
    let mut patient = session(State::Running);
    patient.limits.idle_timeout_ms = Some(3_600_000);
    let shift = (law.shift)(&patient, at(3_000_000), at(7_200_000)).unwrap();
    assert_eq!(shift.last_activity_at, Some(at(7_200_000 + 60_000 - 3_600_000 - 360_000)));
    let both = (law.shift)(&held(0), from, at(20_000)).unwrap();
    assert_eq!((both.lease_expires_at, both.last_activity_at), (Some(at(21_000)), Some(at(19_000))));
}

/// GV-7, LS-4
fn what_ran_out_before_or_did_not_run_out_stays_as_it_is(law: &Law) {
    for (from, until) in [(1_000, 5_000), (1_001, 5_000), (0, 999), (500, 500)] {
        assert_eq!((law.shift)(&held(0), at(from), at(until)), None, "{from}..{until}");
    }
    for (from, until) in [(11_000, 50_000), (0, 9_999)] {
        assert_eq!((law.shift)(&session(State::Ready), at(from), at(until)), None, "{from}..{until}");
    }
    // Its idle clock stood still.
    for state in [State::Created, State::Initializing, State::Paused] {
        assert_eq!((law.shift)(&session(state), at(1_000), at(50_000)), None, "{state}");
    }
}
