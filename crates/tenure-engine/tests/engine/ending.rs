//! Ends: once, for the first reason, told to whoever is in flight, and nothing left over (TM-1 to TM-8).

use crate::attempt::attempt;
use crate::world::{World, alice, code, gone, root, run, soon, until};
use std::sync::Arc;
use std::time::Duration;
use tenure_engine::*;
use tenure_environment::EnvironmentEnd;
use tenure_session::*;
use tenure_store::Store;

fn reason(text: &str) -> Result<TerminateRequest, EngineError> {
    Ok(TerminateRequest { reason: Some(text.to_owned()), detail: None })
}

/// TM-1, TM-2
#[tokio::test]
async fn the_first_reason_wins_and_the_audit_has_one_end() {
    let world = World::new().await;
    let id = &world.session(LimitRequest::default()).await.id;
    let first = world.engine.session_terminate(&alice(), id.as_str(), reason("completed")).await.unwrap().session;
    assert_eq!(world.stored(id).await.end, first.end, "durable before it is told");
    world.clock.pass(1000);
    let again = world.engine.session_terminate(&root(), id.as_str(), reason("admin_request")).await.unwrap().session;
    assert_eq!(again.end, first.end);
    assert_eq!(again.end.unwrap().reason, TerminationReason::Completed);
    assert_eq!(world.ends(id).await, 1);
    world.quiet().await;
}

/// TM-5
#[tokio::test]
async fn only_some_reasons_can_be_given() {
    let world = World::new().await;
    let id = &world.session(LimitRequest::default()).await.id;
    for refused in ["admin_request", "idle_timeout", "failed_runtime", "because"] {
        let result = world.engine.session_terminate(&alice(), id.as_str(), reason(refused)).await;
        assert_eq!(code(result), Code::Validation, "{refused}");
    }
    assert!(world.stored(id).await.end.is_none());
    let request = TerminateRequest { reason: None, detail: Some("enough".to_owned()) };
    let ended = world.engine.session_terminate(&root(), id.as_str(), Ok(request)).await.unwrap().session;
    let end = ended.end.unwrap();
    assert_eq!((end.reason, end.detail.as_deref()), (TerminationReason::AdminRequest, Some("enough")));
}

/// TM-3: the table says what is answered after the end.
#[tokio::test]
async fn after_the_end_every_operation_answers_as_the_table_says() {
    let world = World::new().await;
    for &operation in Operation::ALL.iter().filter(|operation| operation.row().states != States::NoSession) {
        let id = world.session(LimitRequest::default()).await.id;
        world.engine.session_terminate(&alice(), id.as_str(), reason("completed")).await.unwrap();
        let answer = attempt(&world, &root(), operation, id.as_str()).await;
        match operation.row().after_end {
            AfterEnd::Gone => assert_eq!(gone(answer).reason, TerminationReason::Completed, "{operation}"),
            AfterEnd::Read | AfterEnd::Done | AfterEnd::NotApplicable => {
                let missing = matches!(&answer, Err(EngineError::Missing { code: Code::ExecNotFound, .. }));
                assert!(answer.is_ok() || missing, "{operation}: {answer:?}");
            }
        }
        assert_eq!(world.ends(&id).await, 1, "{operation}");
    }
    world.quiet().await;
}

/// TM-4: of several limits that have passed the first in the order is the reason, at the instant at which it passed.
#[tokio::test]
async fn of_several_limits_the_first_in_the_order_is_the_reason() {
    let world = World::new().await;
    let lease = Some(LeaseRequest { ttl_ms: Some(100), heartbeat_interval_ms: None });
    let limits = |max, idle| LimitRequest {
        max_lifetime_ms: Some(max),
        idle_timeout_ms: Some(Some(idle)),
        ..LimitRequest::default()
    };
    for (limits, expected, after_ms) in [
        (limits(3000, 2000), TerminationReason::MaxLifetime, 3000),
        (limits(90_000, 2000), TerminationReason::IdleTimeout, 2000),
        (limits(90_000, 80_000), TerminationReason::LeaseExpired, 100),
    ] {
        let request = CreateRequest { limits, lease, ..CreateRequest::default() };
        let session = world.create(request).await.unwrap();
        world.clock.pass(4000);
        let end = gone(world.exec(&session.id, &["say"]).await);
        assert_eq!((end.reason, end.at), (expected, session.created_at.plus_ms(after_ms)));
        let refused = world.engine.session_get(&alice(), session.id.as_str()).await.unwrap();
        assert_eq!(refused.session.end, Some(end), "reads go on");
    }
}

