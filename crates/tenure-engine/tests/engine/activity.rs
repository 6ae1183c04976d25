//! What counts as activity, and how little of it is stored (GV-3).

use crate::attempt::{attempt, content};
use crate::world::{World, alice, bob, code, gone, until};
use tenure_engine::*;
use tenure_environment::Environment;
use tenure_environment::fake::Adoption;
use tenure_session::*;
use tenure_store::Store;

const IDLE_MS: u64 = 10_000;

fn idle() -> LimitRequest {
    LimitRequest { idle_timeout_ms: Some(Some(IDLE_MS)), ..LimitRequest::default() }
}

async fn expires_at(world: &World, id: &SessionId) -> Timestamp {
    world.engine.session_get(&alice(), id.as_str()).await.unwrap().expires_at.unwrap()
}

async fn kill(world: &World, id: &SessionId, exec: &ExecRecord) -> Result<(), EngineError> {
    let signal = Ok(KillRequest { signal: 9.into() });
    world.engine.exec_kill(&alice(), id.as_str(), exec.id.as_str(), signal).await.map(drop)
}

/// The idle clock begins now, with the end of the last program.
async fn idle_from_now(world: &World, id: &SessionId) -> Timestamp {
    until(async || world.store.exec_unsettled(id).await.unwrap().is_empty()).await;
    let now = world.engine.now();
    until(async || expires_at(world, id).await == now.plus_ms(IDLE_MS)).await;
    now
}

/// GV-3
#[tokio::test]
async fn what_is_active_by_the_table_moves_the_idle_clock_and_nothing_else_does() {
    let world = World::new().await;
    for &operation in Operation::ALL.iter().filter(|operation| operation.row().states != States::NoSession) {
        let id = world.session(idle()).await.id;
        world.exec(&id, &["say"]).await.unwrap();
        let before = expires_at(&world, &id).await;
        world.clock.pass(5000);
        let _ = attempt(&world, &alice(), operation, id.as_str()).await;
        let session = world.stored(&id).await;
        if session.end.is_some() || session.state == State::Paused {
            continue;
        }
        // Resuming what runs is so already, and nothing is done.
        let active = operation.row().activity && operation != Operation::SessionResume;
        let expected = if active { before.plus_ms(5000) } else { before };
        assert_eq!(expires_at(&world, &id).await, expected, "{operation}");
    }
}

/// GV-3
#[tokio::test]
async fn refused_calls_are_no_activity() {
    let world = World::new().await;
    let id = world.session(idle()).await.id;
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
    let before = expires_at(&world, &id).await;
    world.clock.pass(5000);
    assert_eq!(
        code(world.engine.exec_run(&bob(), id.as_str(), Ok(ExecRequest::default())).await.map(drop)),
        Code::NotFound
    );
    assert_eq!(
        code(world.engine.exec_kill(&alice(), id.as_str(), "x", Ok(KillRequest { signal: 9.into() })).await),
        Code::NotReady
    );
    assert_eq!(expires_at(&world, &id).await, before);
}

/// GV-3
#[tokio::test(flavor = "multi_thread")]
async fn a_running_program_keeps_its_session_alive_and_its_end_begins_the_idle_clock() {
    let world = World::new().await;
    let id = world.session(idle()).await.id;
    let first = world.start(&id, &["stay"]).await.unwrap();
    let second = world.start(&id, &["stay"]).await.unwrap();
    world.clock.pass(10 * IDLE_MS);
    kill(&world, &id, &first).await.unwrap();
    until(async || world.store.exec_unsettled(&id).await.unwrap().len() == 1).await;
    world.clock.pass(10 * IDLE_MS);
    kill(&world, &id, &second).await.unwrap();
    let ended_at = idle_from_now(&world, &id).await;
    world.clock.pass(IDLE_MS - 1);
    assert!(world.engine.session_status(&alice(), id.as_str()).await.unwrap().status.environment_ready);
    world.clock.pass(1);
    let end = gone(world.exec(&id, &["say"]).await);
    assert_eq!((end.reason, end.at), (TerminationReason::IdleTimeout, ended_at.plus_ms(IDLE_MS)));
}

/// GV-3, EN-10: also where nobody came by for longer than the idle timeout before the service died, and nobody swept.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_outlives_the_service_keeps_its_session_alive() {
    let mut world = World::new().await;
    let id = world.session(idle()).await.id;
    let exec = world.start(&id, &["stay"]).await.unwrap();
    world.clock.pass(10 * IDLE_MS);
    world.restart().await;
    world.clock.pass(10 * IDLE_MS);
    kill(&world, &id, &exec).await.unwrap();
    idle_from_now(&world, &id).await;
}

