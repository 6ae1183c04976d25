//! Sessions that nobody visits: the sweeper ends them, once, and leaves alone what is worked in.

use crate::world::{World, gone};
use tenure_session::{LimitRequest, TerminationReason};
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
    assert!(one.ended.len() + other.ended.len() >= 20);
    let filter = tenure_store::AuditFilter { action: Some("session_end".into()), ..Default::default() };
    let page = tenure_store::PageRequest { limit: 100, cursor: None };
    assert_eq!(world.store.audit_list(filter, page).await.unwrap().items.len(), 20);
}
