//! What every store promises of the changes of a live session.

use super::{
    Subject, actions, at, change, count_done, create, crowd, done, end, entry, environment, read, ready, refused,
    session,
};
use crate::{Changed, SessionAttach, SessionExtend, SessionMove, SessionRemake, StoreError};
use tenure_session::{EnforcedLimits, EnvironmentState, Session, SessionEnvironment, SessionId, State};

/// An hour more.
pub(super) fn extension(id: &SessionId) -> SessionExtend {
    SessionExtend { id: id.clone(), by_ms: 3_600_000, at: at(20), entry: entry(id, "session_extend") }
}

/// LC-3, LC-7: a move is made from the state that it names, and from no other.
pub async fn a_session_moves_from_the_state_it_is_in(store: &Subject) {
    let made = create(store, session("alice")).await;
    let id = &made.id;
    let stale = refused(store.session_move(change(id, State::Initializing, State::Ready)).await);
    assert_eq!(stale, made, "a refused move changes nothing");
    assert_eq!(read(store, id).await, made);

    let environment = SessionEnvironment { generation: 2, ..environment(EnvironmentState::Ready) };
    let enforced = EnforcedLimits { disk: true, ..EnforcedLimits::default() };
    let step = SessionMove {
        environment: Some(environment.clone()),
        enforced: Some(enforced),
        activity: Some("session_resume".to_owned()),
        ..change(id, State::Created, State::Initializing)
    };
    let moved = done(store.session_move(step).await);
    let expected = Session {
        state: State::Initializing,
        updated_at: at(10),
        environment: Some(environment),
        enforced,
        last_activity_at: at(10),
        last_activity: "session_resume".to_owned(),
        ..made.clone()
    };
    assert_eq!(moved, expected);
    assert_eq!(read(store, id).await, expected);

    let moved = done(store.session_move(change(id, State::Initializing, State::Ready)).await);
    assert_eq!(moved, Session { state: State::Ready, ..expected }, "what a move does not name stays");
    assert_eq!(actions(store, id).await, ["session_create", "session_move", "session_move"]);
}

/// LC-1, LC-8: there is no such way, whoever asks for it.
pub async fn a_move_that_cannot_be_is_not_made(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let running = done(store.session_move(change(&id, State::Ready, State::Running)).await);
    let before = actions(store, &id).await;
    for to in [State::Ready, State::Initializing, State::Created] {
        let made = store.session_move(change(&id, State::Running, to)).await;
        assert!(matches!(made, Ok(Changed::Refused(_)) | Err(StoreError::Corrupt(_))), "to {to}: {made:?}");
    }
    assert_eq!(read(store, &id).await, running);
    assert_eq!(actions(store, &id).await, before);
}

