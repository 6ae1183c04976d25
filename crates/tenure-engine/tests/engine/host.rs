//! A host that runs low: nothing new begins there, and what there is goes on.

use crate::world::{World, alice, code, fresh, keyed, root};
use tenure_engine::{Code, CreateRequest, EngineError, EnvironmentKind, HostFree};
use tenure_environment::EnvironmentError;
use tenure_session::{FailureType, LimitRequest, RecoveryAction, State, TerminationReason};

async fn world() -> World {
    World::with(|settings| {
        settings.min_free_disk_bytes = 1000;
        settings.min_free_memory_bytes = 100;
    })
    .await
}

fn free(world: &World, disk: u64, memory: u64) {
    *world.gauge.0.lock().unwrap() = HostFree { disk_bytes: Some(disk), memory_bytes: Some(memory), reserve_bytes: 0 };
}

fn without() -> CreateRequest {
    CreateRequest { environment: Some(EnvironmentKind::None), ..CreateRequest::default() }
}

/// GV-5: below a mark new sessions are refused by its name; at it and above they are made.
#[tokio::test(flavor = "multi_thread")]
async fn below_a_mark_nothing_new_begins_and_what_there_is_goes_on() {
    let world = world().await;
    assert!(world.engine.host_low().is_empty(), "of what nothing is known nothing is low");
    free(&world, 1000, 100);
    let session = world.session(LimitRequest::default()).await;
    let bare = world.create(without()).await.unwrap();
    for (disk, memory, name, value) in
        [(999, 100, "host.min_free_disk_bytes", 999), (1000, 7, "host.min_free_memory_bytes", 7)]
    {
        free(&world, disk, memory);
        for request in [CreateRequest::default(), without()] {
            let refused = world.create(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable);
            let EngineError::HostLow(mark) = refused else { panic!("{refused}") };
            assert_eq!((mark.name, mark.value), (name, value));
        }
        let late = world.engine.environment_create(&root(), bare.id.as_str()).await;
        assert_eq!(code(late), Code::Unavailable);
        assert_eq!(world.exec(&session.id, &["say", "on"]).await.unwrap().stdout, b"on");
        let metrics = world.engine.metrics_text(&root()).await.unwrap();
        assert!(metrics.contains(&format!("tenure_host_free_bytes{{kind=\"disk\"}} {disk}")), "{metrics}");
    }
    free(&world, 1000, 100);
    world.session(LimitRequest::default()).await;
    world.engine.environment_create(&root(), bare.id.as_str()).await.unwrap();
}

/// GV-5, LC-6: a refusal claims no key, and what was done before is answered as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_a_low_host_claims_no_key() {
    let world = world().await;
    free(&world, 1, 100);
    let call = keyed(alice(), "once", "{}");
    let create = async || world.engine.session_create(&call, Ok(CreateRequest::default())).await;
    assert_eq!(code(create().await.map(drop)), Code::Unavailable);
    free(&world, 1000, 100);
    let made = fresh(create().await.unwrap()).unwrap();
    free(&world, 1, 100);
    assert_eq!(fresh(create().await.unwrap()).unwrap().id, made.id);
}

/// TM-5, LC-5, FL-1: where the host failed that is the reason, and the caller hears what helps.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_the_host_cannot_make_ends_its_session_for_the_hosts_failing() {
    let world = World::new().await;
    let gone = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
    for error in [EnvironmentError::Unavailable("the keeper is gone".to_owned()), EnvironmentError::Io(gone)] {
        world.driver.fake.fail_next(error);
        let call = keyed(alice(), &format!("{}", world.driver.creations()), "{}");
        let create = async || fresh(world.engine.session_create(&call, Ok(CreateRequest::default())).await.unwrap());
        let refused = create().await.unwrap_err();
        let EngineError::Init { id, failure } = refused else { panic!("{refused}") };
        assert_eq!((failure.kind, failure.recovery_action), (FailureType::Infra, RecoveryAction::Wait));
        let stored = world.stored(&id).await;
        let end = stored.end.unwrap();
        assert_eq!((stored.state, end.reason), (State::Failed, TerminationReason::FailedInfra));
        assert!(matches!(create().await.unwrap_err(), EngineError::Init { id: again, .. } if again == id));
    }
    world.quiet().await;
}
