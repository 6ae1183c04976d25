//! Wrong leases: each is the right law but for one function, and the suite must catch every one of them.

use crate::law::{Law, RIGHT, Update};
use crate::trials::Check;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use tenure_session as right;
use tenure_session::*;

/// Every list of checks there is, the cheap ones first.
const SUITE: [&[Check]; 3] = [crate::rules::CHECKS, crate::life::CHECKS, crate::walk::CHECKS];

/// What the walk through small worlds has to catch without any rule written out.
const UNSAFE: &[Law] = &[
    Law {
        wrong: "a heartbeat resurrects",
        renew: |s, token, now| right::lease_renew(&immortal(s), token, now),
        ..RIGHT
    },
    Law { wrong: "a lease can be renewed at the instant it runs out", renew: renew_at_expiry, ..RIGHT },
    Law { wrong: "a renewal moves the expiry back", renew: |s, t, now| renewal(s, t, now, moved_back), ..RIGHT },
    Law { wrong: "a renewal passes the end of the lifetime", renew: renew_past_lifetime, ..RIGHT },
    Law { wrong: "a heartbeat within the interval extends", renew: renew_always, ..RIGHT },
    Law { wrong: "an interval to the millisecond is within it", renew: renew_late_by_one, ..RIGHT },
    Law { wrong: "a clock set back makes a heartbeat", renew: renew_when_set_back, ..RIGHT },
    Law { wrong: "an older token renews", renew: |s, t, now| renew_as(s, t, now, |t, held| t <= held), ..RIGHT },
    Law {
        wrong: "no token renews",
        renew: |s, t, now| right::lease_renew(s, t.or(s.lease.map(|lease| lease.token)), now),
        ..RIGHT
    },
    Law { wrong: "an ended session is renewed", renew: |s, t, now| right::lease_renew(&unended(s), t, now), ..RIGHT },
    Law { wrong: "a heartbeat is forgotten", renew: |s, t, now| renewal(s, t, now, forgotten), ..RIGHT },
    Law {
        wrong: "taking counts as a heartbeat",
        take: |s, terms, over, now| taken(s, terms, over, now, beat),
        ..RIGHT
    },
    Law { wrong: "a renewal adds one TTL to the expiry", renew: |s, t, now| renewal(s, t, now, added), ..RIGHT },
    Law { wrong: "a takeover keeps the token", take: take_same_token, ..RIGHT },
    Law { wrong: "giving up forgets the token", take: take_by_lease, ..RIGHT },
    Law { wrong: "a restart forgets the token", take: take_after_the_held, ..RIGHT },
    Law {
        wrong: "a held lease can be taken",
        take: |s, terms, _, now| right::lease_take(s, terms, true, now),
        ..RIGHT
    },
    Law {
        wrong: "a lease that ran out can be taken",
        take: |s, terms, _, now| right::lease_take(&immortal(s), terms, true, now),
        ..RIGHT
    },
    Law {
        wrong: "a taken lease passes the end of the lifetime",
        take: |s, terms, over, now| right::lease_take(&endless(s), terms, over, now),
        ..RIGHT
    },
    Law { wrong: "a takeover keeps the expiry", take: take_same_expiry, ..RIGHT },
    Law { wrong: "a stale token gives up", release: |s, _, now| right::lease_release(s, token_of(s), now), ..RIGHT },
    Law {
        wrong: "a lease that ran out can be given up",
        release: |s, token, now| right::lease_release(&immortal(s), token, now),
        ..RIGHT
    },
    Law { wrong: "a renewal is decided before the update", renew_in_update: renew_unchecked, ..RIGHT },
    Law { wrong: "a taking is decided before the update", take_in_update: take_unchecked, ..RIGHT },
    Law { wrong: "an expiry is decided before the update", expire_in_update: |row, _| row.end.is_none(), ..RIGHT },
    Law {
        wrong: "the fence lets older tokens through",
        fence: |s, t, now| through(s, t, now, |t, held| t <= held),
        ..RIGHT
    },
    Law {
        wrong: "the fence lets no token through",
        fence: |s, t, now| (RIGHT.fence)(s, t.or(token_of(s)), now),
        ..RIGHT
    },
    Law { wrong: "the fence stands after the expiry", fence: |s, t, now| (RIGHT.fence)(&immortal(s), t, now), ..RIGHT },
    Law {
        wrong: "a start moves what had run out before",
        shift: |s, _, until| right::shift_downtime(s, Timestamp::default(), until),
        ..RIGHT
    },
    Law { wrong: "a start moves nothing", shift: |_, _, _| None, ..RIGHT },
];

