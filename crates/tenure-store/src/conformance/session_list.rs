//! What every store promises of lists of sessions.

use super::{Subject, at, create, creation, deletion, done, end, page, pages, ready, session, user};
use crate::SessionFilter;
use std::collections::{BTreeMap, BTreeSet};
use tenure_session::{EnvironmentState, Lease, LeaseToken, Phase, Session, SessionId, SessionLimits, State};

async fn listed(store: &Subject, filter: SessionFilter) -> BTreeSet<SessionId> {
    let all = pages(2, |page| store.session_list(filter.clone(), page)).await;
    let ids: BTreeSet<_> = all.iter().map(|session| session.id.clone()).collect();
    assert_eq!(ids.len(), all.len(), "no session is listed twice");
    ids
}

fn ids<const N: usize>(sessions: [&Session; N]) -> BTreeSet<SessionId> {
    sessions.into_iter().map(|session| session.id.clone()).collect()
}

fn words(words: &[(&str, &str)]) -> BTreeMap<String, String> {
    words.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// LC-2, TR-1: each filter alone, and together.
pub async fn lists_are_filtered(store: &Subject) {
    let blue = words(&[("team", "blue"), ("odd: 'key\"", "%_\\")]);
    let created = Session { metadata: blue.clone(), ..session("alice") };
    let created = create(store, created).await;
    let lab = create(store, Session { template: "lab@2".into(), ..session("alice") }).await;
    let labor = create(store, Session { template: "labor@2".into(), metadata: blue, ..session("bob") }).await;
    let working = ready(store, "bob").await;
    let ended = ready(store, "bob").await;
    done(store.session_end(end(&ended.id, 40)).await);
    let deleted = ready(store, "alice").await;
    done(store.session_delete(deletion(&deleted.id)).await);

    let all = SessionFilter::default;
    let owner = |name| Some(user(name));
    let metadata = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let both = || [metadata("team", "blue"), metadata("odd: 'key\"", "%_\\")].concat();
    let check = async |filter: SessionFilter, expected| {
        assert_eq!(listed(store, filter.clone()).await, expected, "{filter:?}");
    };
    check(all(), ids([&created, &lab, &labor, &working, &ended])).await;
    check(SessionFilter { include_deleted: true, owner: owner("alice"), ..all() }, ids([&created, &lab, &deleted]))
        .await;
    check(SessionFilter { owner: owner("bob"), ..all() }, ids([&labor, &working, &ended])).await;
    check(SessionFilter { owner: owner("nobody"), ..all() }, ids([])).await;
    check(SessionFilter { state: Some(State::Created), ..all() }, ids([&created, &lab, &labor])).await;
    check(SessionFilter { state: Some(State::Terminated), ..all() }, ids([&ended])).await;
    check(SessionFilter { phase: Some(Phase::Active), ..all() }, ids([&working])).await;
    check(SessionFilter { phase: Some(Phase::Stopped), include_deleted: true, ..all() }, ids([&ended])).await;
    check(SessionFilter { phase: Some(Phase::Deleted), include_deleted: true, ..all() }, ids([&deleted])).await;
    check(SessionFilter { template: Some("lab".into()), ..all() }, ids([&lab])).await;
    check(SessionFilter { template: Some("lab@2".into()), ..all() }, ids([&lab])).await;
    check(SessionFilter { template: Some("lab@1".into()), ..all() }, ids([])).await;
    check(SessionFilter { metadata: metadata("team", "blue"), ..all() }, ids([&created, &labor])).await;
    check(SessionFilter { metadata: both(), owner: owner("alice"), ..all() }, ids([&created])).await;
    check(SessionFilter { metadata: metadata("team", "red"), ..all() }, ids([])).await;
    let one_of_two = [metadata("team", "blue"), metadata("odd: 'key\"", "%%\\")].concat();
    check(SessionFilter { metadata: one_of_two, ..all() }, ids([])).await;
}

/// Lists are newest first; sessions of one instant are all there, in some order that stays.
pub async fn lists_are_newest_first_and_whole(store: &Subject) {
    for n in [5, 1, 3, 3, 3, 2, 4, 3, 3] {
        create(store, Session { created_at: at(n), ..session("alice") }).await;
    }
    let whole = store.session_list(SessionFilter::default(), page(1000, None)).await.unwrap();
    assert_eq!(whole.next_cursor, None);
    let times: Vec<_> = whole.items.iter().map(|session| session.created_at).collect();
    assert_eq!(times, [5, 4, 3, 3, 3, 3, 3, 2, 1].map(at));
    for limit in 1..10 {
        let paged = pages(limit, |page| store.session_list(SessionFilter::default(), page)).await;
        assert_eq!(paged, whole.items, "in pages of {limit}");
    }
}

/// Whoever reads on gets what was there when they began, once, whatever is made meanwhile.
pub async fn pages_are_stable_while_sessions_are_made(store: &Subject) {
    for n in 0..10 {
        create(store, Session { created_at: at(n / 2), ..session("alice") }).await;
    }
    let whole = store.session_list(SessionFilter::default(), page(1000, None)).await.unwrap().items;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.session_list(SessionFilter::default(), page(3, cursor)).await.unwrap();
        seen.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
        create(store, Session { created_at: at(100), ..session("alice") }).await;
    }
    assert_eq!(seen, whole);
}

