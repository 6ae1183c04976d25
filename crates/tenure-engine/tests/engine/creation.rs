//! Creation: all of a session or nothing, and nothing left of its environment where it fails (LC-5).

use crate::world::{World, alice, call, code, driver, fresh, gone, root, soon, until};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tenure_engine::*;
use tenure_environment::{Driver, Enforced, EnvironmentError};
use tenure_session::*;

fn init_failure(result: Result<Session, EngineError>) -> (SessionId, Failure) {
    match result {
        Err(EngineError::Init { id, failure }) => (id, *failure),
        other => panic!("{other:?}"),
    }
}

/// LC-5
#[tokio::test]
async fn a_session_is_ready_when_its_creation_is_answered() {
    let world = World::new().await;
    let session = world.session(LimitRequest::default()).await;
    assert_eq!((session.state, session.environment_state()), (State::Ready, EnvironmentState::Ready));
    assert_eq!(world.stored(&session.id).await, session);
    assert_eq!(world.actions(&session.id).await, ["session_create", "session_move", "session_move"]);
    assert!(session.enforced.disk && session.enforced.cpu);
}

/// ID-2, LC-5
#[tokio::test]
async fn a_taken_id_is_tried_again_with_other_digits_and_not_for_ever() {
    let world = World::new().await;
    world.trouble.ids_taken.store(3, Ordering::SeqCst);
    let session = world.session(LimitRequest::default()).await;
    assert_eq!((session.state, world.trouble.ids_taken.load(Ordering::SeqCst)), (State::Ready, 0));
    assert_eq!((world.engine.live_count(), world.driver.creations()), (1, 1));
    world.trouble.ids_taken.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(code(world.create(CreateRequest::default()).await), Code::Unavailable);
    assert_eq!((world.engine.live_count(), world.driver.creations()), (1, 1), "nothing is kept of those");
}

/// LC-5, LC-4, TM-5
#[tokio::test]
async fn an_environment_that_cannot_be_made_leaves_a_failed_session_and_nothing_else() {
    let world = World::new().await;
    let failure = EnvironmentError::Init { stage: "mounts".to_owned(), detail: "no overlay".to_owned() };
    world.driver.fake.fail_next(failure);
    let (id, failure) = init_failure(world.create(CreateRequest::default()).await);
    assert_eq!(failure.kind, FailureType::Init);
    assert!(failure.technical_details.as_ref().unwrap().contains("no overlay"));
    let session = world.stored(&id).await;
    let end = session.end.unwrap();
    assert_eq!((session.state, end.reason, end.failure), (State::Failed, TerminationReason::FailedInit, Some(failure)));
    world.quiet().await;
    assert_eq!(world.stored(&id).await.environment_state(), EnvironmentState::Gone);
    assert_eq!(world.ends(&id).await, 1);
}

/// LC-5
#[tokio::test]
async fn an_environment_that_takes_too_long_is_given_up() {
    let world = World::with(|settings| settings.init_timeout_ms = 50).await;
    world.driver.hold(true);
    let (id, failure) = init_failure(soon(world.create(CreateRequest::default())).await);
    assert_eq!(failure.message, "the environment was not ready in time");
    world.driver.hold(false);
    world.quiet().await;
    assert_eq!(world.stored(&id).await.end.unwrap().reason, TerminationReason::FailedInit);
}

/// LC-5
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_waiting_leaves_no_session_half_made() {
    let world = World::new().await;
    world.driver.hold(true);
    {
        let call = alice();
        let creation = world.engine.session_create(&call, Ok(CreateRequest::default()));
        assert!(tokio::time::timeout(Duration::from_millis(100), creation).await.is_err());
    }
    let list = async || {
        let page = PageRequest { limit: 10, cursor: None };
        world.engine.session_list(&alice(), SessionFilter::default(), page).await.unwrap().items
    };
    let session = list().await.remove(0).session;
    assert!(matches!(session.state, State::Created | State::Initializing));
    assert_eq!(code(world.exec(&session.id, &["say"]).await), Code::NotReady);
    world.driver.hold(false);
    until(async || list().await[0].session.state == State::Ready).await;
    world.exec(&session.id, &["say"]).await.unwrap();
}

