//! Limits that the kernel held a session to, in its status and in the metrics (GV-4, MT-1).

use crate::world::{World, alice, root, until};
use tenure_engine::*;
use tenure_session::*;

/// What the metrics say of memory, processes and disk.
async fn counted(world: &World) -> [String; 3] {
    let metrics = world.engine.metrics_text(&root()).await.unwrap();
    KernelLimit::ALL.map(|limit| {
        let series = format!("tenure_limits_reached_total{{limit=\"{}\"}} ", limit.as_str());
        metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap().to_owned()
    })
}

async fn look(world: &World, id: &SessionId) {
    world.engine.session_status(&alice(), id.as_str()).await.unwrap().observation.unwrap();
}

/// GV-4, MT-1
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_was_reached_is_counted_once_at_a_look_or_at_the_end() {
    let mut world = World::new().await;
    let id = world.session(LimitRequest::default()).await.id;
    assert_eq!(counted(&world).await, ["0", "0", "0"]);
    let environment = world.environment(&id).await;
    let full = environment.limits().disk_bytes;
    let count = |oom_kills, pids_refused, disk_bytes| {
        let (oom_kills, pids_refused) = (Some(oom_kills), Some(pids_refused));
        environment.count(Observation {
            oom_kills,
            pids_refused,
            disk_bytes: Some(disk_bytes),
            ..Observation::default()
        });
    };
    count(1, 5, full / 2);
    look(&world, &id).await;
    look(&world, &id).await;
    assert_eq!(counted(&world).await, ["1", "5", "0"]);
    count(1, 5, full);
    look(&world, &id).await;
    count(1, 5, 0);
    look(&world, &id).await;
    assert_eq!(counted(&world).await, ["1", "5", "1"]);
    // What was counted before a start is not counted by it again.
    world.restart().await;
    look(&world, &id).await;
    assert_eq!(counted(&world).await, ["0", "0", "0"]);
    count(3, 6, 0);
    world.engine.session_terminate(&alice(), id.as_str(), Ok(TerminateRequest::default())).await.unwrap();
    until(async || counted(&world).await == ["2", "1", "0"]).await;
    world.quiet().await;
}
