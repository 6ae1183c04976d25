//! Programs: what is told of them, how many may run, and what becomes of the one that is too many (EN-3, EN-4, GV-2).

use crate::attempt::content;
use crate::world::{World, alice, code, fresh, gone, run, soon, until};
use std::sync::Arc;
use std::time::Duration;
use tenure_engine::*;
use tenure_session::*;
use tenure_store::Store;

fn limited(max: u32, policy: OnExecLimit) -> LimitRequest {
    LimitRequest { max_concurrent_execs: Some(max), on_exec_limit: Some(policy), ..LimitRequest::default() }
}

fn page() -> PageRequest {
    PageRequest { limit: 100, cursor: None }
}

/// EN-3: an exit, a signal, a time-out and a program that is not there are told apart.
#[tokio::test]
async fn the_ends_of_programs_are_told_apart() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let said = world.exec(&id, &["say", "hello", "you"]).await.unwrap();
    let outcome = said.record.outcome.unwrap();
    assert_eq!(
        (said.stdout.as_slice(), outcome.exit_code, outcome.state),
        (&b"hello you"[..], Some(0), ExecLedgerState::Exited)
    );
    let outcome = world.exec(&id, &["exit", "7"]).await.unwrap().record.outcome.unwrap();
    assert_eq!((outcome.exit_code, outcome.signal), (Some(7), None));
    let outcome = world.exec(&id, &["die"]).await.unwrap().record.outcome.unwrap();
    assert_eq!((outcome.exit_code, outcome.signal, outcome.timed_out), (None, Some(9), false));
    let timed = ExecRequest { timeout_ms: Some(30), ..run(&["stay"]) };
    let timed = fresh(world.engine.exec_run(&alice(), id.as_str(), Ok(timed)).await.unwrap()).unwrap();
    let outcome = timed.record.outcome.unwrap();
    assert_eq!((outcome.exit_code, outcome.timed_out), (None, true));
    let outcome = world.exec(&id, &["missing"]).await.unwrap().record.outcome.unwrap();
    assert_eq!((outcome.state, outcome.exit_code), (ExecLedgerState::Failed, None));
    let fed = ExecRequest { stdin: Some("eat this".to_owned()), ..run(&["cat"]) };
    let fed = fresh(world.engine.exec_run(&alice(), id.as_str(), Ok(fed)).await.unwrap()).unwrap();
    assert_eq!(fed.stdout, b"eat this");
    assert_eq!(world.engine.exec_list(&alice(), id.as_str(), page()).await.unwrap().items.len(), 6);
}

/// EN-4: of all that a session's programs print no more is kept than the session may write to its disk, also after a restart.
#[tokio::test]
async fn no_more_output_is_kept_of_a_session_than_its_disk_may_hold() {
    let mut world = World::new().await;
    let limits = LimitRequest { disk_bytes: Some(1 << 20), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    let kept = async |world: &World| {
        let outcome = world.exec(&id, &["much", "700000"]).await.unwrap().record.outcome.unwrap();
        assert_eq!(outcome.exit_code, Some(0), "whatever is kept of it");
        (outcome.stdout.bytes, outcome.stdout.dropped)
    };
    assert_eq!(kept(&world).await, (1 << 19, 700_000 - (1 << 19)));
    assert_eq!(kept(&world).await, (1 << 18, 700_000 - (1 << 18)));
    world.restart().await;
    assert_eq!(
        kept(&world).await,
        (1 << 17, 700_000 - (1 << 17)),
        "there is always some room left, and less each time"
    );
    // Who was left behind may still fill half of what is left.
    world.exec(&id, &["leave", "65536"]).await.unwrap();
    assert_eq!(kept(&world).await, (1 << 15, 700_000 - (1 << 15)));
}

/// LC-8
#[tokio::test]
async fn the_first_program_makes_a_session_running() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    world.engine.file_write(&alice(), id.as_str(), "a", content(b"hello")).await.unwrap();
    assert_eq!(world.stored(&id).await.state, State::Ready);
    world.exec(&id, &["say"]).await.unwrap();
    assert_eq!(world.stored(&id).await.state, State::Running);
    world.exec(&id, &["say"]).await.unwrap();
    let actions = world.actions(&id).await;
    assert_eq!(actions.iter().filter(|action| *action == "session_move").count(), 3, "{actions:?}");
}

