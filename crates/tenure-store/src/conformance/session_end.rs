//! What every store promises of ends: the first is the only one (TM-1, TM-2), and deletion (TR-1).

use super::{Subject, actions, at, count_done, create, crowd, done, entries, entry, read, ready, refused, session};
use crate::{AuditDraft, AuditFilter, Changed, EndGuard, SessionDelete, SessionEnd, SessionFilter};
use tenure_session::{
    End, FailureContext, FailureType, Lease, LeaseToken, Phase, Session, SessionId, State, TerminationReason, classify,
};

fn end_for(reason: TerminationReason, seconds: u64) -> End {
    let failure = reason.failure_type().map(|kind| classify(kind, &FailureContext::default()));
    End { at: at(seconds), reason, detail: Some(format!("at {seconds} \u{e9}")), failure }
}

/// An end that nothing saves from, for the owner's request.
pub(super) fn end(id: &SessionId, seconds: u64) -> SessionEnd {
    guarded(id, TerminationReason::UserRequest, seconds, EndGuard::Always)
}

pub(super) fn guarded(id: &SessionId, reason: TerminationReason, seconds: u64, guard: EndGuard) -> SessionEnd {
    // Whoever ends a session may not know its state any more.
    let entry = AuditDraft {
        old_state: Some(State::Created),
        new_state: Some(reason.ends_in()),
        reason: Some(reason.to_string()),
        ..entry(id, "session_end")
    };
    SessionEnd { id: id.clone(), end: end_for(reason, seconds), at: at(seconds + 1), guard, entry }
}

/// A deletion, at second 70.
pub(super) fn deletion(id: &SessionId) -> SessionDelete {
    let end_entry = AuditDraft { old_state: Some(State::Created), ..entry(id, "session_end") };
    SessionDelete {
        id: id.clone(),
        at: at(70),
        end: (End { at: at(70), reason: TerminationReason::Deleted, detail: None, failure: None }, end_entry),
        entry: entry(id, "session_delete"),
    }
}

async fn ends_audited(store: &Subject, id: &SessionId) -> usize {
    actions(store, id).await.iter().filter(|action| *action == "session_end").count()
}

/// TM-1, TM-2: written once, with one entry whose old state is the true one.
pub async fn the_first_end_is_the_only_one(store: &Subject) {
    let made = ready(store, "alice").await;
    let id = &made.id;
    let ended = done(store.session_end(end(id, 40)).await);
    let expected = Session {
        state: State::Terminated,
        end: Some(end_for(TerminationReason::UserRequest, 40)),
        updated_at: at(41),
        ..made.clone()
    };
    assert_eq!(ended, expected);
    let later = guarded(id, TerminationReason::FailedInfra, 30, EndGuard::Always);
    assert_eq!(refused(store.session_end(later).await), expected);
    assert_eq!(read(store, id).await, expected);

    let filter = AuditFilter { session_id: Some(id.clone()), action: Some("session_end".into()), actor: None };
    let audited = entries(store, filter).await;
    assert_eq!(audited.len(), 1);
    assert_eq!((audited[0].old_state, audited[0].new_state), (Some(State::Ready), Some(State::Terminated)));
}

