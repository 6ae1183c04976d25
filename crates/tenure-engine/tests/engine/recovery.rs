//! A start: what became of sessions while nobody looked (EN-10, TM-8, LC-5).

use crate::world::{World, alice, code, fresh, gone, keyed, run, until};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tenure_engine::*;
use tenure_environment::fake::Adoption;
use tenure_environment::{Driver, Environment, EnvironmentEnd, EnvironmentId, EnvironmentSpec};
use tenure_session::*;
use tenure_store::Store;

async fn environment_id(world: &World, id: &SessionId) -> EnvironmentId {
    world.environment(id).await.id().clone()
}

/// EN-10
#[tokio::test(flavor = "multi_thread")]
async fn what_lives_is_taken_over_with_its_programs() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let exec = world.start(&id, &["say-and-stay", "still", "here"]).await.unwrap();
    let paused = world.session(LimitRequest::default()).await.id;
    world.engine.session_pause(&alice(), paused.as_str()).await.unwrap();
    let recovered = world.restart().await;
    assert_eq!((recovered.alive, recovered.ended, recovered.orphans), (2, 0, 0));
    let seen = world.engine.exec_get(&alice(), id.as_str(), exec.id.as_str()).await.unwrap();
    assert_eq!(seen.stdout, b"still here");
    let kill = Ok(KillRequest { signal: "TERM".into() });
    world.engine.exec_kill(&alice(), id.as_str(), exec.id.as_str(), kill).await.unwrap();
    until(async || world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
    let record = world.store.exec_get(&id, &exec.id).await.unwrap().unwrap();
    assert_eq!(record.outcome.unwrap().signal, Some(15));
    assert!(world.environment(&paused).await.observe().await.unwrap().frozen);
    world.engine.session_resume(&alice(), paused.as_str()).await.unwrap();
    world.exec(&paused, &["say"]).await.unwrap();
    for id in [id, paused] {
        world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    }
    world.quiet().await;
}

/// EN-10, TM-5
#[tokio::test(flavor = "multi_thread")]
async fn what_is_proven_dead_is_lost_and_what_is_silent_is_waited_for() {
    let mut world = World::with(|settings| settings.recover_timeout_ms = 1500).await;
    let ids: Vec<SessionId> = {
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(world.session(LimitRequest::default()).await.id);
        }
        ids
    };
    let fake = |n: usize| environment_id(&world, &ids[n]);
    let (lost, ended, silent, late) = (fake(0).await, fake(1).await, fake(2).await, fake(3).await);
    world.driver.fake.adopt_as(&lost, Some(Adoption::Lost("another boot".to_owned())));
    world.driver.fake.adopt_as(&ended, Some(Adoption::Ended(EnvironmentEnd::Exited(0))));
    world.driver.fake.adopt_as(&silent, Some(Adoption::Silent));
    world.driver.fake.adopt_as(&late, Some(Adoption::Unavailable));
    let recovered = world.restart().await;
    assert_eq!((recovered.recovering, recovered.ended), (2, 2));
    for id in &ids[..2] {
        assert_eq!(gone(world.exec(id, &["say"]).await).reason, TerminationReason::EnvironmentLost);
    }
    assert_eq!(code(world.exec(&ids[3], &["say"]).await), Code::Recovering);
    world.driver.fake.adopt_as(&late, None);
    until(async || world.exec(&ids[3], &["say"]).await.is_ok()).await;
    assert_eq!(world.stored(&ids[3]).await.environment_state(), EnvironmentState::Ready);
    until(async || world.stored(&ids[2]).await.end.is_some()).await;
    assert_eq!(world.stored(&ids[2]).await.end.unwrap().reason, TerminationReason::EnvironmentLost);
    until(async || world.driver.fake.known().await.unwrap() == [late.clone()]).await;
}

/// EN-10, TM-5, QA-1: what cannot be recorded is no proof of anything, however long that lasts.
#[tokio::test(flavor = "multi_thread")]
async fn no_environment_is_given_up_while_nothing_can_be_recorded() {
    let mut world = World::with(|settings| settings.recover_timeout_ms = 1000).await;
    let id = world.session(LimitRequest::default()).await.id;
    let exec = world.start(&id, &["stay"]).await.unwrap();
    until(async || world.store.exec_get(&id, &exec.id).await.unwrap().unwrap().started_at.is_some()).await;
    world.begin_again().await;
    // Its end is to be written down when it is taken over.
    let mut client = world.environment(&id).await.connect().await.unwrap();
    client.signal(exec.id.as_str(), 9).await.unwrap();
    until(async || client.execs().await.unwrap().iter().all(|program| program.ended.is_some())).await;
    world.trouble.disk_is_full.store(true, Ordering::SeqCst);
    assert_eq!(world.engine.recover().await.unwrap().alive, 0);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(code(world.exec(&id, &["say"]).await), Code::Recovering);
    world.trouble.disk_is_full.store(false, Ordering::SeqCst);
    until(async || world.exec(&id, &["say"]).await.is_ok()).await;
    let outcome = world.store.exec_get(&id, &exec.id).await.unwrap().unwrap().outcome.unwrap();
    assert_eq!(outcome.signal, Some(9));
}

