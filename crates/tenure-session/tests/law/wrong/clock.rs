//! Laws that misread the clock: verdict, deadline, activity.

use crate::law::{Law, RIGHT};
use tenure_session as right;
use tenure_session::*;

/// See the names.
pub const LAWS: &[Law] = &[
    Law {
        wrong: "a lifetime is passed after its instant only",
        verdict: |s, p, now| late(s, p, now, Limit::MaxLifetime),
        ..RIGHT
    },
    Law {
        wrong: "an idle timeout is passed after its instant only",
        verdict: |s, p, now| late(s, p, now, Limit::IdleTimeout),
        ..RIGHT
    },
    Law {
        wrong: "a lease is passed after its instant only",
        verdict: |s, p, now| late(s, p, now, Limit::LeaseExpired),
        ..RIGHT
    },
    Law { wrong: "idle is looked at before lifetime", verdict: |s, p, now| in_order(s, p, now, [1, 0, 2]), ..RIGHT },
    Law {
        wrong: "the lease is looked at before lifetime",
        verdict: |s, p, now| in_order(s, p, now, [2, 0, 1]),
        ..RIGHT
    },
    Law { wrong: "the lease is looked at before idle", verdict: |s, p, now| in_order(s, p, now, [0, 2, 1]), ..RIGHT },
    Law { wrong: "the limit that passed last is the reason", verdict: last_passed, ..RIGHT },
    Law { wrong: "the limit that passed first is the reason", verdict: first_passed, ..RIGHT },
    Law { wrong: "a session ends when somebody asks", verdict: ends_when_asked, ..RIGHT },
    Law {
        wrong: "work in progress does not keep a session active",
        verdict: |s, p, now| right::verdict(s, &Presence { work: Work::None, ..*p }, now),
        deadline: |s, p| right::deadline(s, &Presence { work: Work::None, ..*p }),
        ..RIGHT
    },
    Law {
        wrong: "what is not known to be at work is idle",
        verdict: |s, p, now| right::verdict(s, &known(p), now),
        deadline: |s, p| right::deadline(s, &known(p)),
        ..RIGHT
    },
    Law { wrong: "a paused session is idle", verdict: |s, p, now| idle_while(s, p, now, State::Paused), ..RIGHT },
    Law {
        wrong: "a session that is being made is idle",
        verdict: |s, p, now| idle_while(s, p, now, State::Initializing),
        ..RIGHT
    },
    Law {
        wrong: "a session that was not worked in yet is never idle",
        verdict: |s, p, now| {
            right::verdict(
                s,
                &Presence { work: if s.state == State::Ready { Work::InProgress } else { p.work }, ..*p },
                now,
            )
        },
        ..RIGHT
    },
    Law {
        wrong: "the lease stands still while paused",
        verdict: |s, p, now| match right::verdict(s, p, now) {
            Verdict::End(Limit::LeaseExpired, _) if s.state == State::Paused => Verdict::Proceed,
            verdict => verdict,
        },
        ..RIGHT
    },
    Law {
        wrong: "work holds off the lifetime",
        verdict: |s, p, now| match right::verdict(s, p, now) {
            Verdict::End(Limit::MaxLifetime, _) if p.work != Work::None => Verdict::Proceed,
            verdict => verdict,
        },
        ..RIGHT
    },
    Law {
        wrong: "activity that is not stored yet does not count",
        verdict: |s, p, now| right::verdict(s, &Presence { last_activity_at: None, ..*p }, now),
        ..RIGHT
    },
    Law { wrong: "a clock set back brings the ended back", verdict: resurrects, ..RIGHT },
    Law { wrong: "work brings the ended back", verdict: worked_back, ..RIGHT },
    Law { wrong: "the deadline forgets idle", deadline: |s, p| without(s, p, Limit::IdleTimeout), ..RIGHT },
    Law { wrong: "the deadline forgets the lease", deadline: |s, p| without(s, p, Limit::LeaseExpired), ..RIGHT },
    Law {
        wrong: "the deadline is a millisecond late",
        deadline: |s, p| right::deadline(s, p).map(|at| at.plus_ms(1)),
        ..RIGHT
    },
    Law { wrong: "the deadline is the last limit", deadline: last_limit, ..RIGHT },
    Law { wrong: "an ended session has a deadline", deadline: |s, _| Some(s.lifetime_ends_at), ..RIGHT },
    Law {
        wrong: "activity moves the idle clock back",
        active_at: |p, at| Presence { last_activity_at: Some(at), ..p },
        ..RIGHT
    },
    Law {
        wrong: "activity ends the work in progress",
        active_at: |p, at| Presence { work: Work::None, ..p.active_at(at) },
        ..RIGHT
    },
];

