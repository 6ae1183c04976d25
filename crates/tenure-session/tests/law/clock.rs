//! Limits and the clock: the verdict and the deadline (TM-4, GV-3, GV-6).

use crate::law::Law;
use crate::sample::{IDLE, LIFETIME, UNKNOWN, WORKING, at, session, with_lease};
use crate::trials::property;
use proptest::prelude::*;
use tenure_session::State::*;
use tenure_session::*;

trials![
    every_limit_is_passed_at_the_instant_it_names_and_not_before,
    of_several_limits_passed_the_first_in_the_order_is_the_reason,
    the_instant_of_an_end_is_when_the_limit_passed_and_not_when_it_was_asked,
    a_working_session_is_never_idle,
    the_idle_clock_stands_still_while_a_session_is_paused_or_being_made,
    lifetime_and_lease_go_on_in_every_live_state,
    an_idle_timeout_that_is_switched_off_never_passes,
    the_later_activity_counts_whether_stored_or_not,
    activity_never_moves_the_idle_clock_back,
    an_end_stands_at_every_instant_also_before_it,
    the_deadline_is_exactly_when_the_verdict_changes,
    pausing_and_resuming_begin_the_idle_clock_anew_by_whatever_name,
];

const NOTHING: Presence = Presence { work: Work::None, last_activity_at: None };

/// A session with three limits at these instants, ready.
fn limited(lifetime: i64, idle: i64, lease: i64) -> Session {
    let mut session = with_lease(session(Ready), at(lease));
    session.lifetime_ends_at = at(lifetime);
    session.limits.idle_timeout_ms = Some(idle as u64);
    session
}

/// TM-4
fn every_limit_is_passed_at_the_instant_it_names_and_not_before(law: &Law) {
    for (limit, session) in [
        (Limit::MaxLifetime, limited(500, 9_000, 9_000)),
        (Limit::IdleTimeout, limited(9_000, 500, 9_000)),
        (Limit::LeaseExpired, limited(9_000, 9_000, 500)),
    ] {
        assert_eq!((law.verdict)(&session, &NOTHING, at(499)), Verdict::Proceed, "{limit:?}");
        for now in [500, 501, 8_999] {
            assert_eq!((law.verdict)(&session, &NOTHING, at(now)), Verdict::End(limit, at(500)), "{limit:?}");
        }
    }
}

/// TM-4
fn of_several_limits_passed_the_first_in_the_order_is_the_reason(law: &Law) {
    let instants = [100, 200, 300, 9_000];
    for lifetime in instants {
        for idle in instants {
            for lease in instants {
                let session = limited(lifetime, idle, lease);
                for now in [99, 100, 150, 200, 299, 300, 8_999] {
                    let expected = if lifetime <= now {
                        Verdict::End(Limit::MaxLifetime, at(lifetime))
                    } else if idle <= now {
                        Verdict::End(Limit::IdleTimeout, at(idle))
                    } else if lease <= now {
                        Verdict::End(Limit::LeaseExpired, at(lease))
                    } else {
                        Verdict::Proceed
                    };
                    let what = format!("lifetime {lifetime}, idle {idle}, lease {lease}, now {now}");
                    assert_eq!((law.verdict)(&session, &NOTHING, at(now)), expected, "{what}");
                }
            }
        }
    }
    let reasons = [Limit::MaxLifetime, Limit::IdleTimeout, Limit::LeaseExpired].map(|limit| limit.reason().as_str());
    assert_eq!(reasons, ["max_lifetime", "idle_timeout", "lease_expired"]);
}

/// TM-1, TM-4
fn the_instant_of_an_end_is_when_the_limit_passed_and_not_when_it_was_asked(law: &Law) {
    let session = session(Running);
    for now in [IDLE, IDLE + 1, IDLE + 50_000] {
        assert_eq!((law.verdict)(&session, &NOTHING, at(now)), Verdict::End(Limit::IdleTimeout, at(IDLE)));
    }
}

/// GV-3: nor is one that may be at work, for all that is known.
fn a_working_session_is_never_idle(law: &Law) {
    for (state, work) in [Ready, Running].into_iter().flat_map(|state| [(state, WORKING), (state, UNKNOWN)]) {
        let session = session(state);
        for now in [0, IDLE, LIFETIME - 1] {
            assert_eq!((law.verdict)(&session, &work, at(now)), Verdict::Proceed, "{state} at {now}");
        }
        assert_eq!((law.deadline)(&session, &work), Some(at(LIFETIME)));
        let stopped = (law.active_at)(Presence { work: Work::None, ..work }, at(50_000));
        assert_eq!((law.verdict)(&session, &stopped, at(50_000 + IDLE - 1)), Verdict::Proceed);
        let idle = Verdict::End(Limit::IdleTimeout, at(50_000 + IDLE));
        assert_eq!((law.verdict)(&session, &stopped, at(50_000 + IDLE)), idle);
    }
}

/// LC-9, GV-3
fn the_idle_clock_stands_still_while_a_session_is_paused_or_being_made(law: &Law) {
    for state in [Created, Initializing, Paused] {
        let session = session(state);
        for now in [IDLE, LIFETIME - 1] {
            assert_eq!((law.verdict)(&session, &NOTHING, at(now)), Verdict::Proceed, "{state} at {now}");
        }
        assert_eq!((law.deadline)(&session, &NOTHING), Some(at(LIFETIME)), "{state}");
    }
}

