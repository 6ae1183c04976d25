//! Sessions that nobody visits: the sweeper ends them, once, and leaves alone what is worked in.

use crate::world::{World, alice, code, gone, root};
use tenure_engine::{AuditFilter, Code, Engine, EnvironmentKind, PageRequest, Sweep};
use tenure_environment::{Driver, EnvironmentSpec};
use tenure_session::{CleanupCheck, EnvironmentState, LimitRequest, SessionId, TerminationReason};
use tenure_store::Store;

const IDLE_MS: u64 = 10_000;

fn idle() -> LimitRequest {
    LimitRequest { idle_timeout_ms: Some(Some(IDLE_MS)), ..LimitRequest::default() }
}

/// CL-1, TM-2, GV-3
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_ends_what_nobody_visits_and_nothing_that_is_worked_in() {
    let world = World::new().await;
    let forgotten = world.session(idle()).await;
    let busy = world.session(idle()).await;
    world.start(&busy.id, &["stay"]).await.unwrap();
    assert!(world.engine.sweep().await.unwrap().ended.is_empty(), "it is too early");

    world.clock.pass(2 * IDLE_MS);
    let swept = world.engine.sweep().await.unwrap();
    assert_eq!(swept.ended, std::slice::from_ref(&forgotten.id));
    let end = gone(world.exec(&forgotten.id, &["say"]).await);
    assert_eq!(end.reason, TerminationReason::IdleTimeout);
    assert_eq!(end.at, forgotten.last_activity_at.plus_ms(IDLE_MS), "the instant at which the limit passed");

    let again = world.engine.sweep().await.unwrap();
    assert_eq!((again.checked, again.ended), (0, vec![]), "what is worked in is not looked at again at once");
    assert!(world.stored(&busy.id).await.end.is_none());
}

/// CL-1, TM-2
#[tokio::test(flavor = "multi_thread")]
async fn two_sweeps_at_once_end_each_session_once() {
    let world = World::new().await;
    for _ in 0..20 {
        world.session(idle()).await;
    }
    world.clock.pass(2 * IDLE_MS);
    let (one, other) = tokio::join!(world.engine.sweep(), world.engine.sweep());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.ended.len() + other.ended.len(), 20, "each is told by the one that ended it");
    let filter = tenure_store::AuditFilter { action: Some("session_end".into()), ..Default::default() };
    let page = tenure_store::PageRequest { limit: 100, cursor: None };
    assert_eq!(world.store.audit_list(filter, page).await.unwrap().items.len(), 20);
}

async fn check(engine: &Engine, id: &SessionId) -> CleanupCheck {
    engine.cleanup_check(&root(), id.as_str()).await.unwrap().1
}

/// CL-1, TM-6: nobody sweeps, and still everybody can see what is due; asking ends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_what_is_overdue_and_changes_nothing() {
    let world = World::new().await;
    let session = world.session(idle()).await;
    let alive = check(&world.engine, &session.id).await;
    assert_eq!((alive.should_cleanup, alive.reason, alive.ttl_remaining_seconds), (false, None, IDLE_MS / 1000));

    world.clock.pass(IDLE_MS);
    for _ in 0..2 {
        let overdue = check(&world.engine, &session.id).await;
        assert_eq!((overdue.should_cleanup, overdue.reason), (true, Some(TerminationReason::IdleTimeout)));
        assert!(world.stored(&session.id).await.end.is_none(), "a check is no visit");
    }
    gone(world.exec(&session.id, &["say"]).await);
    world.quiet().await;
    let over = check(&world.engine, &session.id).await;
    assert_eq!((over.should_cleanup, over.reason), (false, Some(TerminationReason::IdleTimeout)));
    assert_eq!(code(world.engine.cleanup_check(&alice(), session.id.as_str()).await), Code::AccessDenied);
    assert_eq!(code(world.engine.cleanup_sweep(&alice(), Sweep::Dry).await), Code::AccessDenied);
}

async fn audited(world: &World) -> usize {
    world.store.audit_list(AuditFilter::default(), PageRequest { limit: 1000, cursor: None }).await.unwrap().items.len()
}