/// TM-2: of many reasons at once one wins, and everybody hears the same.
pub async fn of_many_ends_one_is_written(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let reasons = TerminationReason::ALL;
    let said = crowd(store, |n, store| {
        let reason = reasons[n as usize % reasons.len()];
        let end = guarded(&id, reason, 40 + u64::from(n), EndGuard::Always);
        async move { store.session_end(end).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
    let stored = read(store, &id).await;
    let end = stored.end.clone().expect("it ended");
    assert_eq!(stored.state, end.reason.ends_in());
    for changed in said {
        match changed {
            Ok(Changed::Done(session) | Changed::Refused(session)) => assert_eq!(session, stored),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ends_audited(store, &id).await, 1);
}

/// LC-4, FL-1: whatever the reason, state and failure are the ones that belong to it.
pub async fn a_failure_is_kept_with_the_end(store: &Subject) {
    for reason in TerminationReason::ALL {
        let id = ready(store, "alice").await.id;
        done(store.session_end(guarded(&id, *reason, 40, EndGuard::Always)).await);
        let session = read(store, &id).await;
        assert_eq!((session.state, session.end), (reason.ends_in(), Some(end_for(*reason, 40))));
    }
    let id = ready(store, "alice").await.id;
    let context = FailureContext { cause: "oom_killed".into(), details: Some("a \u{1F600} chain".into()) };
    let failure = Some(classify(FailureType::Runtime, &context));
    let mut end = guarded(&id, TerminationReason::FailedRuntime, 40, EndGuard::Always);
    end.end.failure = failure.clone();
    end.end.detail = None;
    done(store.session_end(end).await);
    assert_eq!(read(store, &id).await.end.unwrap().failure, failure);
}

/// GV-8, LS-4: an extension that came first counts.
pub async fn a_lifetime_that_grew_meanwhile_saves_the_session(store: &Subject) {
    let made = ready(store, "alice").await;
    let seen = EndGuard::Lifetime(made.lifetime_ends_at);
    done(store.session_extend(super::extension(&made.id)).await);
    let late = guarded(&made.id, TerminationReason::MaxLifetime, 90_000, seen);
    assert!(refused(store.session_end(late).await).end.is_none());
    assert_eq!(ends_audited(store, &made.id).await, 0);

    let now = EndGuard::Lifetime(read(store, &made.id).await.lifetime_ends_at);
    done(store.session_end(guarded(&made.id, TerminationReason::MaxLifetime, 90_000, now)).await);
}

/// LS-4, GV-3: work that came first counts.
pub async fn activity_meanwhile_saves_the_session(store: &Subject) {
    let made = ready(store, "alice").await;
    store.session_activity(&made.id, at(60), "exec").await.unwrap();
    let seen_before = EndGuard::Idle(made.last_activity_at);
    let late = guarded(&made.id, TerminationReason::IdleTimeout, 2000, seen_before);
    assert!(refused(store.session_end(late).await).end.is_none());
    for seen in [at(59), at(60).plus_ms(0)] {
        let saved = seen < at(60);
        let end = guarded(&made.id, TerminationReason::IdleTimeout, 2000, EndGuard::Idle(seen));
        let changed = store.session_end(end).await.unwrap();
        assert_eq!(matches!(changed, Changed::Refused(_)), saved, "{changed:?}");
    }
    assert_eq!(ends_audited(store, &made.id).await, 1);
}

/// LS-4: a renewal that came first counts, and so does giving the lease up.
pub async fn a_lease_that_does_not_expire_then_saves_the_session(store: &Subject) {
    let lease = Lease {
        token: LeaseToken(1),
        ttl_ms: 60_000,
        heartbeat_interval_ms: 5000,
        expires_at: at(60),
        last_heartbeat_at: None,
    };
    let held = create(store, Session { lease: Some(lease), lease_token_last: lease.token, ..session("alice") }).await;
    let expire = |id, expires_at| guarded(id, TerminationReason::LeaseExpired, 60, EndGuard::Lease(expires_at));
    assert!(refused(store.session_end(expire(&held.id, at(59))).await).end.is_none());
    let ended = done(store.session_end(expire(&held.id, at(60))).await);
    assert_eq!(ended.end.unwrap().reason, TerminationReason::LeaseExpired);

    let free = create(store, session("alice")).await;
    assert!(refused(store.session_end(expire(&free.id, at(60))).await).end.is_none());
}

/// LS-4: whichever comes first wins whole: a session that was ended as idle was not worked in after it.
pub async fn activity_and_idle_end_never_both_win(store: &Subject) {
    for _ in 0..5 {
        let made = ready(store, "alice").await;
        let said = crowd(store, |n, store| {
            let idle = guarded(&made.id, TerminationReason::IdleTimeout, 2000, EndGuard::Idle(made.last_activity_at));
            let id = made.id.clone();
            async move {
                if n % 10 == 3 {
                    store.session_activity(&id, at(1999), "exec").await.unwrap();
                    return false;
                }
                matches!(store.session_end(idle).await.unwrap(), Changed::Done(_))
            }
        })
        .await;
        let ends = said.into_iter().filter(|ended| *ended).count();
        let session = read(store, &made.id).await;
        let worked_in = session.last_activity_at == at(1999);
        assert_eq!((ends, session.end.is_some()), if worked_in { (0, false) } else { (1, true) });
    }
}

/// TR-1: the end, then the deletion, with an entry each.
pub async fn deleting_ends_a_live_session_first(store: &Subject) {
    let made = ready(store, "alice").await;
    let id = &made.id;
    let deleted = done(store.session_delete(deletion(id)).await);
    assert_eq!(deleted.end, Some(deletion(id).end.0));
    assert_eq!((deleted.state, deleted.phase(), deleted.deleted_at), (State::Terminated, Phase::Deleted, Some(at(70))));
    assert_eq!(read(store, id).await, deleted, "the row stays");
    let audited = actions(store, id).await;
    assert_eq!(audited[audited.len() - 2..], ["session_end", "session_delete"]);
    let filter = AuditFilter { session_id: Some(id.clone()), action: Some("session_end".into()), actor: None };
    assert_eq!(entries(store, filter).await[0].old_state, Some(State::Ready));

    assert_eq!(refused(store.session_delete(deletion(id)).await), deleted, "twice is refused");
    assert_eq!(refused(store.session_end(end(id, 80)).await), deleted);
    assert_eq!(actions(store, id).await, audited);
}

/// TR-1, TM-2: the first end stands.
pub async fn deleting_an_ended_session_keeps_its_end(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let ended = done(store.session_end(end(&id, 40)).await);
    let deleted = done(store.session_delete(deletion(&id)).await);
    assert_eq!((deleted.end, deleted.deleted_at), (ended.end, Some(at(70))));
    assert_eq!(ends_audited(store, &id).await, 1);
}

/// TR-1: one deletion, one end, however many want it.
pub async fn of_many_deletions_one_is_made(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let said = crowd(store, |_, store| {
        let deletion = deletion(&id);
        async move { store.session_delete(deletion).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
    let audited = actions(store, &id).await;
    assert_eq!(audited[audited.len() - 2..], ["session_end", "session_delete"]);
    assert_eq!(ends_audited(store, &id).await, 1);
}

/// TR-6: back in the lists, and still ended.
pub async fn undeleting_brings_the_record_back_ended(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let undelete = || store.session_undelete(&id, at(80), entry(&id, "session_undelete"));
    let live = read(store, &id).await;
    assert_eq!(refused(undelete().await), live, "it was not deleted");
    let deleted = done(store.session_delete(deletion(&id)).await);
    let back = done(undelete().await);
    assert_eq!(back, Session { deleted_at: None, updated_at: at(80), ..deleted });
    assert_eq!(refused(undelete().await), back);
    let listed = store.session_list(SessionFilter::default(), super::page(10, None)).await.unwrap();
    assert_eq!(listed.items, [back]);
    let audited = actions(store, &id).await;
    assert_eq!(audited.iter().filter(|action| *action == "session_undelete").count(), 1);
}
