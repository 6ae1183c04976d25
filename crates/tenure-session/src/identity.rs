//! Who, in which session, in which environment: said in full, or refused with the names of the parts that are missing or wrong (ID-3).

use crate::id::{EnvironmentId, InvalidId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// An identity as somebody gives it: nothing is checked yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdentityClaim<'a> {
    /// The user.
    pub user_id: Option<&'a str>,
    /// The session.
    pub session_id: Option<&'a str>,
    /// The environment. Inside one it must be given.
    pub environment_id: Option<&'a str>,
}

/// An identity, every part of it given and well formed. There is no default for any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub user_id: UserId,
    /// The session.
    pub session_id: SessionId,
    /// The environment, where it is said from inside one.
    pub environment_id: Option<EnvironmentId>,
}

/// Parts of an identity that are missing or not well formed, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the identity is incomplete or malformed: missing {missing_fields:?}, invalid {invalid_fields:?}")]
pub struct InvalidIdentity {
    /// Those that were not given, or empty.
    pub missing_fields: Vec<String>,
    /// Those that are no such ID.
    pub invalid_fields: Vec<String>,
}

impl Identity {
    /// Checks an identity. `inside` says whether it is claimed inside an environment, where that environment belongs to it.
    pub fn check(claim: &IdentityClaim<'_>, inside: bool) -> Result<Identity, InvalidIdentity> {
        let mut wrong = InvalidIdentity::default();
        let user_id = part::<UserId>("user_id", claim.user_id, true, &mut wrong);
        let session_id = part::<SessionId>("session_id", claim.session_id, true, &mut wrong);
        let environment_id = part::<EnvironmentId>("environment_id", claim.environment_id, inside, &mut wrong);
        match (user_id, session_id) {
            (Some(user_id), Some(session_id)) if wrong == InvalidIdentity::default() => {
                Ok(Identity { user_id, session_id, environment_id })
            }
            _ => Err(wrong),
        }
    }
}

fn part<T: FromStr<Err = InvalidId>>(
    name: &str,
    text: Option<&str>,
    needed: bool,
    wrong: &mut InvalidIdentity,
) -> Option<T> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        if needed || text.is_some() {
            wrong.missing_fields.push(name.to_owned());
        }
        return None;
    };
    let parsed = text.parse().ok();
    if parsed.is_none() {
        wrong.invalid_fields.push(name.to_owned());
    }
    parsed
}