/// LC-5, TM-2, TM-7: its end does not wait for what is being made.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_can_be_ended_while_it_is_being_made() {
    let world = Arc::new(World::new().await);
    world.driver.hold(true);
    let creation = {
        let world = world.clone();
        tokio::spawn(async move { world.create(CreateRequest::default()).await })
    };
    until(async || world.driver.creations() == 1).await;
    let page = PageRequest { limit: 10, cursor: None };
    let listed = world.engine.session_list(&alice(), SessionFilter::default(), page).await.unwrap();
    let id = listed.items[0].session.id.clone();
    world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    assert_eq!(gone(soon(creation).await.unwrap()).reason, TerminationReason::UserRequest);
    world.quiet().await;
    assert_eq!(world.ends(&id).await, 1);
    assert_eq!(world.stored(&id).await.state, State::Terminated);
}

/// LC-5, TM-2: whichever of ending and making comes first.
#[tokio::test(flavor = "multi_thread")]
async fn ending_races_making_and_nothing_is_left() {
    let world = Arc::new(World::new().await);
    let creations: Vec<_> = (0..20)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.create(CreateRequest::default()).await })
        })
        .collect();
    let page = || PageRequest { limit: 100, cursor: None };
    until(async || {
        let listed = world.engine.session_list(&alice(), SessionFilter::default(), page()).await.unwrap().items;
        for view in listed.iter().filter(|view| view.session.end.is_none()) {
            let id = view.session.id.as_str();
            world.engine.session_terminate(&alice(), id, Ok(TerminateRequest::default())).await.unwrap();
        }
        listed.len() == 20 && listed.iter().all(|view| view.session.end.is_some())
    })
    .await;
    for creation in creations {
        let answer = soon(creation).await.unwrap();
        assert!(matches!(answer, Ok(_) | Err(EngineError::Gone { .. })), "{answer:?}");
    }
    world.quiet().await;
}

/// GV-1, ID-3: what cannot be is refused by name before anything is made.
#[tokio::test]
async fn what_a_session_cannot_be_is_refused_by_name() {
    let world = World::new().await;
    let env = |name: &str| [(name.to_owned(), "1".to_owned())].into_iter().collect();
    let lease = LeaseRequest { ttl_ms: Some(0), heartbeat_interval_ms: None };
    for (request, field) in [
        (
            CreateRequest {
                limits: LimitRequest { pids: Some(1), ..LimitRequest::default() },
                ..CreateRequest::default()
            },
            "limits.pids",
        ),
        (CreateRequest { env: env("A=B"), ..CreateRequest::default() }, "env"),
        (CreateRequest { lease: Some(lease), ..CreateRequest::default() }, "lease.ttl_ms"),
        (CreateRequest { metadata: env("a:b"), ..CreateRequest::default() }, "metadata"),
        (CreateRequest { owner: Some(" ".to_owned()), ..CreateRequest::default() }, "owner"),
    ] {
        let error = world.create(request).await.unwrap_err();
        let EngineError::Invalid { invalid, .. } = &error else { panic!("{error:?}") };
        assert_eq!(invalid.iter().map(|invalid| invalid.field.as_str()).collect::<Vec<_>>(), [field], "{error}");
    }
    let unknown = CreateRequest { template: Some("nothing".to_owned()), ..CreateRequest::default() };
    assert_eq!(code(world.create(unknown).await), Code::TemplateNotFound);
    assert_eq!(world.driver.creations(), 0);
}

/// AU-3
#[tokio::test]
async fn only_administrators_make_sessions_for_others() {
    let world = World::new().await;
    let request = CreateRequest { owner: Some("bob".to_owned()), ..CreateRequest::default() };
    assert_eq!(world.create(request.clone()).await, Err(EngineError::Denied));
    let made = fresh(world.engine.session_create(&root(), Ok(request)).await.unwrap()).unwrap();
    assert_eq!(made.owner.as_str(), "bob");
    world.engine.session_get(&call("bob", Role::User), made.id.as_str()).await.unwrap();
}

