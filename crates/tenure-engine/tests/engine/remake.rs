//! A start after the host has booted: sessions go on over their files, as the next life of their environments (EN-11).

use crate::driver::Cut;
use crate::world::{World, alice, code, fresh, gone, root, until};
use tenure_engine::*;
use tenure_environment::fake::Adoption;
use tenure_environment::{Driver, Environment, EnvironmentError, EnvironmentId};
use tenure_session::*;
use tenure_store::{AuditDraft, AuditFilter, Changed, ExecLedgerState, ExecRecord, PageRequest, SessionMove, Store};

async fn put(world: &World, id: &SessionId, text: &str) {
    world.environment(id).await.tree().write("/workspace/kept", text.into()).unwrap();
}

async fn kept(world: &World, id: &SessionId) -> String {
    let bytes = world.environment(id).await.tree().read("/workspace/kept").map(<[u8]>::to_vec);
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}

async fn environment_id(world: &World, id: &SessionId) -> EnvironmentId {
    world.environment(id).await.id().clone()
}

async fn life(world: &World, id: &SessionId) -> (u64, EnvironmentState) {
    let record = world.stored(id).await.environment.unwrap();
    (record.generation, record.state)
}

async fn execs(world: &World, id: &SessionId) -> Vec<ExecRecord> {
    world.store.exec_list(id, PageRequest { limit: 100, cursor: None }).await.unwrap().items
}

async fn count(world: &World, id: &SessionId, action: &str) -> usize {
    world.actions(id).await.iter().filter(|done| *done == action).count()
}

/// A session in which `say-and-stay up` is started by its template.
async fn started(world: &World) -> SessionId {
    let request = TemplateRequest {
        name: "started".to_owned(),
        base: Some("default".to_owned()),
        start_command: Some(vec!["say-and-stay".to_owned(), "up".to_owned()]),
        ..TemplateRequest::default()
    };
    let _ = world.engine.template_create(&root(), Ok(request), None).await;
    let request = CreateRequest { template: Some("started".to_owned()), ..CreateRequest::default() };
    let id = world.create(request).await.unwrap().id;
    until(async || execs(world, &id).await.iter().any(|exec| exec.state == ExecLedgerState::Started)).await;
    id
}

async fn end(world: &World, id: &SessionId) {
    world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
}

/// EN-11, EN-4
#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_over_its_files() {
    let mut world = World::new().await;
    let limits = LimitRequest { pids: Some(77), ..LimitRequest::default() };
    let env = [("WORD".to_owned(), "secret".to_owned())].into();
    let id = world.create(CreateRequest { limits, env, ..CreateRequest::default() }).await.unwrap().id;
    let exec = world.start(&id, &["say-and-stay", "still", "here"]).await.unwrap();
    put(&world, &id, "before").await;
    until(async || execs(&world, &id).await[0].state == ExecLedgerState::Started).await;
    let before = world.stored(&id).await;
    world.boot("b");
    let recovered = world.restart().await;
    assert_eq!((recovered.remade, recovered.alive, recovered.ended, recovered.orphans), (1, 0, 0, 0));

    let after = world.stored(&id).await;
    assert_eq!((after.state, after.resumes_to), (State::Running, None), "its own state stays");
    assert_eq!(after.environment.as_ref().unwrap().id, before.environment.unwrap().id);
    assert_eq!(life(&world, &id).await, (2, EnvironmentState::Ready));
    assert_eq!(kept(&world, &id).await, "before");
    assert_eq!(world.environment(&id).await.limits().pids, 77);
    let printed = fresh(world.engine.exec_run(&alice(), id.as_str(), Ok(crate::world::run(&["env"]))).await.unwrap());
    let printed = String::from_utf8(printed.unwrap().stdout).unwrap();
    assert!(printed.contains("WORD") && printed.contains("secret"), "{printed}");

    let seen = world.engine.exec_get(&alice(), id.as_str(), exec.id.as_str()).await.unwrap();
    assert_eq!(seen.stdout, b"still here", "what it printed stays");
    let outcome = seen.record.outcome.unwrap();
    assert_eq!((seen.record.generation, outcome.state), (1, ExecLedgerState::Unknown));
    assert_eq!((outcome.exit_code, outcome.signal), (None, None));
    assert_eq!(outcome.error.as_deref(), Some("the host was restarted"));
    assert_eq!(execs(&world, &id).await[1].generation, 2);

    let filter = AuditFilter { session_id: Some(id.clone()), ..AuditFilter::default() };
    let page = world.store.audit_list(filter, PageRequest { limit: 100, cursor: None }).await.unwrap();
    let of = |action: &str| {
        let entry = page.items.iter().find(|entry| entry.action == action).unwrap();
        assert_eq!((entry.old_state, entry.new_state), (Some(State::Running), Some(State::Running)));
        entry.metadata.clone().unwrap()
    };
    assert_eq!(of("environment_remake")["evidence"], "the host has booted since");
    assert_eq!(of("environment_remade")["generation"], 2);
    world.restart().await;
    assert_eq!((life(&world, &id).await.0, count(&world, &id, "environment_remade").await), (2, 1));
    end(&world, &id).await;
    world.quiet().await;
}

