//! What every store promises of leases: what must hold is looked at inside the change (LS-2, LS-4, LS-5, LS-7), and a start moves what ran out (GV-7).

use super::session_end::{end, guarded};
use super::{Subject, actions, at, count_done, create, crowd, done, entries, entry, read, ready, refused};
use super::{service_entry, session};
use crate::{
    AuditFilter, Changed, EndGuard, LeaseBeat, LeaseGivingUp, LeaseRenewed, LeaseTaking, SessionExtend, SessionsShift,
};
use tenure_session::{
    Lease, LeaseTerms, LeaseToken, Session, SessionId, SessionLimits, State, TerminationReason, Timestamp,
};

/// A minute, every five seconds.
const TERMS: LeaseTerms = LeaseTerms { ttl_ms: 60_000, heartbeat_interval_ms: 5000 };

fn taking(id: &SessionId, takeover: bool, at: Timestamp) -> LeaseTaking {
    LeaseTaking { id: id.clone(), terms: TERMS, takeover, at, entry: entry(id, "lease_take") }
}

fn giving_up(id: &SessionId, token: u64, at: Timestamp) -> LeaseGivingUp {
    LeaseGivingUp { id: id.clone(), token: LeaseToken(token), at, entry: entry(id, "lease_release") }
}

async fn take(store: &Subject, id: &SessionId, takeover: bool, at: Timestamp) -> Lease {
    done(store.lease_take(taking(id, takeover, at)).await).lease.expect("it was taken")
}

async fn renew(store: &Subject, id: &SessionId, token: u64, at: Timestamp) -> LeaseRenewed {
    store.lease_renew(LeaseBeat { id: id.clone(), token: LeaseToken(token), at }).await.unwrap()
}

async fn renewed(store: &Subject, id: &SessionId, token: u64, at: Timestamp) -> Lease {
    match renew(store, id, token, at).await {
        LeaseRenewed::Renewed(lease) => lease,
        other @ (LeaseRenewed::Refused(_) | LeaseRenewed::Missing) => panic!("not renewed: {other:?}"),
    }
}

/// Nothing was changed, and the session is told as it is.
async fn not_renewed(store: &Subject, id: &SessionId, token: u64, at: Timestamp) {
    let before = read(store, id).await;
    assert_eq!(renew(store, id, token, at).await, LeaseRenewed::Refused(Box::new(before.clone())));
    assert_eq!(read(store, id).await, before, "a refused renewal changes nothing");
}

fn expiry_of(lease: &Lease) -> Timestamp {
    lease.expires_at
}

/// LS-1, LS-7
pub async fn a_lease_is_taken_once(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let taken = take(store, &id, false, at(20)).await;
    let expected = Lease {
        token: LeaseToken(1),
        ttl_ms: 60_000,
        heartbeat_interval_ms: 5000,
        expires_at: at(80),
        last_heartbeat_at: None,
    };
    assert_eq!(taken, expected);
    let held = refused(store.lease_take(taking(&id, false, at(30))).await);
    assert_eq!((held.lease, held.lease_token_last), (Some(expected), LeaseToken(1)));
    assert_eq!(read(store, &id).await, held);
    let over = take(store, &id, true, at(30)).await;
    assert_eq!((over.token, over.expires_at), (LeaseToken(2), at(90)));
    assert_eq!(read(store, &id).await.lease, Some(over));
    let taken: Vec<_> = actions(store, &id).await.into_iter().filter(|action| action == "lease_take").collect();
    assert_eq!(taken.len(), 2, "what was refused has no entry");
    let missing = session("nobody").id;
    assert_eq!(store.lease_take(taking(&missing, false, at(1))).await.unwrap(), Changed::Missing);
    assert_eq!(renew(store, &missing, 1, at(1)).await, LeaseRenewed::Missing);
    assert_eq!(store.lease_release(giving_up(&missing, 1, at(1))).await.unwrap(), Changed::Missing);
}