/// What needs a rule with its numbers.
const INEXACT: &[Law] = &[
    Law { wrong: "a newer token renews", renew: |s, t, now| renew_as(s, t, now, |t, held| t >= held), ..RIGHT },
    Law {
        wrong: "the fence lets newer tokens through",
        fence: |s, t, now| through(s, t, now, |t, held| t >= held),
        ..RIGHT
    },
    Law {
        wrong: "an ended session can be taken",
        take: |s, t, over, now| right::lease_take(&unended(s), t, over, now),
        ..RIGHT
    },
    Law {
        wrong: "an ended session is given up",
        release: |s, t, now| right::lease_release(&unended(s), t, now),
        ..RIGHT
    },
    Law { wrong: "a takeover is refused", take: |s, terms, _, now| right::lease_take(s, terms, false, now), ..RIGHT },
    Law { wrong: "a takeover keeps the terms", take: take_same_terms, ..RIGHT },
    Law {
        wrong: "two intervals are late",
        renew: |s, t, now| lateness(s, t, now, |away, interval| away >= 2 * interval),
        ..RIGHT
    },
    Law {
        wrong: "one interval is late",
        renew: |s, t, now| lateness(s, t, now, |away, interval| away > interval),
        ..RIGHT
    },
    Law { wrong: "nothing is late", renew: |s, t, now| lateness(s, t, now, |_, _| false), ..RIGHT },
    Law { wrong: "the bounds of the TTL are not looked at", terms: terms_unbounded, ..RIGHT },
    Law { wrong: "an interval may be as long as the TTL", terms: terms_of_one_beat, ..RIGHT },
    Law { wrong: "the template goes before the request", terms: terms_of_template, ..RIGHT },
    Law { wrong: "a start gives a whole idle window", shift: shift_whole_window, ..RIGHT },
    Law {
        wrong: "a start passes the end of the lifetime",
        shift: |s, from, until| right::shift_downtime(&endless(s), from, until),
        ..RIGHT
    },
    Law { wrong: "a start forgets what runs out at its own instant", shift: shift_before_start, ..RIGHT },
    Law {
        wrong: "a start moves the idle limit of what is paused",
        shift: |s, from, until| right::shift_downtime(&Session { state: State::Running, ..s.clone() }, from, until),
        ..RIGHT
    },
];

fn token_of(session: &Session) -> Option<LeaseToken> {
    session.lease.map(|lease| lease.token)
}

fn with(session: &Session, change: impl Fn(&mut Lease)) -> Session {
    let mut session = session.clone();
    session.lease.iter_mut().for_each(change);
    session
}

/// Its lease never runs out.
fn immortal(session: &Session) -> Session {
    with(session, |lease| lease.expires_at = Timestamp::LATEST)
}

fn unended(session: &Session) -> Session {
    Session { end: None, ..session.clone() }
}

fn endless(session: &Session) -> Session {
    Session { lifetime_ends_at: Timestamp::LATEST, ..session.clone() }
}

/// The right renewal, then something of it is changed: given are the session, the lease before, the lease after, and now.
fn renewal(
    s: &Session,
    token: Option<LeaseToken>,
    now: Timestamp,
    change: fn(&Session, &Lease, &mut Lease, Timestamp),
) -> LeaseRenewal {
    match (right::lease_renew(s, token, now), s.lease) {
        (LeaseRenewal::Renewed { mut lease, late }, Some(before)) => {
            change(s, &before, &mut lease, now);
            LeaseRenewal::Renewed { lease, late }
        }
        (other, _) => other,
    }
}

fn moved_back(s: &Session, _: &Lease, lease: &mut Lease, now: Timestamp) {
    lease.expires_at = now.plus_ms(lease.ttl_ms).min(s.lifetime_ends_at);
}

fn forgotten(_: &Session, before: &Lease, lease: &mut Lease, _: Timestamp) {
    lease.last_heartbeat_at = before.last_heartbeat_at;
}

fn added(s: &Session, before: &Lease, lease: &mut Lease, _: Timestamp) {
    lease.expires_at = before.expires_at.plus_ms(lease.ttl_ms).min(s.lifetime_ends_at);
}

fn renew_past_lifetime(s: &Session, token: Option<LeaseToken>, now: Timestamp) -> LeaseRenewal {
    right::lease_renew(&endless(s), token, now)
}