/// CL-1
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_is_only_tried_names_what_it_would_do_and_does_nothing() {
    let world = World::new().await;
    let forgotten = world.session(idle()).await;
    let busy = world.session(idle()).await;
    world.start(&busy.id, &["stay"]).await.unwrap();
    let orphan = tenure_environment::EnvironmentId::generate().unwrap();
    let spec = EnvironmentSpec { grace_ms: 1, ..EnvironmentSpec::new(orphan.clone(), "default") };
    world.driver.fake.create(spec).await.unwrap();
    world.clock.pass(2 * IDLE_MS);
    let (before, entries) = (world.stored(&forgotten.id).await, audited(&world).await);

    let tried = world.engine.cleanup_sweep(&root(), Sweep::Dry).await.unwrap();
    assert_eq!((&tried.ended, &tried.orphans), (&vec![forgotten.id.clone()], &vec![orphan.clone()]));
    assert_eq!((world.stored(&forgotten.id).await, audited(&world).await), (before, entries));
    assert!(world.driver.fake.known().await.unwrap().contains(&orphan));

    let done = world.engine.cleanup_sweep(&root(), Sweep::Real).await.unwrap();
    assert_eq!((done.ended, done.orphans), (tried.ended, tried.orphans), "what was said is done");
    assert!(!world.driver.fake.known().await.unwrap().contains(&orphan));
    assert!(world.stored(&busy.id).await.end.is_none());
    let filter = AuditFilter { action: Some("cleanup_sweep".into()), ..AuditFilter::default() };
    let page = PageRequest { limit: 10, cursor: None };
    assert_eq!(world.store.audit_list(filter, page).await.unwrap().items.len(), 1);
}

/// CL-1: an environment of nobody is taken down; one of a session that is just being made, or that gets it later, never is.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_down_what_is_nobodys_and_never_what_is_being_made() {
    let world = World::new().await;
    let without = tenure_engine::CreateRequest { environment: Some(EnvironmentKind::None), ..Default::default() };
    let late = world.create(without).await.unwrap();
    let (id, engine) = (late.id.to_string(), world.engine.clone());
    let sweeping = async {
        for _ in 0..50 {
            let swept = engine.cleanup_sweep(&root(), Sweep::Real).await.unwrap();
            assert_eq!((swept.orphans, swept.ended), (vec![], vec![]));
            tokio::task::yield_now().await;
        }
    };
    let making = async {
        world.engine.environment_create(&root(), &id).await.unwrap();
        for _ in 0..20 {
            let session = world.session(idle()).await;
            world.exec(&session.id, &["say", "here"]).await.unwrap();
        }
    };
    tokio::join!(sweeping, making);
}

/// CL-1, TM-8: what could not be taken down when its session ended is taken down by a later sweep, and named until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_tries_again_what_could_not_be_taken_down() {
    let world = World::new().await;
    let session = world.session(LimitRequest::default()).await;
    world.driver.stuck(true);
    world.engine.session_terminate(&alice(), session.id.as_str(), Ok(Default::default())).await.unwrap();
    crate::world::until(async || world.engine.live_count() == 0).await;
    let environment = world.stored(&session.id).await.environment.unwrap();
    assert_ne!(environment.state, EnvironmentState::Gone);
    assert!(check(&world.engine, &session.id).await.should_cleanup);

    let tried = world.engine.cleanup_sweep(&root(), Sweep::Dry).await.unwrap();
    assert_eq!((tried.tidied, tried.orphans), (vec![session.id.clone()], vec![]));
    let swept = world.engine.cleanup_sweep(&root(), Sweep::Real).await.unwrap();
    assert_eq!((swept.tidied, swept.left), (vec![], vec![environment.id.to_string()]));
    world.driver.stuck(false);
    let swept = world.engine.cleanup_sweep(&root(), Sweep::Real).await.unwrap();
    assert_eq!((swept.tidied, swept.left), (vec![session.id.clone()], vec![]));
    assert_eq!(world.stored(&session.id).await.environment_state(), EnvironmentState::Gone);
    assert!(!check(&world.engine, &session.id).await.should_cleanup);
}