/// TM-4: at the limit, not after it.
#[tokio::test]
async fn a_limit_has_passed_at_its_instant() {
    let world = World::new().await;
    let limits = LimitRequest { max_lifetime_ms: Some(1000), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    world.clock.pass(999);
    world.exec(&id, &["say", "still"]).await.unwrap();
    world.clock.pass(1);
    assert_eq!(gone(world.exec(&id, &["say"]).await).reason, TerminationReason::MaxLifetime);
}

/// TM-6: nothing looks after limits but the requests themselves.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_at_a_passed_limit_make_one_end() {
    let world = Arc::new(World::new().await);
    let limits = LimitRequest { idle_timeout_ms: Some(Some(1000)), ..LimitRequest::default() };
    let session = world.session(limits).await;
    world.clock.pass(2000);
    let callers = (0..50).map(|n| {
        let (world, id) = (world.clone(), session.id.clone());
        tokio::spawn(async move {
            let id = id.as_str();
            match n % 4 {
                0 => gone(world.engine.exec_run(&alice(), id, Ok(run(&["say"]))).await.map(drop)),
                1 => gone(world.engine.file_stat(&alice(), id, "a").await),
                2 => gone(world.engine.session_pause(&alice(), id).await),
                _ => {
                    let ended = world.engine.session_terminate(&alice(), id, Ok(TerminateRequest::default())).await;
                    ended.unwrap().session.end.unwrap()
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        let end = soon(caller).await.unwrap();
        assert_eq!(end.reason, TerminationReason::IdleTimeout);
        assert_eq!(end.at, session.last_activity_at.plus_ms(1000));
    }
    assert_eq!(world.ends(&session.id).await, 1);
    world.quiet().await;
}

/// TM-6, TM-7: what is in flight ends at its session's deadline, with what was captured.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_flight_ends_at_the_deadline_with_what_it_printed() {
    let world = World::new().await;
    let limits = LimitRequest { max_lifetime_ms: Some(700), ..LimitRequest::default() };
    let session = world.session(limits).await;
    world.clock.run();
    let answer = soon(world.exec(&session.id, &["say-and-stay", "so", "far"])).await;
    let Err(EngineError::Gone { end, captured, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((end.reason, end.at), (TerminationReason::MaxLifetime, session.lifetime_ends_at));
    assert_eq!(captured.unwrap().stdout, b"so far");
    assert!(world.engine.now() >= session.lifetime_ends_at);
    world.quiet().await;
    let execs = world.store.exec_list(&session.id, PageRequest { limit: 10, cursor: None }).await.unwrap().items;
    assert_eq!(execs.len(), 1);
    let outcome = execs[0].outcome.as_ref().unwrap();
    assert_eq!((outcome.state, outcome.exit_code), (ExecLedgerState::Killed, None), "an exit code is never invented");
    assert_eq!(outcome.stdout.bytes, 6);
    assert_eq!(world.stored(&session.id).await.environment_state(), EnvironmentState::Gone);
}

/// TM-7
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_in_flight_is_told_of_an_end_that_somebody_asked_for() {
    let world = Arc::new(World::new().await);
    let id = world.session(LimitRequest::default()).await.id;
    let in_flight = {
        let (world, id) = (world.clone(), id.clone());
        tokio::spawn(async move { world.exec(&id, &["say-and-stay", "here"]).await })
    };
    let mut watched = world.engine.file_watch(&alice(), id.as_str(), "/workspace", true).await.unwrap();
    until(async || !world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
    world.engine.session_terminate(&alice(), id.as_str(), reason("completed")).await.unwrap();
    assert_eq!(gone(soon(in_flight).await.unwrap()).reason, TerminationReason::Completed);
    assert_eq!(gone(soon(watched.next()).await).reason, TerminationReason::Completed);
    drop(watched);
    world.quiet().await;
    assert!(world.store.exec_unsettled(&id).await.unwrap().is_empty());
}

/// TM-5: what dies while it is watched is a failure of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_dies_fails_its_session() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    world.environment(&id).await.die(EnvironmentEnd::Exited(1));
    until(async || world.stored(&id).await.end.is_some()).await;
    let session = world.stored(&id).await;
    let end = session.end.unwrap();
    assert_eq!((session.state, end.reason), (State::Failed, TerminationReason::FailedRuntime));
    assert_eq!(end.failure.unwrap().kind, FailureType::Runtime);
    assert_eq!(gone(world.exec(&id, &["say"]).await).reason, TerminationReason::FailedRuntime);
    assert_eq!(world.ends(&id).await, 1);
    until(async || world.engine.live_count() == 0).await;
}

/// TM-1, TM-8: whoever ends it and goes away has ended it.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_whose_caller_has_gone_takes_its_environment_along() {
    let world = World::new().await;
    for tries in 0..30 {
        let id = world.session(LimitRequest::default()).await.id;
        {
            let call = alice();
            let mut end = Box::pin(world.engine.session_terminate(&call, id.as_str(), reason("completed")));
            for _ in 0..tries % 6 {
                if tokio::time::timeout(std::time::Duration::from_micros(50), &mut end).await.is_ok() {
                    break;
                }
            }
        }
        if world.stored(&id).await.end.is_none() {
            world.engine.session_terminate(&alice(), id.as_str(), reason("completed")).await.unwrap();
        }
    }
    world.quiet().await;
}

/// TR-1, TR-2
#[tokio::test]
async fn deleting_ends_a_session_first_and_hides_its_record() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let deleted = world.engine.session_delete(&alice(), id.as_str()).await.unwrap().session;
    world.quiet().await;
    let deleted = Session { environment: world.stored(&id).await.environment, ..deleted };
    assert_eq!(deleted.end.as_ref().unwrap().reason, TerminationReason::Deleted);
    assert_eq!(deleted.phase(), Phase::Deleted);
    let again = world.engine.session_delete(&alice(), id.as_str()).await.unwrap().session;
    assert_eq!(again, deleted, "deleting twice is as good");
    for call in [alice(), root()] {
        let hidden = world.engine.session_get(&call, id.as_str()).await.unwrap_err();
        assert_eq!(hidden, EngineError::NoSession { id: id.to_string(), lookup: Lookup::Deleted });
        let shown = Call { include_deleted: true, ..call.clone() };
        assert_eq!(world.engine.session_get(&shown, id.as_str()).await.unwrap().session, deleted);
        assert_eq!(gone(world.engine.file_stat(&call, id.as_str(), "a").await).reason, TerminationReason::Deleted);
    }
    assert_eq!(world.ends(&id).await, 1);
    let back = world.engine.session_undelete(&alice(), id.as_str()).await.unwrap().session;
    assert_eq!((back.deleted_at, back.end), (None, deleted.end));
    world.engine.session_delete(&alice(), id.as_str()).await.unwrap();
    world.clock.pass(7 * 24 * 3_600_000);
    assert_eq!(code(world.engine.session_undelete(&alice(), id.as_str()).await), Code::NotFound);
    world.quiet().await;
}

/// TR-8
#[tokio::test]
async fn explain_tells_why_it_lives_and_why_it_ended() {
    let world = World::new().await;
    let limits = LimitRequest { idle_timeout_ms: Some(Some(60_000)), ..LimitRequest::default() };
    let session = world.session(limits).await;
    world.clock.pass(10_000);
    world.exec(&session.id, &["say"]).await.unwrap();
    let explain = async || world.engine.session_explain(&alice(), session.id.as_str()).await.unwrap().1;
    let alive = explain().await;
    assert!(alive.alive);
    let first = alive.ends_first.unwrap();
    assert_eq!(first.reason, TerminationReason::IdleTimeout);
    assert_eq!(first.at, session.created_at.plus_ms(70_000));
    assert_eq!(alive.evidence.last_activity, "exec_run");
    world.clock.pass(60_000);
    let ended = explain().await;
    assert!(!ended.alive, "also before it is recorded");
    assert_eq!(ended.ended.unwrap(), first);
    gone(world.exec(&session.id, &["say"]).await);
    assert_eq!(explain().await.ended.unwrap(), first);
}

/// GV-8
#[tokio::test]
async fn more_time_moves_the_end_and_the_environments_own() {
    let world = World::new().await;
    let limits = LimitRequest { max_lifetime_ms: Some(1000), ..LimitRequest::default() };
    let session = world.session(limits).await;
    let before = world.environment(&session.id).await.deadline_boot_ms().unwrap();
    let more = Ok(ExtendRequest { by_ms: 5000 });
    let extended = world.engine.session_extend(&root(), session.id.as_str(), more.clone()).await.unwrap().session;
    assert_eq!(extended.lifetime_ends_at, session.lifetime_ends_at.plus_ms(5000));
    assert_eq!(world.environment(&session.id).await.deadline_boot_ms(), Some(before + 5000));
    world.clock.pass(5999);
    world.exec(&session.id, &["say"]).await.unwrap();
    world.clock.pass(1);
    gone(world.engine.session_extend(&root(), session.id.as_str(), more).await);
}

/// GV-8, TM-6: the time is given though the agent is silent just then, and it hears of it as soon as it listens.
#[tokio::test]
async fn more_time_is_given_though_the_environment_does_not_hear_of_it_at_once() {
    let world = World::new().await;
    let session = world.session(LimitRequest::default()).await;
    let environment = world.environment(&session.id).await;
    let before = environment.deadline_boot_ms().unwrap();
    environment.set_silent(true);
    let more = Ok(ExtendRequest { by_ms: 5000 });
    let extended = world.engine.session_extend(&root(), session.id.as_str(), more).await.unwrap().session;
    assert_eq!(extended.lifetime_ends_at, session.lifetime_ends_at.plus_ms(5000));
    assert_eq!(environment.deadline_boot_ms(), Some(before));
    environment.set_silent(false);
    let heard = async {
        while environment.deadline_boot_ms() != Some(before + 5000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), heard).await.unwrap();
}
