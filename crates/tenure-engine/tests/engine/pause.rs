//! Pausing and resuming (LC-9), and the transitions that can be asked for by name (LC-1, LC-3).

use crate::world::{World, alice, code, gone, run, soon, until};
use std::sync::Arc;
use std::time::Duration;
use tenure_engine::*;
use tenure_environment::Environment;
use tenure_session::*;
use tenure_store::Store;

async fn frozen(world: &World, id: &SessionId) -> bool {
    world.environment(id).await.observe().await.unwrap().frozen
}

fn to(state: &str) -> Result<TransitionRequest, EngineError> {
    Ok(TransitionRequest { to: state.to_owned(), reason: None })
}

/// LC-9
#[tokio::test]
async fn resuming_leads_back_to_the_state_it_was_paused_from() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    for state in [State::Ready, State::Running] {
        let paused = world.engine.session_pause(&alice(), id.as_str()).await.unwrap().session;
        assert_eq!((paused.state, paused.resumes_to), (State::Paused, Some(state)));
        assert_eq!(paused.environment_state(), EnvironmentState::Frozen);
        assert!(frozen(&world, &id).await);
        let again = world.engine.session_pause(&alice(), id.as_str()).await.unwrap().session;
        assert_eq!(again, paused, "paused already is as good");
        assert_eq!(code(world.exec(&id, &["say"]).await), Code::SessionPaused);
        assert_eq!(code(world.engine.file_stat(&alice(), id.as_str(), "a").await), Code::SessionPaused);
        assert_eq!(code(world.engine.preview_list(&alice(), id.as_str()).await), Code::SessionPaused);
        let resumed = world.engine.session_resume(&alice(), id.as_str()).await.unwrap().session;
        assert_eq!((resumed.state, resumed.resumes_to), (state, None));
        assert!(!frozen(&world, &id).await);
        assert_eq!(world.engine.session_resume(&alice(), id.as_str()).await.unwrap().session, resumed);
        world.exec(&id, &["say"]).await.unwrap();
    }
}

/// LC-9, GV-3: the idle clock stands still, lifetime goes on.
#[tokio::test]
async fn a_paused_session_is_never_idle_and_still_grows_old() {
    let world = World::new().await;
    let limits =
        LimitRequest { idle_timeout_ms: Some(Some(1000)), max_lifetime_ms: Some(100_000), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    world.clock.pass(50_000);
    world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    world.clock.pass(50_000);
    assert_eq!(gone(world.engine.session_resume(&alice(), id.as_str()).await).reason, TerminationReason::MaxLifetime);
    world.quiet().await;
}

/// LC-1, LC-3
#[tokio::test]
async fn transitions_by_name_go_where_the_machine_leads() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let id = id.as_str();
    let refused = world.engine.session_transition(&alice(), id, to("created")).await;
    let Err(EngineError::Transition(illegal)) = refused else { panic!("{refused:?}") };
    assert_eq!((illegal.from, illegal.to), (State::Ready, State::Created));
    assert_eq!(code(world.engine.session_transition(&alice(), id, to("running")).await), Code::InvalidTransition);
    assert_eq!(code(world.engine.session_transition(&alice(), id, to("asleep")).await), Code::Validation);
    for (name, state) in
        [("ready", State::Ready), ("paused", State::Paused), ("paused", State::Paused), ("ready", State::Ready)]
    {
        assert_eq!(world.engine.session_transition(&alice(), id, to(name)).await.unwrap().session.state, state);
    }
    world.engine.session_transition(&alice(), id, to("paused")).await.unwrap();
    assert_eq!(code(world.engine.session_transition(&alice(), id, to("running")).await), Code::InvalidTransition);
    let ended = world.engine.session_transition(&alice(), id, to("terminated")).await.unwrap().session;
    assert_eq!(ended.end.unwrap().reason, TerminationReason::UserRequest);
    world.engine.session_transition(&alice(), id, to("terminated")).await.unwrap();
    assert_eq!(code(world.engine.session_transition(&alice(), id, to("ready")).await), Code::InvalidTransition);
    world.quiet().await;
}

/// LC-3, LC-9: whatever comes in whatever order, the environment stands still where the record says so, and nobody waits for ever.
#[tokio::test(flavor = "multi_thread")]
async fn pausing_races_resuming_and_running() {
    let world = Arc::new(World::new().await);
    let limits = LimitRequest { max_concurrent_execs: Some(64), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let (world, id) = (world.clone(), id.clone());
            tokio::spawn(async move {
                match n % 4 {
                    0 => world.engine.session_pause(&alice(), id.as_str()).await.map(drop),
                    1 => world.engine.session_resume(&alice(), id.as_str()).await.map(drop),
                    _ => {
                        let run = ExecRequest { background: true, stdin: Some(String::new()), ..run(&["say"]) };
                        world.engine.exec_start(&alice(), id.as_str(), Ok(run)).await.map(drop)
                    }
                }
            })
        })
        .collect();
    let resumer = {
        let (world, id) = (world.clone(), id.clone());
        tokio::spawn(async move {
            // What was admitted just before a pause waits for the next resume.
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
            }
        })
    };
    for call in calls {
        match soon(call).await.unwrap() {
            Ok(()) => {}
            Err(error) => assert_eq!(error.code(), Code::SessionPaused, "{error:?}"),
        }
    }
    resumer.abort();
    let _ = resumer.await;
    let before = world.engine.session_resume(&alice(), id.as_str()).await.unwrap().session.state;
    let paused = world.engine.session_pause(&alice(), id.as_str()).await.unwrap().session;
    assert!(frozen(&world, &id).await);
    assert_eq!(paused.resumes_to, Some(before));
    world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
    assert!(!frozen(&world, &id).await);
    until(async || world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
}

/// TM-7, LC-9
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_session_ends_like_any_other() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    world.start(&id, &["stay"]).await.unwrap();
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    soon(world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default()))).await.unwrap();
    world.quiet().await;
    assert!(world.store.exec_unsettled(&id).await.unwrap().is_empty());
}

/// LC-9: whoever pauses and goes away leaves a session that is paused or not, never one of both.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_half_pause() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    for tries in 0..40u64 {
        let call = alice();
        let change = async {
            if tries % 2 == 0 {
                world.engine.session_pause(&call, id.as_str()).await.map(drop)
            } else {
                world.engine.session_resume(&call, id.as_str()).await.map(drop)
            }
        };
        let _ = tokio::time::timeout(Duration::from_micros(tries * 10), change).await;
        until(async || frozen(&world, &id).await == (world.stored(&id).await.state == State::Paused)).await;
    }
}