/// LS-7
pub async fn of_many_that_take_a_lease_one_gets_it(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let said = crowd(store, |_, store| {
        let id = id.clone();
        async move { store.lease_take(taking(&id, false, at(20))).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
    let said = crowd(store, |_, store| {
        let id = id.clone();
        async move { done(store.lease_take(taking(&id, true, at(20))).await).lease.unwrap().token }
    })
    .await;
    let mut tokens: Vec<u64> = said.into_iter().map(|token| token.0).collect();
    tokens.sort_unstable();
    let expected: Vec<u64> = (2..).take(tokens.len()).collect();
    assert_eq!(tokens, expected, "each takeover has a token of its own");
}

/// LS-7: not after giving up either.
pub async fn a_token_is_never_given_again(store: &Subject) {
    let id = ready(store, "alice").await.id;
    for token in 1..=3 {
        assert_eq!(take(store, &id, false, at(20)).await.token, LeaseToken(token));
        assert!(refused(store.lease_release(giving_up(&id, token + 1, at(21))).await).lease.is_some());
        assert!(refused(store.lease_release(giving_up(&id, token - 1, at(21))).await).lease.is_some());
        let free = done(store.lease_release(giving_up(&id, token, at(21))).await);
        assert_eq!((free.lease, free.lease_token_last), (None, LeaseToken(token)));
        assert_eq!(read(store, &id).await, free);
        assert_eq!(refused(store.lease_release(giving_up(&id, token, at(22))).await), free, "given up once");
    }
    let given_up = actions(store, &id).await.into_iter().filter(|action| action == "lease_release").count();
    assert_eq!(given_up, 3);
}

/// LS-2, LS-7
pub async fn a_lease_is_renewed_by_its_token_only(store: &Subject) {
    let id = ready(store, "alice").await.id;
    not_renewed(store, &id, 1, at(15)).await;
    take(store, &id, false, at(20)).await;
    take(store, &id, true, at(20)).await;
    for token in [0, 1, 3, u64::from(u32::MAX)] {
        not_renewed(store, &id, token, at(30)).await;
    }
    let before = read(store, &id).await;
    let lease = renewed(store, &id, 2, at(30)).await;
    assert_eq!((lease.token, lease.expires_at, lease.last_heartbeat_at), (LeaseToken(2), at(90), Some(at(30))));
    assert_eq!((lease.ttl_ms, lease.heartbeat_interval_ms), (60_000, 5000));
    assert_eq!(read(store, &id).await, Session { lease: Some(lease), ..before }, "nothing else changes");
}

/// LS-2
pub async fn a_renewal_within_the_interval_changes_nothing(store: &Subject) {
    let id = ready(store, "alice").await.id;
    take(store, &id, false, at(20)).await;
    renewed(store, &id, 1, at(20)).await;
    for early in [at(0), at(20), Timestamp::from_ms(at(25).as_ms() - 1)] {
        not_renewed(store, &id, 1, early).await;
    }
    assert_eq!(renewed(store, &id, 1, at(25)).await.expires_at, at(85));
}

/// LS-2, GV-6
pub async fn a_renewal_goes_neither_back_nor_past_the_lifetime(store: &Subject) {
    let id = ready(store, "alice").await.id;
    take(store, &id, false, at(100)).await;
    let set_back = renewed(store, &id, 1, at(50)).await;
    assert_eq!((set_back.expires_at, set_back.last_heartbeat_at), (at(160), Some(at(50))));

    let limits = SessionLimits { max_lifetime_ms: 70_000, ..SessionLimits::default() };
    let short = create(store, Session { limits, lifetime_ends_at: at(70), ..session("alice") }).await;
    assert_eq!(expiry_of(&take(store, &short.id, false, at(20)).await), at(70));
    assert_eq!(expiry_of(&renewed(store, &short.id, 1, at(30)).await), at(70));
    let more = SessionExtend { id: short.id.clone(), by_ms: 10_000, at: at(31), entry: entry(&short.id, "extend") };
    done(store.session_extend(more).await);
    assert_eq!(expiry_of(&renewed(store, &short.id, 1, at(40)).await), at(80));
}

/// LS-3, LS-4: to the millisecond.
pub async fn what_ran_out_is_neither_renewed_nor_taken_nor_given_up(store: &Subject) {
    let id = ready(store, "alice").await.id;
    take(store, &id, false, at(20)).await;
    for late in [at(80), at(81), at(5000)] {
        not_renewed(store, &id, 1, late).await;
        for takeover in [false, true] {
            assert_eq!(refused(store.lease_take(taking(&id, takeover, late)).await).lease_token_last, LeaseToken(1));
        }
        assert!(refused(store.lease_release(giving_up(&id, 1, late)).await).lease.is_some());
    }
    let last_moment = Timestamp::from_ms(at(80).as_ms() - 1);
    assert_eq!(renewed(store, &id, 1, last_moment).await.expires_at, last_moment.plus_ms(60_000));
    let last_moment = Timestamp::from_ms(last_moment.plus_ms(60_000).as_ms() - 1);
    assert_eq!(take(store, &id, true, last_moment).await.token, LeaseToken(2));
}

/// LS-3, TM-3
pub async fn what_has_ended_keeps_its_lease(store: &Subject) {
    let id = ready(store, "alice").await.id;
    take(store, &id, false, at(20)).await;
    done(store.session_end(end(&id, 30)).await);
    let ended = read(store, &id).await;
    not_renewed(store, &id, 1, at(31)).await;
    assert_eq!(refused(store.lease_take(taking(&id, true, at(31))).await), ended);
    assert_eq!(refused(store.lease_release(giving_up(&id, 1, at(31))).await), ended);
}

/// LS-4
pub async fn a_renewed_lease_does_not_expire(store: &Subject) {
    let expire = |id: &SessionId, seen| guarded(id, TerminationReason::LeaseExpired, 80, EndGuard::Lease(seen));
    let id = ready(store, "alice").await.id;
    take(store, &id, false, at(20)).await;
    renewed(store, &id, 1, at(79)).await;
    assert!(refused(store.session_end(expire(&id, at(80))).await).end.is_none(), "it was renewed");
    take(store, &id, true, at(100)).await;
    assert!(refused(store.session_end(expire(&id, at(139))).await).end.is_none(), "it was taken over");
    done(store.lease_release(giving_up(&id, 2, at(110))).await);
    assert!(refused(store.session_end(expire(&id, at(160))).await).end.is_none(), "it was given up");
}

/// LS-4: whichever comes first wins whole.
pub async fn renewal_and_expiry_never_both_win(store: &Subject) {
    for _ in 0..5 {
        let id = ready(store, "alice").await.id;
        take(store, &id, false, at(20)).await;
        let last_moment = Timestamp::from_ms(at(80).as_ms() - 1);
        let said = crowd(store, |n, store| {
            let expire = guarded(&id, TerminationReason::LeaseExpired, 80, EndGuard::Lease(at(80)));
            let beat = LeaseBeat { id: id.clone(), token: LeaseToken(1), at: last_moment };
            async move {
                if n % 10 == 3 {
                    let renewed = matches!(store.lease_renew(beat).await.unwrap(), LeaseRenewed::Renewed(_));
                    return (u32::from(renewed), 0);
                }
                let ended = matches!(store.session_end(expire).await.unwrap(), Changed::Done(_));
                (0, u32::from(ended))
            }
        })
        .await;
        let (renewals, ends) = said.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let session = read(store, &id).await;
        assert_eq!(session.end.is_some(), ends == 1);
        assert_eq!((renewals, ends), if session.end.is_some() { (0, 1) } else { (1, 0) });
    }
}

/// LS-5: what is indexed may lag behind renewals, and is never behind a takeover that ends sooner.
pub async fn a_lease_is_due_when_it_runs_out_and_not_before_it_was_renewed_to(store: &Subject) {
    let due = async |now| -> Vec<SessionId> {
        store.session_due(now, 10).await.unwrap().into_iter().map(|session| session.id).collect()
    };
    let id = ready(store, "alice").await.id;
    take(store, &id, false, at(20)).await;
    renewed(store, &id, 1, at(70)).await;
    assert_eq!(due(at(80)).await, [], "it was renewed since");
    assert_eq!(due(at(129)).await, []);
    assert_eq!(due(at(130)).await, std::slice::from_ref(&id));
    let sooner =
        LeaseTaking { terms: LeaseTerms { ttl_ms: 1000, heartbeat_interval_ms: 100 }, ..taking(&id, true, at(90)) };
    done(store.lease_take(sooner).await);
    assert_eq!(due(at(91)).await, std::slice::from_ref(&id));
    done(store.lease_release(giving_up(&id, 2, at(90))).await);
    assert_eq!(due(at(91)).await, []);
}

/// GV-7: what ran out while the service was down, and nothing else; all of it with its entries, in one change.
pub async fn a_start_moves_what_ran_out_while_it_was_down(store: &Subject) {
    let taken = async |seconds| {
        let id = ready(store, "alice").await.id;
        take(store, &id, false, at(seconds)).await;
        id
    };
    let before = taken(20).await;
    let meanwhile = taken(30).await;
    let after = taken(500).await;
    let ended = taken(31).await;
    done(store.session_end(end(&ended, 40)).await);
    let idle = ready(store, "alice").await.id;
    let shift = |until| SessionsShift { from: at(80), until: at(until), entry: service_entry("sessions_shift") };
    assert_eq!(store.sessions_shift(shift(85)).await.unwrap(), 0, "nothing ran out so soon");
    let untouched = [read(store, &before).await, read(store, &after).await, read(store, &ended).await];

    assert_eq!(store.sessions_shift(shift(300)).await.unwrap(), 1);
    let moved = read(store, &meanwhile).await;
    assert_eq!(moved.lease.map(|lease| (lease.token, lease.expires_at)), Some((LeaseToken(1), at(360))));
    assert_eq!([read(store, &before).await, read(store, &after).await, read(store, &ended).await], untouched);
    assert_eq!(actions(store, &meanwhile).await.last().map(String::as_str), Some("sessions_shift"));
    let due = store.session_due(at(359), 10).await.unwrap();
    assert!(due.iter().all(|session| session.id != meanwhile), "its deadline moved, too");
    // LS-4 applies afterwards.
    not_renewed(store, &meanwhile, 1, at(360)).await;
    renewed(store, &meanwhile, 1, at(359)).await;

    // All four were idle for half an hour by then, and get a minute more from the start.
    let shift = SessionsShift { from: at(1500), until: at(7200), entry: service_entry("sessions_shift") };
    assert_eq!(store.sessions_shift(shift).await.unwrap(), 4);
    let moved = read(store, &idle).await;
    assert_eq!(moved.last_activity_at, at(7200 + 60 - 1800 - 180));
    assert_eq!((moved.state, moved.end), (State::Ready, None));
    let filter = AuditFilter { action: Some("sessions_shift".to_owned()), ..AuditFilter::default() };
    assert_eq!(entries(store, filter).await.len(), 7, "one about each, and one about each start");
}