/// LC-9
fn lifetime_and_lease_go_on_in_every_live_state(law: &Law) {
    for state in [Created, Initializing, Ready, Running, Paused] {
        for presence in [NOTHING, WORKING] {
            let held = with_lease(session(state), at(700));
            assert_eq!((law.verdict)(&held, &presence, at(699)), Verdict::Proceed, "{state}");
            let expired = Verdict::End(Limit::LeaseExpired, at(700));
            assert_eq!((law.verdict)(&held, &presence, at(700)), expired, "{state}");
            let old = Session { last_activity_at: at(LIFETIME - 1), ..session(state) };
            let over = Verdict::End(Limit::MaxLifetime, at(LIFETIME));
            assert_eq!((law.verdict)(&old, &presence, at(LIFETIME)), over, "{state}");
        }
    }
}

/// GV-1
fn an_idle_timeout_that_is_switched_off_never_passes(law: &Law) {
    let mut session = session(Ready);
    session.limits.idle_timeout_ms = None;
    assert_eq!((law.verdict)(&session, &NOTHING, at(LIFETIME - 1)), Verdict::Proceed);
    assert_eq!((law.deadline)(&session, &NOTHING), Some(at(LIFETIME)));
}

/// GV-3
fn the_later_activity_counts_whether_stored_or_not(law: &Law) {
    for (stored, known) in [(1_000, 4_000), (4_000, 1_000), (4_000, 4_000)] {
        let session = Session { last_activity_at: at(stored), ..session(Running) };
        let presence = Presence { work: Work::None, last_activity_at: Some(at(known)) };
        assert_eq!((law.verdict)(&session, &presence, at(4_000 + IDLE - 1)), Verdict::Proceed);
        let idle = Verdict::End(Limit::IdleTimeout, at(4_000 + IDLE));
        assert_eq!((law.verdict)(&session, &presence, at(4_000 + IDLE)), idle);
    }
}

/// GV-6
fn activity_never_moves_the_idle_clock_back(law: &Law) {
    let presence = (law.active_at)((law.active_at)(NOTHING, at(3_000)), at(2_000));
    assert_eq!(presence.last_activity_at, Some(at(3_000)));
    assert_eq!((law.active_at)(NOTHING, at(2_000)).last_activity_at, Some(at(2_000)));
    assert!((law.active_at)(WORKING, at(2_000)).work == Work::InProgress);
}

/// TM-1, GV-6
fn an_end_stands_at_every_instant_also_before_it(law: &Law) {
    for state in [Terminated, Failed] {
        let ended = session(state);
        for now in [0, 4_999, 5_000, LIFETIME, 10 * LIFETIME] {
            for presence in [NOTHING, WORKING] {
                let verdict = (law.verdict)(&ended, &presence, at(now));
                assert_eq!(verdict, Verdict::Gone(ended.end.as_ref().unwrap()));
            }
        }
        assert_eq!((law.deadline)(&ended, &NOTHING), None);
    }
}

/// TM-4, TM-6
fn the_deadline_is_exactly_when_the_verdict_changes(law: &Law) {
    let live = prop::sample::select(vec![Created, Initializing, Ready, Running, Paused]);
    let limits = (1..2_000i64, prop::option::of(1..2_000u64), prop::option::of(1..2_000i64));
    let work = prop::sample::select(vec![Work::None, Work::InProgress, Work::Unknown]);
    let activity = (0..1_000i64, prop::option::of(0..1_000i64), work);
    property(law, 512, (live, limits, activity), |(state, (lifetime, idle, lease), (stored, known, work))| {
        let mut session = Session { lifetime_ends_at: at(lifetime), last_activity_at: at(stored), ..session(state) };
        session.limits.idle_timeout_ms = idle;
        let session = lease.map_or(session.clone(), |lease| with_lease(session, at(lease)));
        let presence = Presence { work, last_activity_at: known.map(at) };
        let deadline = (law.deadline)(&session, &presence).expect("a live session has one");
        let before = Timestamp::from_ms(deadline.as_ms() - 1);
        assert_eq!((law.verdict)(&session, &presence, before), Verdict::Proceed, "before the deadline");
        let Verdict::End(_, passed_at) = (law.verdict)(&session, &presence, deadline) else {
            panic!("nothing happens at the deadline of {session:?} with {presence:?}");
        };
        assert_eq!(passed_at, deadline);
    });
}

/// LC-9, GV-3
fn pausing_and_resuming_begin_the_idle_clock_anew_by_whatever_name(law: &Law) {
    for (operation, to) in [
        (Operation::SessionPause, None),
        (Operation::SessionResume, None),
        (Operation::SessionTransition, Some(Paused)),
        (Operation::SessionTransition, Some(Running)),
    ] {
        assert!((law.counts_as_activity)(operation, to), "{operation}");
    }
    assert!(!(law.counts_as_activity)(Operation::SessionTransition, Some(Terminated)));
    assert!(!(law.counts_as_activity)(Operation::SessionTransition, None));
}