/// GV-2
#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_the_call_is_refused_where_the_policy_says_so() {
    let world = Arc::new(World::new().await);
    let id = world.session(limited(3, OnExecLimit::Reject)).await.id;
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let (world, id) = (world.clone(), id.clone());
            tokio::spawn(async move { world.start(&id, &["stay"]).await })
        })
        .collect();
    let mut running = Vec::new();
    for started in calls {
        match soon(started).await.unwrap() {
            Ok(record) => running.push(record),
            Err(error) => assert_eq!(error, EngineError::ExecLimit { limit: 3 }),
        }
    }
    assert_eq!(running.len(), 3);
    let kill = Ok(KillRequest { signal: "KILL".into() });
    world.engine.exec_kill(&alice(), id.as_str(), running[0].id.as_str(), kill).await.unwrap();
    until(async || world.start(&id, &["stay"]).await.is_ok()).await;
    assert_eq!(code(world.start(&id, &["stay"]).await), Code::ExecLimit);
    assert!(world.stored(&id).await.end.is_none());
}

/// GV-2
#[tokio::test(flavor = "multi_thread")]
async fn over_the_limit_the_session_ends_where_the_policy_says_so() {
    let world = Arc::new(World::new().await);
    let id = world.session(limited(2, OnExecLimit::Terminate)).await.id;
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let (world, id) = (world.clone(), id.clone());
            tokio::spawn(async move { world.exec(&id, &["say-and-stay", "here"]).await })
        })
        .collect();
    for ended in calls {
        assert_eq!(gone(soon(ended).await.unwrap()).reason, TerminationReason::ExecConcurrency);
    }
    assert_eq!(world.ends(&id).await, 1);
    world.quiet().await;
}

/// GV-2: who hears of a program's end finds room for the next.
#[tokio::test(flavor = "multi_thread")]
async fn one_program_after_another_never_runs_into_a_limit_of_one() {
    let world = World::new().await;
    let id = world.session(limited(1, OnExecLimit::Terminate)).await.id;
    for _ in 0..100 {
        world.exec(&id, &["say"]).await.unwrap();
    }
    for _ in 0..20 {
        assert_eq!(world.exec(&id, &["missing"]).await.unwrap().record.state, ExecLedgerState::Failed);
    }
    let invalid = ExecRequest { user: Some("\0".to_owned()), ..run(&["say"]) };
    for _ in 0..3 {
        assert!(world.engine.exec_run(&alice(), id.as_str(), Ok(invalid.clone())).await.is_err());
    }
    world.exec(&id, &["say"]).await.unwrap();
}

