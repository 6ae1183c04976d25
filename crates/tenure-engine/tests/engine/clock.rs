//! The wall clock may do what it likes (GV-6).

use crate::world::{World, gone};
use std::sync::atomic::Ordering;
use tenure_session::*;

/// GV-6
#[tokio::test]
async fn a_wall_clock_that_jumps_ends_nothing_and_saves_nothing() {
    let mut world = World::new().await;
    let limits =
        LimitRequest { max_lifetime_ms: Some(100_000), idle_timeout_ms: Some(Some(60_000)), ..LimitRequest::default() };
    let request = tenure_engine::CreateRequest {
        limits,
        environment: Some(tenure_engine::EnvironmentKind::None),
        ..tenure_engine::CreateRequest::default()
    };
    let session = world.create(request).await.unwrap();
    for off_ms in [10 * 365 * 86_400_000, -10 * 365 * 86_400_000, 0] {
        world.clock.wall_off_ms.store(off_ms, Ordering::SeqCst);
        world.clock.pass(10_000);
        world.engine.session_pause(&crate::world::alice(), session.id.as_str()).await.unwrap();
        world.engine.session_resume(&crate::world::alice(), session.id.as_str()).await.unwrap();
        world.restart().await;
    }
    world.clock.wall_off_ms.store(-1_000_000, Ordering::SeqCst);
    world.clock.pass(60_000);
    let end = gone(world.engine.session_pause(&crate::world::alice(), session.id.as_str()).await);
    assert_eq!(end.reason, TerminationReason::IdleTimeout);
}