/// A page is full of what was asked for, however much else lies between.
pub async fn filters_hold_across_pages(store: &Subject) {
    for n in 0..12 {
        let owner = if n % 4 == 0 { "alice" } else { "bob" };
        create(store, Session { created_at: at(n), ..session(owner) }).await;
    }
    let filter = SessionFilter { owner: Some(user("alice")), ..SessionFilter::default() };
    let first = store.session_list(filter.clone(), page(2, None)).await.unwrap();
    let times: Vec<_> = first.items.iter().map(|session| session.created_at).collect();
    assert_eq!(times, [8, 4].map(at));
    let second = store.session_list(filter, page(2, first.next_cursor)).await.unwrap();
    assert_eq!(second.items.iter().map(|session| session.created_at).collect::<Vec<_>>(), [at(0)]);
    assert_eq!(second.next_cursor, None);
}

/// LC-5, TM-1: whatever lives, and whatever may have left an environment behind.
pub async fn a_start_finds_what_is_unfinished(store: &Subject) {
    let created = create(store, session("alice")).await;
    let working = ready(store, "alice").await;
    let bare = create(store, Session { state: State::Ready, environment: None, ..session("alice") }).await;
    let left_behind = ready(store, "alice").await;
    done(store.session_end(end(&left_behind.id, 40)).await);
    let deleted = ready(store, "alice").await;
    done(store.session_delete(deletion(&deleted.id)).await);
    let finished = ready(store, "alice").await;
    done(store.session_end(end(&finished.id, 40)).await);
    done(store.session_environment(&finished.id, 1, EnvironmentState::Gone, at(50), None).await);
    let bare_ended = create(store, Session { state: State::Ready, environment: None, ..session("alice") }).await;
    done(store.session_end(end(&bare_ended.id, 40)).await);

    let expected: Vec<_> = ids([&created, &working, &bare, &left_behind, &deleted]).into_iter().collect();
    for limit in [1, 2, 100] {
        let mut found: Vec<SessionId> = Vec::new();
        loop {
            let some = store.session_unfinished(found.last().cloned(), limit).await.unwrap();
            assert!(some.len() <= limit as usize);
            if some.is_empty() {
                break;
            }
            found.extend(some.into_iter().map(|session| session.id));
        }
        assert_eq!(found, expected, "by ID, {limit} at a time");
    }
}

/// GV-3, GV-7: nothing that is due is missed, and what is far from due is not looked at.
pub async fn what_is_due_comes_earliest_first(store: &Subject) {
    let lasting = |seconds: u64| {
        let limits = SessionLimits { max_lifetime_ms: seconds * 1000, ..SessionLimits::default() };
        Session { limits, lifetime_ends_at: at(seconds), ..session("alice") }
    };
    let lease = Lease {
        token: LeaseToken(1),
        ttl_ms: 60_000,
        heartbeat_interval_ms: 5000,
        expires_at: at(150),
        last_heartbeat_at: None,
    };
    let third = create(store, lasting(300)).await;
    let first = create(store, lasting(100)).await;
    let second = create(store, Session { lease: Some(lease), lease_token_last: lease.token, ..lasting(100_000) }).await;
    let idle_limits = SessionLimits { idle_timeout_ms: Some(400_000), ..SessionLimits::default() };
    let idle = Session { limits: idle_limits, state: State::Ready, environment: None, ..session("alice") };
    let fourth = create(store, idle).await;
    let never = create(store, lasting(100_000)).await;
    let ended = create(store, lasting(50)).await;
    done(store.session_end(end(&ended.id, 20)).await);

    let due = async |seconds, limit| -> Vec<SessionId> {
        store.session_due(at(seconds), limit).await.unwrap().into_iter().map(|session| session.id).collect()
    };
    assert_eq!(due(99, 10).await, []);
    assert_eq!(due(100, 10).await, std::slice::from_ref(&first.id), "at the instant, not after it");
    let in_order = [&first, &second, &third, &fourth].map(|session| session.id.clone());
    assert_eq!(due(400, 10).await, in_order);
    assert_eq!(due(400, 2).await, in_order[..2]);
    assert!(!due(99_999, 10).await.contains(&never.id));

    // Never too late: whatever moves a deadline forward must be seen.
    let paused =
        crate::SessionMove { resumes_to: Some(State::Ready), ..super::change(&fourth.id, State::Ready, State::Paused) };
    done(store.session_move(paused).await);
    done(store.session_move(super::change(&fourth.id, State::Paused, State::Ready)).await);
    assert!(due(400, 10).await.contains(&fourth.id), "a resumed session is idle again");
    done(store.session_end(end(&first.id, 100)).await);
    assert!(!due(400, 10).await.contains(&first.id));
}

/// TR-1: all that are not deleted.
pub async fn sessions_are_counted_by_state(store: &Subject) {
    create(store, session("alice")).await;
    assert_eq!(store.session_create(creation(session("bob"))).await.unwrap(), crate::SessionCreated::Made);
    let ended = ready(store, "bob").await;
    done(store.session_end(end(&ended.id, 40)).await);
    let deleted = ready(store, "alice").await;
    done(store.session_delete(deletion(&deleted.id)).await);
    ready(store, "alice").await;
    let counts: BTreeMap<State, u64> =
        store.session_count().await.unwrap().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, [(State::Created, 2), (State::Ready, 1), (State::Terminated, 1)].into());
}