fn renew_at_expiry(s: &Session, token: Option<LeaseToken>, now: Timestamp) -> LeaseRenewal {
    let later = with(s, |lease| lease.expires_at = lease.expires_at.plus_ms(1));
    right::lease_renew(&later, token, now)
}

fn renew_always(s: &Session, token: Option<LeaseToken>, now: Timestamp) -> LeaseRenewal {
    right::lease_renew(&with(s, |lease| lease.last_heartbeat_at = None), token, now)
}

fn renew_late_by_one(s: &Session, token: Option<LeaseToken>, now: Timestamp) -> LeaseRenewal {
    match s.lease {
        Some(lease) if lease.last_heartbeat_at.is_some_and(|last| now == last.plus_ms(lease.heartbeat_interval_ms)) => {
            match right::lease_renew(s, token, now) {
                LeaseRenewal::Renewed { .. } => LeaseRenewal::Fresh(lease),
                other => other,
            }
        }
        _ => right::lease_renew(s, token, now),
    }
}

fn renew_when_set_back(s: &Session, token: Option<LeaseToken>, now: Timestamp) -> LeaseRenewal {
    match s.lease {
        Some(lease) if lease.last_heartbeat_at.is_some_and(|last| now < last) => renew_always(s, token, now),
        _ => right::lease_renew(s, token, now),
    }
}

fn renew_as(
    s: &Session,
    token: Option<LeaseToken>,
    now: Timestamp,
    holds: fn(LeaseToken, LeaseToken) -> bool,
) -> LeaseRenewal {
    match (token, s.lease) {
        (Some(token), Some(lease)) if holds(token, lease.token) => right::lease_renew(s, Some(lease.token), now),
        _ => right::lease_renew(s, token, now),
    }
}

fn lateness(s: &Session, token: Option<LeaseToken>, now: Timestamp, is_late: fn(u64, u64) -> bool) -> LeaseRenewal {
    match (right::lease_renew(s, token, now), s.lease) {
        (LeaseRenewal::Renewed { lease, .. }, Some(before)) => {
            let taken_at = Timestamp::from_ms(before.expires_at.as_ms() - before.ttl_ms as i64);
            let away = now.ms_since(before.last_heartbeat_at.unwrap_or(taken_at));
            LeaseRenewal::Renewed { lease, late: is_late(away, lease.heartbeat_interval_ms) }
        }
        (other, _) => other,
    }
}

/// The right taking, then something of it is changed: given are the session and the lease after.
fn taken(
    s: &Session,
    terms: LeaseTerms,
    takeover: bool,
    now: Timestamp,
    change: fn(&Session, &mut Lease, Timestamp),
) -> LeaseTake {
    match right::lease_take(s, terms, takeover, now) {
        LeaseTake::Taken(mut lease) => {
            change(s, &mut lease, now);
            LeaseTake::Taken(lease)
        }
        other => other,
    }
}

fn beat(_: &Session, lease: &mut Lease, now: Timestamp) {
    lease.last_heartbeat_at = Some(now);
}

fn take_same_token(s: &Session, terms: LeaseTerms, takeover: bool, now: Timestamp) -> LeaseTake {
    taken(s, terms, takeover, now, |s, lease, _| lease.token = token_of(s).unwrap_or(lease.token))
}

fn take_by_lease(s: &Session, terms: LeaseTerms, takeover: bool, now: Timestamp) -> LeaseTake {
    taken(s, terms, takeover, now, |s, lease, _| lease.token = token_of(s).unwrap_or_default().next())
}

fn take_after_the_held(s: &Session, terms: LeaseTerms, takeover: bool, now: Timestamp) -> LeaseTake {
    let forgetful = Session { lease_token_last: LeaseToken(s.lease_token_last.0.min(1)), ..s.clone() };
    right::lease_take(&forgetful, terms, takeover, now)
}

fn take_same_expiry(s: &Session, terms: LeaseTerms, takeover: bool, now: Timestamp) -> LeaseTake {
    taken(s, terms, takeover, now, |s, lease, _| {
        lease.expires_at = s.lease.map_or(lease.expires_at, |before| before.expires_at);
    })
}

fn take_same_terms(s: &Session, terms: LeaseTerms, takeover: bool, now: Timestamp) -> LeaseTake {
    let kept =
        s.lease.map(|lease| LeaseTerms { ttl_ms: lease.ttl_ms, heartbeat_interval_ms: lease.heartbeat_interval_ms });
    right::lease_take(s, kept.unwrap_or(terms), takeover, now)
}

