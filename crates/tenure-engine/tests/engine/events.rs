//! Status changes are pushed (ST-2), and derived from what is stored (ST-1).

use crate::world::{World, alice, soon};
use tenure_engine::*;
use tenure_session::*;

/// ST-2
#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_told_until_the_end() {
    let world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    let mut events = world.engine.session_events(&alice(), id.as_str()).await.unwrap();
    let mut next = async || soon(events.next()).await.unwrap().map(|seen| seen.status.display_state);
    assert_eq!(next().await, Some(DisplayState::Ready));
    world.exec(&id, &["say"]).await.unwrap();
    assert_eq!(next().await, Some(DisplayState::Running));
    world.engine.session_pause(&alice(), id.as_str()).await.unwrap();
    assert_eq!(next().await, Some(DisplayState::Paused));
    world.engine.session_resume(&alice(), id.as_str()).await.unwrap();
    assert_eq!(next().await, Some(DisplayState::Running));
    world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    assert_eq!(next().await, Some(DisplayState::Terminated));
    assert_eq!(next().await, None);
    let mut after = world.engine.session_events(&alice(), id.as_str()).await.unwrap();
    assert_eq!(after.next().await.unwrap().unwrap().status.display_state, DisplayState::Terminated);
    assert!(after.next().await.unwrap().is_none());
}

/// ST-2, TM-6: also a limit that nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_passes_is_told_to_whoever_watches() {
    let world = World::new().await;
    let limits = LimitRequest { idle_timeout_ms: Some(Some(300)), ..LimitRequest::default() };
    let id = world.session(limits).await.id;
    world.clock.run();
    let mut events = world.engine.session_events(&alice(), id.as_str()).await.unwrap();
    assert_eq!(soon(events.next()).await.unwrap().unwrap().status.display_state, DisplayState::Ready);
    let last = soon(events.next()).await.unwrap().unwrap();
    assert_eq!(last.session.end.unwrap().reason, TerminationReason::IdleTimeout);
    assert!(soon(events.next()).await.unwrap().is_none());
    world.quiet().await;
}