/// GV-3, EN-10: its end begins the idle clock, though nobody saw it.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_while_nobody_serves_begins_the_idle_clock() {
    let mut world = World::new().await;
    let id = world.session(idle()).await.id;
    let exec = world.start(&id, &["stay"]).await.unwrap();
    world.clock.pass(10 * IDLE_MS);
    world.begin_again().await;
    let mut client = world.environment(&id).await.connect().await.unwrap();
    client.signal(exec.id.as_str(), 9).await.unwrap();
    world.engine.recover().await.unwrap();
    let found_at = world.engine.now();
    assert_eq!(expires_at(&world, &id).await, found_at.plus_ms(IDLE_MS));
    assert_eq!(world.stored(&id).await.last_activity_at, found_at);
}

/// GV-3, EN-10: what cannot be asked for its programs does not end for being idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_environment_is_not_idle() {
    let mut world = World::new().await;
    let id = world.session(idle()).await.id;
    world.start(&id, &["stay"]).await.unwrap();
    let environment = world.environment(&id).await.id().clone();
    world.driver.fake.adopt_as(&environment, Some(Adoption::Silent));
    world.clock.pass(10 * IDLE_MS);
    world.restart().await;
    world.engine.sweep().await.unwrap();
    world.driver.fake.adopt_as(&environment, None);
    until(async || world.stored(&id).await.environment_state() == EnvironmentState::Ready).await;
    assert_eq!(world.stored(&id).await.end, None);
}

/// GV-3, EN-4: also where programs that were frozen when the service started do not tell at once that they run again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_resumed_and_does_not_tell_its_programs_is_not_idle() {
    let mut world = World::new().await;
    let id = world.session(idle()).await.id;
    let exec = world.start(&id, &["stay"]).await.unwrap();
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    world.restart().await;
    world.driver.dumb(true);
    world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
    world.clock.pass(10 * IDLE_MS);
    world.engine.sweep().await.unwrap();
    assert_eq!(world.stored(&id).await.end, None);
    world.driver.dumb(false);
    until(async || kill(&world, &id, &exec).await.is_ok()).await;
    idle_from_now(&world, &id).await;
}

/// GV-3: a terminal, a preview and a program are work for as long as they go on, and what is stored of that lags by a tenth at most.
#[tokio::test]
async fn work_in_progress_is_stored_as_activity() {
    let world = World::new().await;
    let id = world.session(idle()).await.id;
    world.start(&id, &["stay"]).await.unwrap();
    for _ in 0..100 {
        world.clock.pass(500);
        world.engine.sign_of_life().await.unwrap();
        let stored = world.stored(&id).await;
        assert!(world.engine.now().ms_since(stored.last_activity_at) <= IDLE_MS / 10, "{stored:?}");
        assert_eq!(stored.last_activity, "exec_run");
    }
}

/// GV-3: at most every tenth of the idle timeout.
#[tokio::test]
async fn activity_is_stored_at_most_every_tenth() {
    let world = World::new().await;
    let session = world.session(idle()).await;
    let id = &session.id;
    let mut stored = vec![session.last_activity_at];
    for _ in 0..100 {
        world.clock.pass(100);
        world.engine.file_stat(&alice(), id.as_str(), "a").await.unwrap();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        stored.push(world.stored(id).await.last_activity_at);
    }
    let now = world.engine.now();
    assert_eq!(expires_at(&world, id).await, now.plus_ms(IDLE_MS), "all of it counts");
    stored.dedup();
    assert!((5..=11).contains(&stored.len()), "{stored:?}");
    assert!(stored.windows(2).all(|two| two[1].ms_since(two[0]) >= IDLE_MS / 10), "{stored:?}");
    assert!(now.ms_since(*stored.last().unwrap()) <= IDLE_MS / 10);
}

/// GV-3: what may not have been stored is added after a start, so that no session ends early.
#[tokio::test]
async fn a_start_adds_what_may_not_have_been_stored() {
    let mut world = World::new().await;
    let id = world.session(idle()).await.id;
    world.clock.pass(900);
    world.engine.file_write(&alice(), id.as_str(), "a", content(b"hello")).await.unwrap();
    let before = expires_at(&world, &id).await;
    let stored = world.stored(&id).await.last_activity_at;
    world.clock.pass(4000);
    world.restart().await;
    let after = expires_at(&world, &id).await;
    assert!(after >= before, "{after} {before}");
    assert_eq!(after, stored.plus_ms(IDLE_MS / 10).plus_ms(IDLE_MS));
}