/// GV-4
#[tokio::test]
async fn a_limit_that_the_host_does_not_enforce_is_refused_unless_that_is_allowed() {
    let world = World::on(driver().enforcing(Enforced { disk: false, ..Enforced::ALL }), |_| ()).await;
    let refused = world.create(CreateRequest::default()).await;
    assert_eq!(refused, Err(EngineError::Unenforced(vec!["disk".to_owned()])));
    let request = CreateRequest { allow_unenforced: true, ..CreateRequest::default() };
    let session = world.create(request).await.unwrap();
    assert!(!session.enforced.disk && session.enforced.memory);
}

/// EN-1
#[tokio::test]
async fn a_session_without_an_environment_gets_one_once() {
    let world = World::new().await;
    let request = CreateRequest { environment: Some(EnvironmentKind::None), ..CreateRequest::default() };
    let session = world.create(request).await.unwrap();
    let id = session.id.as_str();
    assert_eq!((session.state, session.environment_state()), (State::Ready, EnvironmentState::None));
    assert_eq!(code(world.exec(&session.id, &["say"]).await), Code::NoEnvironment);
    assert_eq!(code(world.engine.environment_delete(&root(), id).await), Code::NoEnvironment);
    assert_eq!(world.engine.session_pause(&alice(), id).await.unwrap().session.state, State::Paused);
    assert_eq!(code(world.engine.environment_create(&root(), id).await), Code::SessionPaused);
    assert_eq!(world.engine.session_resume(&alice(), id).await.unwrap().session.state, State::Ready);

    world.driver.fake.fail_next(EnvironmentError::Unavailable("full".to_owned()));
    assert_eq!(code(world.engine.environment_create(&root(), id).await), Code::InitFailed);
    assert_eq!(world.stored(&session.id).await.state, State::Ready, "it goes on without");
    let made = world.engine.environment_create(&root(), id).await.unwrap().session;
    assert_eq!((made.state, made.environment_state()), (State::Ready, EnvironmentState::Ready));
    assert!(made.enforced.cpu);
    assert_eq!(code(world.engine.environment_create(&root(), id).await), Code::EnvironmentExists);
    world.exec(&session.id, &["say"]).await.unwrap();
    let seen = world.engine.environment_get(&root(), id).await.unwrap();
    assert_eq!(seen.environment, made.environment);
    assert!(seen.observation.is_some());

    let ended = world.engine.environment_delete(&root(), id).await.unwrap().session;
    assert_eq!(ended.end.unwrap().reason, TerminationReason::AdminRequest);
    world.quiet().await;
}

/// EN-1: of many that make it at once one does, and nothing is left when the session ends meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_make_an_environment_one_does() {
    let world = Arc::new(World::new().await);
    let request = CreateRequest { environment: Some(EnvironmentKind::None), ..CreateRequest::default() };
    let id = world.create(request.clone()).await.unwrap().id;
    let made: Vec<_> = (0..8)
        .map(|_| {
            let (world, id) = (world.clone(), id.clone());
            tokio::spawn(async move { world.engine.environment_create(&root(), id.as_str()).await })
        })
        .collect();
    let mut done = 0;
    for made in made {
        match soon(made).await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.code(), Code::EnvironmentExists),
        }
    }
    assert_eq!((done, world.driver.fake.known().await.unwrap().len()), (1, 1));
    world.engine.session_delete(&alice(), id.as_str()).await.unwrap();

    world.driver.hold(true);
    let id = world.create(request).await.unwrap().id;
    let making = {
        let (world, id) = (world.clone(), id.clone());
        tokio::spawn(async move { world.engine.environment_create(&root(), id.as_str()).await })
    };
    until(async || world.driver.creations() == 2).await;
    world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    assert_eq!(gone(soon(making).await.unwrap()).reason, TerminationReason::UserRequest);
    world.quiet().await;
}