/// LC-3: of many that want to move it, one does; and one entry says so.
pub async fn of_many_moves_one_is_made(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let before = actions(store, &id).await.len();
    let said = crowd(store, |_, store| {
        let change = change(&id, State::Ready, State::Running);
        async move { store.session_move(change).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
    assert!(said.into_iter().all(|changed| match changed {
        Ok(Changed::Done(session) | Changed::Refused(session)) => session.state == State::Running,
        Ok(Changed::Missing) | Err(_) => false,
    }));
    assert_eq!(actions(store, &id).await.len(), before + 1);
}

/// LC-9: while it is paused, and no longer.
pub async fn pausing_remembers_where_resuming_leads(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let pause = SessionMove { resumes_to: Some(State::Ready), ..change(&id, State::Ready, State::Paused) };
    assert_eq!(done(store.session_move(pause).await).resumes_to, Some(State::Ready));
    assert_eq!(read(store, &id).await.resumes_to, Some(State::Ready));
    let resumed = done(store.session_move(change(&id, State::Paused, State::Ready)).await);
    assert_eq!((resumed.state, resumed.resumes_to), (State::Ready, None));
    assert_eq!(read(store, &id).await, resumed);
}

/// EN-1: what is said of one life of an environment does not touch another.
pub async fn an_environment_is_changed_in_its_own_life_only(store: &Subject) {
    let made = ready(store, "alice").await;
    let id = &made.id;
    let set = |generation, state, entry| store.session_environment(id, generation, state, at(30), entry);
    let audited = Some(entry(id, "environment_lost"));
    for other in [0, 2] {
        let refused = refused(set(other, EnvironmentState::Lost, audited.clone()).await);
        assert_eq!(refused, made);
    }
    let recovering = done(set(1, EnvironmentState::Recovering, None).await);
    assert_eq!(recovering.environment_state(), EnvironmentState::Recovering);
    let lost = done(set(1, EnvironmentState::Lost, audited).await);
    assert_eq!(lost.environment_state(), EnvironmentState::Lost);
    assert_eq!(read(store, id).await, lost);
    assert_eq!(lost.environment.unwrap().id, made.environment.unwrap().id);
    let audited = actions(store, id).await;
    assert_eq!(audited.iter().filter(|action| *action == "environment_lost").count(), 1);

    done(store.session_end(end(id, 40)).await);
    let gone = done(set(1, EnvironmentState::Gone, None).await);
    assert_eq!(gone.environment_state(), EnvironmentState::Gone, "also after the session's end");
}

/// An environment in its life `generation`, at second 30.
pub(super) fn attachment(id: &SessionId, generation: u64) -> SessionAttach {
    SessionAttach {
        id: id.clone(),
        environment: SessionEnvironment { generation, ..environment(EnvironmentState::Ready) },
        enforced: EnforcedLimits { cpu: true, ..EnforcedLimits::default() },
        at: at(30),
        entry: entry(id, "environment_create"),
    }
}

/// EN-1: once, while it lives and has none; its state stays.
pub async fn an_environment_is_attached_once(store: &Subject) {
    let bare = create(store, Session { state: State::Ready, environment: None, ..session("alice") }).await;
    let id = &bare.id;
    let said = crowd(store, |n, store| {
        let attachment = attachment(id, u64::from(n));
        async move { store.session_attach(attachment).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
    let attached = read(store, id).await;
    let enforced = attachment(id, 1).enforced;
    assert_eq!((attached.state, attached.enforced, attached.updated_at), (State::Ready, enforced, at(30)));
    for changed in said {
        match changed {
            Ok(Changed::Done(session) | Changed::Refused(session)) => assert_eq!(session, attached),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(actions(store, id).await, ["session_create", "environment_create"]);

    let ended = create(store, Session { state: State::Ready, environment: None, ..session("alice") }).await;
    let ended = done(store.session_end(end(&ended.id, 20)).await);
    assert_eq!(refused(store.session_attach(attachment(&ended.id, 1)).await), ended);
    assert_eq!(read(store, &ended.id).await, ended);
}

/// The life `to` of the environment of a session, of whose environment `from` is stored, at second 30.
pub(super) fn remade(session: &Session, from: u64, to: u64, state: EnvironmentState) -> SessionRemake {
    let stored = session.environment.clone().unwrap_or_else(|| environment(state));
    SessionRemake {
        id: session.id.clone(),
        from,
        environment: SessionEnvironment { generation: to, state, ..stored },
        enforced: None,
        at: at(30),
        entry: entry(&session.id, "environment_remake"),
    }
}

/// EN-11: the next life begins once, from the one that is stored, and only while the session lives; its state stays.
pub async fn an_environment_lives_again_once(store: &Subject) {
    let made = ready(store, "alice").await;
    let recovering = EnvironmentState::Recovering;
    assert_eq!(refused(store.session_remake(remade(&made, 2, 2, recovering)).await), made, "another life is stored");
    let mut other = remade(&made, 1, 2, recovering);
    other.environment.id = tenure_session::EnvironmentId::new([9; 8]);
    assert_eq!(refused(store.session_remake(other).await), made, "another environment is stored");
    let skipped = store.session_remake(remade(&made, 1, 3, recovering)).await;
    assert!(matches!(skipped, Ok(Changed::Refused(_)) | Err(StoreError::Corrupt(_))), "{skipped:?}");

    let said = crowd(store, |_, store| {
        let change = remade(&made, 1, 2, recovering);
        async move { store.session_remake(change).await }
    })
    .await;
    assert_eq!(count_done(&said), 1);
    let begun = read(store, &made.id).await;
    let lives = SessionEnvironment { generation: 2, state: recovering, ..made.environment.clone().unwrap() };
    assert_eq!(begun, Session { environment: Some(lives), updated_at: at(30), ..made.clone() }, "nothing else changed");

    let enforced = EnforcedLimits { cpu: true, ..EnforcedLimits::default() };
    let over = SessionRemake { enforced: Some(enforced), ..remade(&made, 2, 2, EnvironmentState::Ready) };
    let over = done(store.session_remake(over).await);
    assert_eq!((over.environment_state(), over.enforced, over.state), (EnvironmentState::Ready, enforced, made.state));
    assert_eq!(read(store, &made.id).await, over);
    let audited = actions(store, &made.id).await;
    assert_eq!(audited.iter().filter(|action| *action == "environment_remake").count(), 2);

    let ended = done(store.session_end(end(&made.id, 40)).await);
    assert_eq!(refused(store.session_remake(remade(&made, 2, 3, recovering)).await), ended);
    let bare = create(store, Session { state: State::Ready, environment: None, ..session("alice") }).await;
    assert_eq!(refused(store.session_remake(remade(&bare, 1, 2, recovering)).await), bare);
}

/// GV-8: more time, and none after the end.
pub async fn more_time_is_given_while_it_lives(store: &Subject) {
    let made = ready(store, "alice").await;
    let id = &made.id;
    let extended = done(store.session_extend(extension(id)).await);
    assert_eq!(extended.lifetime_ends_at, made.lifetime_ends_at.plus_ms(3_600_000));
    let said = crowd(store, |_, store| {
        let extension = extension(id);
        async move { store.session_extend(extension).await }
    })
    .await;
    assert_eq!(count_done(&said), said.len(), "each adds to what is there");
    let longest = made.lifetime_ends_at.plus_ms(3_600_000 * (said.len() as u64 + 1));
    assert_eq!(read(store, id).await.lifetime_ends_at, longest);

    let ended = done(store.session_end(end(id, 40)).await);
    assert_eq!(refused(store.session_extend(extension(id)).await), ended);
    assert_eq!(read(store, id).await.lifetime_ends_at, longest);
}

/// GV-3: the latest instant wins, in whatever order they come.
pub async fn activity_only_goes_forward(store: &Subject) {
    let id = ready(store, "alice").await.id;
    store.session_activity(&id, at(60), "file_write").await.unwrap();
    store.session_activity(&id, at(50), "exec").await.unwrap();
    let session = read(store, &id).await;
    assert_eq!((session.last_activity_at, session.last_activity.as_str()), (at(60), "file_write"));
    crowd(store, |n, store| {
        let id = id.clone();
        async move { store.session_activity(&id, at(100 + u64::from(n) * 7 % 50), "exec").await.unwrap() }
    })
    .await;
    assert_eq!(read(store, &id).await.last_activity_at, at(149));
}

/// GV-3, TM-1: activity that comes too late changes nothing.
pub async fn an_ended_session_is_not_worked_in(store: &Subject) {
    let id = ready(store, "alice").await.id;
    let ended = done(store.session_end(end(&id, 40)).await);
    store.session_activity(&id, at(50), "exec").await.unwrap();
    let moved = store.session_move(change(&id, State::Ready, State::Running)).await;
    assert_eq!(refused(moved), ended);
    assert_eq!(read(store, &id).await, ended);
}