fn renew_unchecked(law: &Law, update: &Update<'_>, token: Option<LeaseToken>) -> LeaseRenewal {
    (law.renew)(update.read, token, update.read_at)
}

fn take_unchecked(law: &Law, update: &Update<'_>, terms: LeaseTerms, takeover: bool) -> LeaseTake {
    (law.take)(update.read, terms, takeover, update.read_at)
}

fn through(s: &Session, token: Option<LeaseToken>, now: Timestamp, holds: fn(LeaseToken, LeaseToken) -> bool) -> bool {
    match (token, token_of(s)) {
        (Some(token), Some(held)) if holds(token, held) => (RIGHT.fence)(s, Some(held), now),
        _ => (RIGHT.fence)(s, token, now),
    }
}

fn terms_unbounded(
    request: &LeaseRequest,
    template: Option<LeaseTerms>,
    policy: &LeasePolicy,
) -> Result<LeaseTerms, InvalidField> {
    right::lease_terms(request, template, &LeasePolicy { ttl_ms: Range { min: 1, max: u64::MAX }, ..*policy })
}

fn terms_of_one_beat(
    request: &LeaseRequest,
    template: Option<LeaseTerms>,
    policy: &LeasePolicy,
) -> Result<LeaseTerms, InvalidField> {
    let ttl_ms =
        right::lease_terms(&LeaseRequest { heartbeat_interval_ms: None, ..*request }, template, policy)?.ttl_ms;
    if request.heartbeat_interval_ms == Some(ttl_ms) {
        return Ok(LeaseTerms { ttl_ms, heartbeat_interval_ms: ttl_ms });
    }
    right::lease_terms(request, template, policy)
}

fn terms_of_template(
    request: &LeaseRequest,
    template: Option<LeaseTerms>,
    policy: &LeasePolicy,
) -> Result<LeaseTerms, InvalidField> {
    template.map_or_else(|| right::lease_terms(request, None, policy), Ok)
}

fn shift_whole_window(s: &Session, from: Timestamp, until: Timestamp) -> Option<DowntimeShift> {
    let shift = right::shift_downtime(s, from, until)?;
    Some(DowntimeShift { last_activity_at: shift.last_activity_at.map(|_| until), ..shift })
}

fn shift_before_start(s: &Session, from: Timestamp, until: Timestamp) -> Option<DowntimeShift> {
    right::shift_downtime(s, from, Timestamp::from_ms(until.as_ms() - 1))
}

thread_local! {
    /// Whether panics of this thread are expected, and are not worth a word.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// The first check of these that this law fails.
fn caught_by(law: &Law, suite: &[&[Check]]) -> Option<&'static str> {
    let fails = |check: &&Check| catch_unwind(AssertUnwindSafe(|| (check.1)(law))).is_err();
    suite.iter().copied().flatten().find(fails).map(|(name, _)| *name)
}

/// The laws that no check of these catches.
fn free<'a>(laws: impl Iterator<Item = &'a Law>, suite: &[&[Check]]) -> Vec<&'static str> {
    let heard = take_hook();
    set_hook(Box::new(move |info| {
        if !EXPECTED.get() {
            heard(info);
        }
    }));
    EXPECTED.set(true);
    let free = laws.filter(|law| caught_by(law, suite).is_none()).map(|law| law.wrong).collect();
    EXPECTED.set(false);
    free
}

/// LS-1, LS-2, LS-3, LS-4, LS-6, LS-7, GV-6, GV-7
#[test]
fn every_wrong_lease_is_caught() {
    assert!(UNSAFE.len() + INEXACT.len() >= 40);
    let free = free(UNSAFE.iter().chain(INEXACT), &SUITE);
    assert!(free.is_empty(), "not caught: {free:#?}");
}

/// LS-2, LS-4, LS-7
#[test]
fn the_walk_alone_catches_every_unsafe_lease() {
    let free = free(UNSAFE.iter(), &[crate::walk::CHECKS]);
    assert!(free.is_empty(), "not caught: {free:#?}");
}

/// What is caught is caught for what is wrong: the right law passes under the same eyes.
#[test]
fn the_right_lease_is_not_caught() {
    assert_eq!(caught_by(&Law { wrong: "nothing", ..RIGHT }, &SUITE[..2]), None);
}
