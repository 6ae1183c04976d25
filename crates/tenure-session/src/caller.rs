//! Who asks, what a session is to them, and what they may do to it (AU-3, TR-3).

use crate::id::UserId;
use crate::operation::{Operation, Who};
use crate::session::Session;
use serde::{Deserialize, Serialize};

/// What a credential lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything on their own sessions.
    User,
    /// Everything on every session, and the service itself.
    Admin,
}

/// Somebody whose credential was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who they are.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// Which credential proved it, for the audit: a key's ID or a token's issuer. Never the secret.
    pub credential: String,
}

/// What a session is to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Their own.
    Owner,
    /// Somebody else's, and they administer all.
    Admin,
    /// None of their business: to them it never existed.
    Stranger,
}

/// What this session is to this caller. An administrator's own session is their own.
pub fn access(caller: &Caller, session: &Session) -> Access {
    if caller.user == session.owner {
        Access::Owner
    } else {
        match caller.role {
            Role::Admin => Access::Admin,
            Role::User => Access::Stranger,
        }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The session is none of their business: to them it never existed.
    Stranger,
    /// It takes an administrator. An owner who is none may know that much of what is theirs.
    Role,
}

/// Whether this caller may do this to this session: existence first, then the role (TM-4). Operations about no session go by the role alone, see
/// [`may_without_session`].
pub fn may(caller: &Caller, session: &Session, operation: Operation) -> Result<Access, Denied> {
    match access(caller, session) {
        Access::Stranger => Err(Denied::Stranger),
        known @ (Access::Owner | Access::Admin) => may_without_session(caller, operation).map(|()| known),
    }
}

/// Whether this caller's role is enough for this operation.
pub fn may_without_session(caller: &Caller, operation: Operation) -> Result<(), Denied> {
    match (operation.row().who, caller.role) {
        (Who::User | Who::Owner | Who::Anyone, Role::User | Role::Admin) | (Who::Admin, Role::Admin) => Ok(()),
        (Who::Admin, Role::User) => Err(Denied::Role),
    }
}
