//! One request as the engine sees it: who asks, and what came along.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::permit::Permit;
use std::sync::Arc;
use tenure_session::{Caller, LeaseToken, Operation, States};

/// A request, whatever it asks for.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who asks, proven.
    pub caller: Arc<Caller>,
    /// The lease token that came along.
    pub token: Option<LeaseToken>,
    /// Whether deleted sessions are to be read as if they were not.
    pub include_deleted: bool,
    /// The key under which the same request is answered the same.
    pub idempotency: Option<IdempotencyKey>,
}

/// The key of a request, and what was asked under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key: 1 to 255 bytes.
    pub key: String,
    /// SHA-256 over the canonical body and whatever else tells one request from another, in hex.
    pub digest: String,
}

impl Call {
    /// A request by this caller, with nothing else.
    pub fn by(caller: Arc<Caller>) -> Call {
        Call { caller, token: None, include_deleted: false, idempotency: None }
    }

    /// Who asks, for the audit.
    pub(crate) fn actor(&self) -> String {
        match self.caller.role {
            tenure_session::Role::Admin => format!("admin:{}", self.caller.user),
            tenure_session::Role::User => format!("user:{}", self.caller.user),
        }
    }
}

impl Engine {
    /// What to answer where a request cannot be understood beyond what it asks for: what the gate says, where it refuses; otherwise this. So the order of
    /// the checks holds for it, too (TM-4).
    pub async fn misread(
        &self,
        call: &Call,
        operation: Operation,
        id: Option<&str>,
        error: EngineError,
    ) -> EngineError {
        let refused = match (operation.row().states, id) {
            (States::NoSession, _) | (_, None) => self.admit_service(call, operation).err(),
            (_, Some(id)) => self.admit_to(call, id, operation, None).await.err(),
        };
        refused.unwrap_or(error)
    }

    /// Leave to make a ticket for a session. What the ticket is for is looked at again when it is used.
    pub async fn ticket_admit(&self, call: &Call, id: &str) -> Result<Permit, EngineError> {
        self.admit(call, id, Operation::TicketCreate).await
    }
}
