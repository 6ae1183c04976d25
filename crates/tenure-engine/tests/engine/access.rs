//! Who may do what (AU-3, TR-3), and the operator's tool for it (EN-8).

use crate::attempt::attempt;
use crate::world::{World, alice, bob, code, root};
use tenure_engine::*;
use tenure_session::{LimitRequest, Lookup, Operation, States, Who};

fn is_unknown(result: &Result<(), EngineError>, id: &str) -> bool {
    *result == Err(EngineError::NoSession { id: id.to_owned(), lookup: Lookup::NeverExisted })
}

/// AU-3, TR-3
#[tokio::test]
async fn every_operation_asks_who_does_it() {
    let world = World::new().await;
    for &operation in Operation::ALL {
        let session = world.session(LimitRequest::default()).await;
        let id = session.id.as_str();
        let row = operation.row();
        let of_a_session = row.states != States::NoSession;
        let stranger = attempt(&world, &bob(), operation, id).await;
        let owner = attempt(&world, &alice(), operation, id).await;
        let admin = attempt(&world, &root(), operation, id).await;
        if of_a_session {
            assert!(is_unknown(&stranger, id), "{operation}: {stranger:?}");
        }
        match row.who {
            Who::Admin => {
                assert_eq!(owner, Err(EngineError::Denied), "{operation}");
                if !of_a_session {
                    assert_eq!(stranger, Err(EngineError::Denied), "{operation}");
                }
            }
            Who::User | Who::Owner | Who::Anyone => assert_ne!(owner, Err(EngineError::Denied), "{operation}"),
        }
        assert_ne!(admin, Err(EngineError::Denied), "{operation}");
        assert!(!is_unknown(&admin, id), "{operation}");
    }
}

/// TR-3, TM-5: to a stranger somebody's session is one that never existed, and asking for it changes nothing.
#[tokio::test]
async fn a_stranger_learns_nothing_and_changes_nothing() {
    let world = World::new().await;
    let session = world.session(LimitRequest { max_lifetime_ms: Some(1000), ..LimitRequest::default() }).await;
    let before = world.stored(&session.id).await;
    world.clock.pass(5000);
    let unknown = "exec_20261121_020944_4ad060d9";
    for &operation in Operation::ALL.iter().filter(|operation| operation.row().states != States::NoSession) {
        let theirs = attempt(&world, &bob(), operation, session.id.as_str()).await.unwrap_err();
        let nobodys = attempt(&world, &bob(), operation, unknown).await.unwrap_err();
        assert_eq!(theirs.to_string(), nobodys.to_string().replace(unknown, session.id.as_str()));
        assert_eq!((theirs.code(), theirs.chain()), (nobodys.code(), nobodys.chain()));
    }
    assert_eq!(
        world.stored(&session.id).await,
        before,
        "not even the limit that has passed is recorded for a stranger"
    );
}

/// TR-4
#[tokio::test]
async fn denials_are_counted_and_written_down_together() {
    let world = World::new().await;
    let session = world.session(LimitRequest::default()).await;
    for _ in 0..5 {
        let _ = world.engine.session_get(&bob(), session.id.as_str()).await;
    }
    world.engine.denials_write().await;
    let filter = AuditFilter { action: Some("access_denied".to_owned()), ..AuditFilter::default() };
    let page = PageRequest { limit: 10, cursor: None };
    let entries = world.engine.audit_list(&root(), filter, page).await.unwrap().items;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].metadata.as_ref().unwrap()["count"], 5);
    assert_eq!((entries[0].actor.as_str(), &entries[0].session_id), ("user:bob", &None));
}

/// ID-1
#[tokio::test]
async fn what_is_no_id_is_refused_before_anything_is_looked_up() {
    let world = World::new().await;
    for id in ["", "exec_", "exec_20261121_020944_4ad060d9\n", "exec_20260230_020944_4ad060d9"] {
        assert_eq!(code(world.engine.session_get(&alice(), id).await), Code::InvalidFormat, "{id:?}");
    }
}

/// EN-8
#[tokio::test]
async fn authorize_says_what_the_gate_would() {
    let world = World::new().await;
    let session = world.session(LimitRequest::default()).await;
    let id = session.id.as_str();
    let granted = world.engine.access_authorize(&root(), id, "alice").await.unwrap();
    assert_eq!(granted.session_id, session.id);
    assert_eq!(granted.environment_id, session.environment.map(|environment| environment.id));
    for (id, user) in [(id, "bob"), ("exec_20261121_020944_4ad060d9", "alice")] {
        assert_eq!(world.engine.access_authorize(&root(), id, user).await, Err(EngineError::Denied));
    }
    assert_eq!(code(world.engine.access_authorize(&root(), "nonsense", "").await), Code::Validation);
    world.engine.session_terminate(&alice(), id, Ok(TerminateRequest::default())).await.unwrap();
    assert_eq!(code(world.engine.access_authorize(&root(), id, "alice").await), Code::Gone);
    let denied = world.engine.access_deny(&root(), Some(id), Some("bob"), "left the course").await;
    assert_eq!(denied, Err(EngineError::Denied));
    let filter = AuditFilter { actor: Some("admin:root".to_owned()), ..AuditFilter::default() };
    let page = PageRequest { limit: 10, cursor: None };
    let entries = world.engine.audit_list(&root(), filter, page).await.unwrap().items;
    let reasons: Vec<_> = entries.iter().filter_map(|entry| entry.reason.as_deref()).collect();
    assert_eq!(reasons, ["granted", "not_the_owner", "never_existed", "left the course"]);
}
