//! Activity that a crash takes away: it is stored every tenth of the idle timeout, and nobody ends early for what was not (GV-3).

use crate::law::Law;
use crate::sample::{IDLE, at, session};
use crate::trials::property;
use proptest::prelude::*;
use tenure_session::*;

trials![
    activity_is_stored_at_most_every_tenth_of_the_idle_timeout,
    after_a_crash_the_window_that_may_be_missing_is_added,
    a_crash_ends_no_session_early_and_none_much_later,
];

/// GV-3
fn activity_is_stored_at_most_every_tenth_of_the_idle_timeout(law: &Law) {
    let stored = session(State::Running);
    for (after_ms, expected) in [(0, false), (1, false), (IDLE / 10 - 1, false), (IDLE / 10, true), (IDLE, true)] {
        let presence = Presence { work: Work::None, last_activity_at: Some(at(after_ms)) };
        assert_eq!((law.is_to_be_stored)(&presence, &stored), expected, "{after_ms} ms after what is stored");
    }
    assert!(!(law.is_to_be_stored)(&Presence::default(), &stored));
}

/// GV-3
fn after_a_crash_the_window_that_may_be_missing_is_added(law: &Law) {
    let stored = Session { last_activity_at: at(2_000), ..session(State::Running) };
    let presence = (law.after_crash)(&stored, at(9_000));
    assert_eq!(presence, Presence { work: Work::None, last_activity_at: Some(at(2_000 + IDLE / 10)) });
    // Nobody was active after now.
    assert_eq!((law.after_crash)(&stored, at(2_100)).last_activity_at, Some(at(2_100)));
}

/// GV-3, TM-6
fn a_crash_ends_no_session_early_and_none_much_later(law: &Law) {
    let gaps = prop::collection::vec(0..3_000i64, 1..20);
    property(law, 256, (gaps, 0..9_000i64), |(gaps, quiet)| {
        let mut stored = session(State::Running);
        let (mut presence, mut now) = (Presence::default(), 0);
        for gap in gaps {
            now += gap;
            presence = (law.active_at)(presence, at(now));
            if (law.is_to_be_stored)(&presence, &stored) {
                stored.last_activity_at = at(now);
            }
        }
        let recovered = (law.after_crash)(&stored, at(now + quiet));
        let true_end = at(now + IDLE);
        let early = Timestamp::from_ms(true_end.as_ms() - 1);
        if now + IDLE <= crate::sample::LIFETIME {
            assert_eq!((law.verdict)(&stored, &recovered, early), Verdict::Proceed, "it ends early");
            let late = true_end.plus_ms(IDLE as u64 / 10);
            assert_ne!((law.verdict)(&stored, &recovered, late), Verdict::Proceed, "it ends late");
        }
    });
}