/// EN-11, LC-9, TP-1: its memory is gone, and it stands still until it is resumed; what its template starts is started then.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_session_stays_paused_and_resumes_to_where_it_did() {
    let mut world = World::new().await;
    let id = started(&world).await;
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    put(&world, &id, "before").await;
    world.boot("b");
    assert_eq!(world.restart().await.remade, 1);
    assert_eq!(life(&world, &id).await, (2, EnvironmentState::Frozen));
    assert_eq!(world.stored(&id).await.state, State::Paused);
    assert!(world.environment(&id).await.observe().await.unwrap().frozen);
    assert_eq!(code(world.exec(&id, &["say"]).await), Code::SessionPaused);
    assert_eq!(execs(&world, &id).await.len(), 1);
    // Also where it boots again before that.
    world.boot("c");
    assert_eq!(world.restart().await.remade, 1);
    for _ in 0..2 {
        world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
        assert_eq!(world.stored(&id).await.state, State::Ready, "where resuming led before");
        let execs = execs(&world, &id).await;
        assert_eq!(execs.iter().map(|exec| exec.generation).collect::<Vec<_>>(), [1, 3]);
        world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    }
    assert_eq!(kept(&world, &id).await, "before");
    end(&world, &id).await;
    world.quiet().await;
}

/// EN-11: where the service is killed once the resume is recorded, and before that.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_resume_owes_is_started_by_the_next_start() {
    let mut world = World::new().await;
    let id = started(&world).await;
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    world.boot("b");
    world.restart().await;
    let frozen = world.stored(&id).await;
    let entry = AuditDraft {
        session_id: Some(id.clone()),
        at: world.engine.now(),
        old_state: Some(State::Paused),
        new_state: Some(State::Ready),
        trigger: Trigger::UserAction,
        actor: "user:alice".to_owned(),
        action: "session_resume".to_owned(),
        reason: None,
        metadata: serde_json::json!({}),
    };
    let environment = frozen.environment.map(|record| SessionEnvironment { state: EnvironmentState::Ready, ..record });
    let resumed = SessionMove {
        id: id.clone(),
        from: State::Paused,
        to: State::Ready,
        at: entry.at,
        resumes_to: None,
        environment,
        enforced: None,
        activity: Some("session_resume".to_owned()),
        entry,
    };
    assert!(matches!(world.store.session_move(resumed).await.unwrap(), Changed::Done(_)));
    for _ in 0..2 {
        world.restart().await;
        let lives: Vec<u64> = execs(&world, &id).await.iter().map(|exec| exec.generation).collect();
        assert_eq!(lives, [1, 2], "once");
    }
    end(&world, &id).await;
    world.quiet().await;
}

/// A start that is killed there, on its way to the second life of a session's environment.
async fn killed_start(world: &mut World, id: &SessionId, cut: Cut) {
    *world.driver.cut.lock().unwrap() = Some(cut);
    world.begin_again().await;
    let running = tokio::spawn(world.engine.recovery().await.unwrap().run());
    until(async || world.driver.cut.lock().unwrap().is_none()).await;
    assert_eq!(count(world, id, "environment_remake").await, 1);
    until(async || cut == Cut::Before || world.environment(id).await.generation().0 == 2).await;
    running.abort();
}

/// EN-11: killed before its driver makes it, or before it hears that it was made; the next start comes to the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_killed_on_the_way_is_made_good_by_the_next() {
    for cut in [Cut::Before, Cut::After] {
        for paused in [false, true] {
            let mut world = World::new().await;
            let id = started(&world).await;
            put(&world, &id, "before").await;
            if paused {
                world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
            }
            world.boot("b");
            killed_start(&mut world, &id, cut).await;
            assert_eq!(life(&world, &id).await, (2, EnvironmentState::Recovering), "{cut:?}");
            let recovered = world.restart().await;
            assert_eq!((recovered.remade, recovered.alive), if cut == Cut::Before { (1, 0) } else { (0, 1) });
            let state = if paused { EnvironmentState::Frozen } else { EnvironmentState::Ready };
            assert_eq!(life(&world, &id).await, (2, state), "{cut:?}");
            assert_eq!(kept(&world, &id).await, "before");
            for action in ["environment_remake", "environment_remade"] {
                assert_eq!(count(&world, &id, action).await, 1, "{action}");
            }
            if paused {
                world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
            }
            let lives: Vec<u64> = execs(&world, &id).await.iter().map(|exec| exec.generation).collect();
            assert_eq!(lives, [1, 2], "what the template starts is started once in each life");
            end(&world, &id).await;
            world.quiet().await;
        }
    }
}

