//! The same request twice (LC-6).

use crate::world::{World, alice, bob, code, fresh, keyed, root, run, soon, until};
use std::sync::Arc;
use std::time::Duration;
use tenure_engine::*;
use tenure_environment::EnvironmentError;
use tenure_session::*;
use tenure_store::Store;

async fn create(world: &World, call: &Call) -> Result<Session, EngineError> {
    fresh(world.engine.session_create(call, Ok(CreateRequest::default())).await?)
}

/// LC-6
#[tokio::test]
async fn the_same_key_and_body_is_the_same_session_for_ever() {
    let mut world = World::new().await;
    let call = keyed(alice(), "once", "body");
    let made = world.engine.session_create(&call, Ok(CreateRequest::default())).await.unwrap();
    let Answer::Fresh { result, keep } = made else { panic!() };
    let session = result.unwrap();
    keep.unwrap().answered(201, b"the answer".to_vec()).await;
    let replayed = async |world: &World| match world.engine.session_create(&call, Ok(CreateRequest::default())).await {
        Ok(Answer::Replayed(answer)) => (answer.status, answer.body),
        _ => panic!("not replayed"),
    };
    assert_eq!(replayed(&world).await, (201, b"the answer".to_vec()));
    world.engine.session_terminate(&alice(), session.id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    world.quiet().await;
    world.restart().await;
    assert_eq!(replayed(&world).await, (201, b"the answer".to_vec()));
    assert_eq!(world.driver.creations(), 1);
    let other = keyed(alice(), "once", "another body");
    assert_eq!(code(create(&world, &other).await), Code::IdempotencyConflict);
    let other_credential =
        Call { caller: Arc::new(Caller { credential: "another".into(), ..(*alice().caller).clone() }), ..call.clone() };
    assert!(matches!(
        world.engine.session_create(&other_credential, Ok(CreateRequest::default())).await,
        Ok(Answer::Replayed(_))
    ));
    assert_ne!(create(&world, &keyed(bob(), "once", "body")).await.unwrap().id, session.id, "keys are the user's own");
    for key in [String::new(), "k".repeat(256)] {
        assert_eq!(code(create(&world, &keyed(alice(), &key, "body")).await), Code::Validation);
    }
}

/// LC-6: the answer was lost; it is made again from what became of the session.
#[tokio::test]
async fn an_answer_that_was_lost_is_made_again() {
    let mut world = World::new().await;
    let call = keyed(alice(), "lost", "body");
    let session = create(&world, &call).await.unwrap();
    assert_eq!(create(&world, &call).await.unwrap().id, session.id);
    world.restart().await;
    assert_eq!(create(&world, &call).await.unwrap().id, session.id);
    let failing = keyed(alice(), "failing", "body");
    world.driver.fake.fail_next(EnvironmentError::Unavailable("full".to_owned()));
    let Err(EngineError::Init { id, .. }) = create(&world, &failing).await else { panic!() };
    let again = create(&world, &failing).await;
    assert!(matches!(&again, Err(EngineError::Init { id: same, .. }) if *same == id), "{again:?}");

    let run_once = keyed(alice(), "run", "body");
    let exec = async || world.engine.exec_run(&run_once, session.id.as_str(), Ok(run(&["say", "once"]))).await.unwrap();
    let first = fresh(exec().await).unwrap();
    let second = fresh(exec().await).unwrap();
    assert_eq!((&first.record.id, &first.stdout), (&second.record.id, &second.stdout));
    assert_eq!(second.record.outcome.unwrap().exit_code, Some(0));
    let elsewhere = world.session(LimitRequest::default()).await;
    let other = world.engine.exec_run(&run_once, elsewhere.id.as_str(), Ok(run(&["say", "once"]))).await;
    assert_eq!(code(other.map(drop)), Code::IdempotencyConflict);
    assert_eq!(code(create(&world, &keyed(alice(), "run", "body")).await), Code::IdempotencyConflict);
}

/// LC-6: concurrent duplicates wait.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_duplicates_are_one() {
    let world = Arc::new(World::new().await);
    world.driver.hold(true);
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { create(&world, &keyed(alice(), "many", "body")).await.unwrap() })
        })
        .collect();
    until(async || world.driver.creations() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.driver.hold(false);
    let mut ids = Vec::new();
    for call in calls {
        let session = soon(call).await.unwrap();
        assert_eq!(session.state, State::Ready, "none is told before it is ready");
        ids.push(session.id);
    }
    ids.dedup();
    assert_eq!((ids.len(), world.driver.creations()), (1, 1));

    let id = ids.remove(0);
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let (world, id) = (world.clone(), id.clone());
            tokio::spawn(async move {
                let call = keyed(alice(), "run many", "body");
                fresh(world.engine.exec_run(&call, id.as_str(), Ok(run(&["say"]))).await.unwrap()).unwrap().record.id
            })
        })
        .collect();
    for call in calls {
        soon(call).await.unwrap();
    }
    assert_eq!(world.store.exec_list(&id, PageRequest { limit: 10, cursor: None }).await.unwrap().items.len(), 1);
}

/// LC-6, LC-5: who stops waiting and asks again gets the session that was being made.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_while_it_is_being_made_waits_for_it() {
    let world = Arc::new(World::new().await);
    world.driver.hold(true);
    let call = keyed(alice(), "impatient", "body");
    assert!(tokio::time::timeout(Duration::from_millis(50), create(&world, &call)).await.is_err());
    let again = {
        let (world, call) = (world.clone(), call.clone());
        tokio::spawn(async move { create(&world, &call).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.driver.hold(false);
    let session = soon(again).await.unwrap().unwrap();
    assert_eq!(session.state, State::Ready);
    assert_eq!(world.driver.creations(), 1);
}

/// LC-6: only what was admitted is kept.
#[tokio::test]
async fn a_refused_request_does_not_use_its_key() {
    let world = World::new().await;
    let call = keyed(alice(), "later", "body");
    let wrong = CreateRequest { template: Some("nothing".to_owned()), ..CreateRequest::default() };
    assert_eq!(code(world.engine.session_create(&call, Ok(wrong)).await.map(drop)), Code::TemplateNotFound);
    let session = create(&world, &call).await.unwrap();
    world.engine.session_pause(&alice(), session.id.as_str()).await.unwrap();
    let exec = keyed(alice(), "exec", "body");
    let refused = world.engine.exec_run(&exec, session.id.as_str(), Ok(run(&["say"]))).await;
    assert_eq!(code(refused.map(drop)), Code::SessionPaused);
    world.engine.session_resume(&alice(), session.id.as_str()).await.unwrap();
    fresh(world.engine.exec_run(&exec, session.id.as_str(), Ok(run(&["say"]))).await.unwrap()).unwrap();
}

/// LC-6, TM-4: the stored answer comes before the end; a stranger's key is never looked at.
#[tokio::test]
async fn a_stored_answer_is_given_also_after_the_end() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let call = keyed(alice(), "run", "body");
    let first = fresh(world.engine.exec_run(&call, id.as_str(), Ok(run(&["say", "x"]))).await.unwrap()).unwrap();
    world.engine.session_terminate(&root(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    let second = fresh(world.engine.exec_run(&call, id.as_str(), Ok(run(&["say", "x"]))).await.unwrap()).unwrap();
    assert_eq!(first.record.id, second.record.id);
    let stranger = keyed(bob(), "run", "body");
    assert_eq!(code(world.engine.exec_run(&stranger, id.as_str(), Ok(run(&["say"]))).await.map(drop)), Code::NotFound);
}
