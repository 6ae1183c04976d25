//! What every driver promises of an environment from outside.

use super::{PATIENCE, command, connect, soon, start};
use crate::driver::Environment;
use crate::error::EnvironmentError;
use std::time::Duration;

/// Tries every promise of this file; the environment is gone afterwards.
pub async fn every_outside(env: &dyn Environment) {
    connections_are_independent(env).await;
    freezing_is_seen_and_undone(env).await;
    limits_can_be_moved(env).await;
    destroy_ends_everything(env).await;
}

/// EN-3: a connection that waits holds up no other.
pub async fn connections_are_independent(env: &dyn Environment) {
    let mut waiting = start(env, command(&["sleep", "1000"])).await.expect("sleep starts");
    soon(connect(env).await.ping()).await.expect("another connection answers");
    soon(waiting.sender.signal(9)).await.expect("it is signalled");
    soon(waiting.wait()).await.expect("it ends");
}

/// LC-9: a frozen environment does not answer, and answers again once it is thawed; asking twice changes nothing.
pub async fn freezing_is_seen_and_undone(env: &dyn Environment) {
    soon(env.freeze()).await.unwrap();
    soon(env.freeze()).await.expect("frozen already");
    assert!(soon(env.observe()).await.unwrap().frozen);
    let silent = tokio::time::timeout(Duration::from_millis(200), env.connect()).await;
    assert!(!matches!(silent, Ok(Ok(_))), "a frozen agent does not answer");
    soon(env.thaw()).await.unwrap();
    soon(env.thaw()).await.expect("thawed already");
    assert!(!soon(env.observe()).await.unwrap().frozen);
    soon(connect(env).await.ping()).await.expect("a thawed agent answers");
}

/// GV-4: other limits take hold; impossible ones are refused by name.
pub async fn limits_can_be_moved(env: &dyn Environment) {
    let limits = crate::ResourceLimits { pids: 128, ..Default::default() };
    soon(env.set_limits(&limits)).await.unwrap();
    let refused = soon(env.set_limits(&crate::ResourceLimits { pids: 0, ..limits })).await;
    assert!(matches!(refused, Err(EnvironmentError::InvalidSpec { field: "pids", .. })), "{refused:?}");
    if env.enforced().disk {
        assert!(soon(env.observe()).await.unwrap().disk_limit_bytes.is_some());
    }
}

/// TM-7: it is unreachable at once, what ran in it has ended, and asking again answers the same.
pub async fn destroy_ends_everything(env: &dyn Environment) {
    let mut running = start(env, command(&["sleep", "1000"])).await.expect("sleep starts");
    let destroy = async {
        let end = tokio::time::timeout(PATIENCE, env.destroy(Duration::from_millis(500))).await.expect("it ends");
        end.expect("it can be destroyed")
    };
    // The program's end may still be told; then the connection closes.
    let (end, _) = tokio::join!(destroy, soon(running.wait()));
    assert_eq!(soon(env.wait_end()).await, end);
    assert_eq!(soon(env.destroy(Duration::ZERO)).await.unwrap(), end);
    assert!(matches!(soon(env.connect()).await, Err(EnvironmentError::Gone)));
    assert!(matches!(soon(env.observe()).await, Err(EnvironmentError::Gone)));
}