/// EN-11: a life that began is never begun again; one that did not keeps its number.
#[tokio::test(flavor = "multi_thread")]
async fn a_boot_on_the_way_leads_to_the_next_life() {
    for (cut, expected) in [(Cut::Before, 2), (Cut::After, 3)] {
        let mut world = World::new().await;
        let id = world.session(LimitRequest::default()).await.id;
        put(&world, &id, "before").await;
        world.boot("b");
        killed_start(&mut world, &id, cut).await;
        world.boot("c");
        assert_eq!(world.restart().await.remade, 1);
        assert_eq!(life(&world, &id).await, (expected, EnvironmentState::Ready));
        assert_eq!(kept(&world, &id).await, "before");
        world.exec(&id, &["say"]).await.unwrap();
        end(&world, &id).await;
        world.quiet().await;
    }
}

/// EN-11, TM-5
#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_files_did_not_survive_is_lost() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    world.start(&id, &["stay"]).await.unwrap();
    let environment = environment_id(&world, &id).await;
    world.driver.fake.adopt_as(&environment, Some(Adoption::LostFiles));
    world.boot("b");
    let recovered = world.restart().await;
    assert_eq!((recovered.remade, recovered.ended), (0, 1));
    let end = gone(world.exec(&id, &["say"]).await);
    assert_eq!(end.reason, TerminationReason::EnvironmentLost);
    let details = end.failure.unwrap().technical_details.unwrap_or_default();
    assert!(details.contains("booted") && details.contains("did not survive"), "{details}");
    world.quiet().await;
    until(async || world.store.exec_unsettled(&id).await.unwrap().is_empty()).await;
    assert_eq!(execs(&world, &id).await[0].outcome.as_ref().unwrap().state, ExecLedgerState::Unknown);
}

fn unavailable() -> EnvironmentError {
    EnvironmentError::Unavailable("no room".to_owned())
}

/// EN-11: what the host cannot do now is tried again, and the session is recovering meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_again_now_is_tried_again() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    put(&world, &id, "before").await;
    world.boot("b");
    (0..2).for_each(|_| world.driver.fake.fail_next(unavailable()));
    let recovered = world.restart().await;
    assert_eq!((recovered.remade, recovered.recovering, recovered.ended), (0, 1, 0));
    assert_eq!(code(world.exec(&id, &["say"]).await), Code::Recovering);
    until(async || life(&world, &id).await == (2, EnvironmentState::Ready)).await;
    world.exec(&id, &["say"]).await.unwrap();
    assert_eq!(kept(&world, &id).await, "before");
    assert_eq!(count(&world, &id, "environment_remake").await, 1);
    end(&world, &id).await;
    world.quiet().await;
}

/// EN-11, TM-5: never for longer than `recover_timeout`, and nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_again_in_time_has_failed() {
    let mut world = World::with(|settings| settings.recover_timeout_ms = 1200).await;
    let id = world.session(LimitRequest::default()).await.id;
    world.boot("b");
    (0..20).for_each(|_| world.driver.fake.fail_next(unavailable()));
    world.restart().await;
    until(async || world.stored(&id).await.end.is_some()).await;
    let end = world.stored(&id).await.end.unwrap();
    assert_eq!(end.reason, TerminationReason::FailedInfra);
    let failure = end.failure.unwrap();
    assert!(failure.technical_details.unwrap_or_default().contains("no room"));
    world.quiet().await;
}

/// EN-11, TM-2, TM-8
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_it_is_made_again_stays_ended() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    world.boot("b");
    world.driver.hold(true);
    world.begin_again().await;
    let running = tokio::spawn(world.engine.recovery().await.unwrap().run());
    until(async || count(&world, &id, "environment_remake").await == 1).await;
    let engine = world.engine.clone();
    let ended = id.clone();
    let asked = tokio::spawn(async move {
        engine.session_terminate(&alice(), ended.as_str(), Ok(TerminateRequest::default())).await
    });
    crate::world::soon(asked).await.unwrap().unwrap();
    world.driver.hold(false);
    crate::world::soon(running).await.unwrap();
    world.quiet().await;
    assert_eq!((world.ends(&id).await, world.stored(&id).await.state), (1, State::Terminated));
    assert!(world.driver.known().await.unwrap().is_empty());
}

/// EN-11, TM-4: a limit that passed while the host was down comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_past_its_lifetime_is_not_made_again() {
    let mut world = World::new().await;
    let limits = LimitRequest { max_lifetime_ms: Some(1000), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    world.boot("b");
    world.clock.pass(2000);
    let recovered = world.restart().await;
    assert_eq!((recovered.remade, recovered.ended), (0, 1));
    assert_eq!(world.stored(&id).await.end.unwrap().reason, TerminationReason::MaxLifetime);
    world.quiet().await;
}
