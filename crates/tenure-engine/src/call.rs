//! One request as the engine sees it: who asks, and what came along.

use std::sync::Arc;
use tenure_session::{Caller, LeaseToken};

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