/// GV-2, GV-3: a caller that goes away takes nothing along and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_go_away_leave_no_count_behind() {
    let world = World::new().await;
    let limits = LimitRequest { idle_timeout_ms: Some(Some(1000)), ..limited(4, OnExecLimit::Reject) };
    let id = world.session(limits).await.id;
    for tries in 0..60u64 {
        let call = alice();
        let exec = world.engine.exec_run(&call, id.as_str(), Ok(run(&["say"])));
        let _ = tokio::time::timeout(Duration::from_micros(tries * 30), exec).await;
        let write = world.engine.file_write(&call, id.as_str(), "a", content(b"hello"));
        let _ = tokio::time::timeout(Duration::from_micros(tries * 20), write).await;
    }
    until(async || world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
    let mut four = Vec::new();
    for _ in 0..4 {
        four.push(world.start(&id, &["stay"]).await.unwrap());
    }
    for exec in four {
        let kill = Ok(KillRequest { signal: 9.into() });
        world.engine.exec_kill(&alice(), id.as_str(), exec.id.as_str(), kill).await.unwrap();
    }
    until(async || world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
    // Were anything still counted as work, it would never be idle.
    until(async || {
        world.clock.pass(1000);
        world.engine.ticket_admit(&alice(), id.as_str()).await.is_err()
    })
    .await;
    assert_eq!(world.stored(&id).await.end.unwrap().reason, TerminationReason::IdleTimeout);
    world.quiet().await;
}

/// TP-1: what a template starts is in the ledger, and counts for nothing.
#[tokio::test]
async fn a_start_command_counts_for_nothing() {
    let world = World::new().await;
    let template = TemplateRequest {
        name: "web".to_owned(),
        base: Some("default".to_owned()),
        start_command: Some(vec!["say-and-stay".to_owned(), "up".to_owned()]),
        limits: limited(1, OnExecLimit::Reject),
        ..TemplateRequest::default()
    };
    world.engine.template_create(&crate::world::root(), Ok(template), None).await.unwrap();
    let request = CreateRequest { template: Some("web".to_owned()), ..CreateRequest::default() };
    let session = world.create(request).await.unwrap();
    assert_eq!(session.template, "web@1");
    assert_eq!(world.stored(&session.id).await.state, State::Ready);
    let execs = world.store.exec_list(&session.id, page()).await.unwrap().items;
    assert_eq!(execs[0].cmd, ["say-and-stay", "up"]);
    world.start(&session.id, &["stay"]).await.unwrap();
    assert_eq!(code(world.start(&session.id, &["stay"]).await), Code::ExecLimit);
    world.clock.pass(30 * 60_000);
    world.engine.session_terminate(&alice(), session.id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    world.quiet().await;
}

/// EN-3, EN-4
#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_followed_from_its_first_byte_to_its_end() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let request = ExecRequest { stream: true, ..run(&["say", "all", "of", "it"]) };
    let mut follow = world.engine.exec_stream(&alice(), id.as_str(), Ok(request)).await.unwrap();
    let mut heard = Vec::new();
    let mut printed = Vec::new();
    while let Some(event) = soon(follow.next()).await.unwrap() {
        match event {
            ExecEvent::Started(_) => heard.push("started"),
            ExecEvent::Stdout(bytes) => printed.extend(bytes),
            ExecEvent::Stderr(_) => heard.push("error"),
            ExecEvent::Exit(record) => {
                assert_eq!(record.outcome.unwrap().exit_code, Some(0));
                heard.push("exit");
            }
        }
    }
    assert_eq!((heard.as_slice(), printed.as_slice()), (&["started", "exit"][..], &b"all of it"[..]));
    let exec = world.store.exec_list(&id, page()).await.unwrap().items.remove(0);
    let read =
        world.engine.exec_output(&alice(), id.as_str(), exec.id.as_str(), OutputStream::Stdout, 4).await.unwrap();
    assert_eq!((read.offset, read.bytes, read.running), (4, 5, false));
}

/// EN-3
#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_fed_while_it_runs() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let request = ExecRequest { background: true, ..run(&["cat"]) };
    let exec = fresh(world.engine.exec_start(&alice(), id.as_str(), Ok(request)).await.unwrap()).unwrap();
    let input = world.engine.exec_stdin(&alice(), id.as_str(), exec.id.as_str()).await.unwrap();
    input.write(b"some ").await.unwrap();
    input.write(b"more").await.unwrap();
    input.end().await.unwrap();
    let read = async || world.engine.exec_get(&alice(), id.as_str(), exec.id.as_str()).await.unwrap();
    until(async || read().await.record.outcome.is_some()).await;
    assert_eq!(read().await.stdout, b"some more");
    let late = world.engine.exec_stdin(&alice(), id.as_str(), exec.id.as_str()).await;
    assert_eq!(late.err().unwrap().code(), Code::ExecEnded);
}