/// What they take for stored, or for known after a crash.
pub const STORED: &[Law] = &[
    Law { wrong: "older presence hides later stored activity", verdict: older_presence, ..RIGHT },
    Law { wrong: "a crash forgets what was not stored", after_crash: |_, _| Presence::default(), ..RIGHT },
    Law {
        wrong: "a crash is activity",
        after_crash: |_, now| Presence { work: Work::None, last_activity_at: Some(now) },
        ..RIGHT
    },
    Law { wrong: "activity is never stored", is_to_be_stored: |_, _| false, ..RIGHT },
    Law {
        wrong: "all activity is stored",
        is_to_be_stored: |p, s| p.last_activity_at(s) > s.last_activity_at,
        ..RIGHT
    },
];

/// The limit passes only after its instant.
fn late<'a>(session: &'a Session, presence: &Presence, now: Timestamp, late: Limit) -> Verdict<'a> {
    match right::verdict(session, presence, now) {
        Verdict::End(limit, at) if limit == late && at == now => Verdict::Proceed,
        verdict => verdict,
    }
}

fn passed(session: &Session, presence: &Presence, now: Timestamp, order: [usize; 3]) -> Vec<(Limit, Timestamp)> {
    let limits = limits_ahead(session, presence);
    order.into_iter().filter_map(|place| limits[place]).filter(|(_, at)| *at <= now).collect()
}

fn in_order<'a>(session: &'a Session, presence: &Presence, now: Timestamp, order: [usize; 3]) -> Verdict<'a> {
    choose(session, passed(session, presence, now, order).first().copied())
}

fn choose(session: &Session, chosen: Option<(Limit, Timestamp)>) -> Verdict<'_> {
    match (&session.end, chosen) {
        (Some(end), _) => Verdict::Gone(end),
        (None, Some((limit, at))) => Verdict::End(limit, at),
        (None, None) => Verdict::Proceed,
    }
}

fn last_passed<'a>(session: &'a Session, presence: &Presence, now: Timestamp) -> Verdict<'a> {
    let passed = passed(session, presence, now, [0, 1, 2]);
    choose(session, passed.into_iter().max_by_key(|(_, at)| *at))
}

fn first_passed<'a>(session: &'a Session, presence: &Presence, now: Timestamp) -> Verdict<'a> {
    let passed = passed(session, presence, now, [0, 1, 2]);
    choose(session, passed.into_iter().min_by_key(|(_, at)| *at))
}

fn ends_when_asked<'a>(session: &'a Session, presence: &Presence, now: Timestamp) -> Verdict<'a> {
    match right::verdict(session, presence, now) {
        Verdict::End(limit, _) => Verdict::End(limit, now),
        verdict => verdict,
    }
}

fn idle_while<'a>(session: &'a Session, presence: &Presence, now: Timestamp, state: State) -> Verdict<'a> {
    let timeout_ms = session.limits.idle_timeout_ms.unwrap_or(u64::MAX);
    let idle_at = presence.last_activity_at(session).plus_ms(timeout_ms);
    match right::verdict(session, presence, now) {
        Verdict::Proceed if session.state == state && now >= idle_at => Verdict::End(Limit::IdleTimeout, idle_at),
        verdict => verdict,
    }
}

fn older_presence<'a>(session: &'a Session, presence: &Presence, now: Timestamp) -> Verdict<'a> {
    let Some(known) = presence.last_activity_at else { return right::verdict(session, presence, now) };
    match right::verdict(&Session { last_activity_at: known, ..session.clone() }, presence, now) {
        Verdict::End(limit, at) => Verdict::End(limit, at),
        Verdict::Proceed | Verdict::Gone(_) => right::verdict(session, presence, now),
    }
}

fn resurrects<'a>(session: &'a Session, presence: &Presence, now: Timestamp) -> Verdict<'a> {
    match right::verdict(session, presence, now) {
        Verdict::Gone(end) if now < end.at => Verdict::Proceed,
        verdict => verdict,
    }
}

fn worked_back<'a>(session: &'a Session, presence: &Presence, now: Timestamp) -> Verdict<'a> {
    match right::verdict(session, presence, now) {
        Verdict::Gone(_) if presence.work != Work::None => Verdict::Proceed,
        verdict => verdict,
    }
}

fn known(presence: &Presence) -> Presence {
    Presence { work: if presence.work == Work::Unknown { Work::None } else { presence.work }, ..*presence }
}

fn without(session: &Session, presence: &Presence, forgotten: Limit) -> Option<Timestamp> {
    let limits = limits_ahead(session, presence).into_iter().flatten().filter(|(limit, _)| *limit != forgotten);
    right::deadline(session, presence).and_then(|_| limits.map(|(_, at)| at).min())
}

fn last_limit(session: &Session, presence: &Presence) -> Option<Timestamp> {
    let limits = limits_ahead(session, presence).into_iter().flatten();
    right::deadline(session, presence).and_then(|_| limits.map(|(_, at)| at).max())
}
