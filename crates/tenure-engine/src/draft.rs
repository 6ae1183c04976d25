//! Audit entries, as the engine writes them.

use crate::call::Call;
use serde_json::{Value, json};
use tenure_session::{Operation, Session, State, Timestamp, Trigger};
use tenure_store::AuditDraft;

/// Something that a caller did to a session; its state is what it was.
pub(crate) fn by_caller(
    call: &Call,
    session: &Session,
    operation: Operation,
    at: Timestamp,
    metadata: Value,
) -> AuditDraft {
    AuditDraft {
        session_id: Some(session.id.clone()),
        at,
        old_state: Some(session.state),
        new_state: Some(session.state),
        trigger: Trigger::UserAction,
        actor: call.actor(),
        action: operation.row().name.to_owned(),
        reason: None,
        metadata,
    }
}

/// Something that a caller did to the service.
pub(crate) fn of_service(call: &Call, operation: Operation, at: Timestamp, metadata: Value) -> AuditDraft {
    AuditDraft {
        session_id: None,
        at,
        old_state: None,
        new_state: None,
        trigger: Trigger::UserAction,
        actor: call.actor(),
        action: operation.row().name.to_owned(),
        reason: None,
        metadata,
    }
}

/// A session moved from one state to another.
pub(crate) fn moved(session: &Session, to: State, at: Timestamp, trigger: Trigger, actor: &str) -> AuditDraft {
    AuditDraft {
        session_id: Some(session.id.clone()),
        at,
        old_state: Some(session.state),
        new_state: Some(to),
        trigger,
        actor: actor.to_owned(),
        action: "session_move".to_owned(),
        reason: None,
        metadata: json!({}),
    }
}

/// A session ended.
pub(crate) fn ended(
    session: &Session,
    end: &tenure_session::End,
    at: Timestamp,
    trigger: Trigger,
    actor: &str,
    metadata: Value,
) -> AuditDraft {
    AuditDraft {
        session_id: Some(session.id.clone()),
        at,
        old_state: Some(session.state),
        new_state: Some(end.reason.ends_in()),
        trigger,
        actor: actor.to_owned(),
        action: "session_end".to_owned(),
        reason: Some(end.reason.to_string()),
        metadata,
    }
}