/// EN-3, EN-4: a program that was asked for before, of a session that has ended since, is not answered before its end is written down.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_run_is_answered_with_its_end_once_its_session_is_over() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest { max_lifetime_ms: Some(60_000), ..LimitRequest::default() }).await.id;
    let call = || keyed(alice(), "once", "a program");
    let (engine, of) = (world.engine.clone(), id.clone());
    let first = tokio::spawn(async move { engine.exec_run(&call(), of.as_str(), Ok(run(&["stay"]))).await });
    until(async || world.store.exec_unsettled(&id).await.unwrap().len() == 1).await;
    first.abort();
    world.clock.pass(60_000);
    world.driver.hangs(true);
    world.restart().await;
    let (engine, of) = (world.engine.clone(), id.clone());
    let again = tokio::spawn(async move { engine.exec_run(&call(), of.as_str(), Ok(run(&["stay"]))).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!again.is_finished());
    world.driver.hangs(false);
    let result = fresh(crate::world::soon(again).await.unwrap().unwrap()).unwrap();
    assert!(result.record.outcome.is_some(), "{result:?}");
    world.quiet().await;
}

/// TR-8, EN-10: whether a session is at work whose environment says nothing, nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_of_a_silent_session_says_that_its_work_is_unknown() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let work = async |world: &World| world.engine.session_explain(&alice(), id.as_str()).await.unwrap().1.evidence.work;
    let environment = environment_id(&world, &id).await;
    world.driver.fake.adopt_as(&environment, Some(Adoption::Silent));
    world.restart().await;
    assert_eq!(work(&world).await, Work::Unknown);
    world.driver.fake.adopt_as(&environment, None);
    until(async || world.stored(&id).await.environment_state() == EnvironmentState::Ready).await;
    assert_eq!(work(&world).await, Work::None);
    world.start(&id, &["stay"]).await.unwrap();
    assert_eq!(work(&world).await, Work::InProgress);
}

/// EN-10, TM-2: a session that ends while its environment is silent stays ended, and nothing of it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_session_can_be_ended() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let environment = environment_id(&world, &id).await;
    world.driver.fake.adopt_as(&environment, Some(Adoption::Silent));
    world.restart().await;
    world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    world.driver.fake.adopt_as(&environment, None);
    world.quiet().await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(world.engine.live_count(), 0);
    assert_eq!(world.ends(&id).await, 1);
}

/// TM-8, LC-5: what was being made, what had ended, and what belongs to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_leaves_no_environment_without_a_living_session() {
    let mut world = World::new().await;
    let limits = LimitRequest { max_lifetime_ms: Some(1000), ..LimitRequest::default() };
    let expired = world.session(limits).await.id;
    let orphan = EnvironmentSpec::new(EnvironmentId::generate().unwrap(), "default");
    world.driver.create(orphan).await.unwrap();
    world.driver.hold(true);
    {
        let call = alice();
        let creation = world.engine.session_create(&call, Ok(CreateRequest::default()));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), creation).await;
    }
    world.clock.pass(2000);
    // The service that was making it is gone as far as the next one can see.
    let page = PageRequest { limit: 10, cursor: None };
    let filter = SessionFilter { phase: Some(Phase::Creating), ..SessionFilter::default() };
    let unmade = world.store.session_list(filter, page).await.unwrap().items.remove(0);
    let recovered = world.restart().await;
    assert_eq!((recovered.ended, recovered.orphans), (2, 1));
    assert_eq!(world.stored(&expired).await.end.unwrap().reason, TerminationReason::MaxLifetime);
    let end = world.stored(&unmade.id).await.end.unwrap();
    assert_eq!((end.reason, end.failure.unwrap().kind), (TerminationReason::FailedInit, FailureType::Init));
    world.driver.hold(false);
    world.quiet().await;
}

/// EN-10: a request on a session that nobody has looked at yet waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_of_a_session_before_it_was_looked_at() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    world.begin_again().await;
    let recovery = world.engine.recovery().await.unwrap();
    let engine = world.engine.clone();
    let (waiting, wanted) = (id.clone(), id.clone());
    let asked = tokio::spawn(async move { engine.file_stat(&alice(), waiting.as_str(), "a").await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!asked.is_finished());
    recovery.run().await;
    crate::world::soon(asked).await.unwrap().unwrap();
    world.exec(&wanted, &["say"]).await.unwrap();
}
