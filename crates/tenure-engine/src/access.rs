//! An operator's tool: whether a user may use a session, as the gate would say, and denials by hand (EN-8).

use crate::call::Call;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use serde_json::json;
use tenure_session::{
    Access, Caller, EnvironmentId, Identity, IdentityClaim, Operation, Role, Session, SessionId, UserId, access,
};

/// Longest reason that is kept of a denial by hand.
const REASON_MAX: usize = 1024;

/// Somebody may use a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessGranted {
    /// Who.
    pub user_id: UserId,
    /// Which session.
    pub session_id: SessionId,
    /// Where it works, where it works anywhere.
    pub environment_id: Option<EnvironmentId>,
}

impl Engine {
    /// Whether a user, by no role but `user`, may use a session. A denial tells nothing: a session that never existed and one of somebody else are the same.
    /// Why it was denied is in the audit.
    pub async fn access_authorize(
        &self,
        call: &Call,
        session_id: &str,
        user_id: &str,
    ) -> Result<AccessGranted, EngineError> {
        self.admit_service(call, Operation::AccessAuthorize)?;
        let claim = IdentityClaim { user_id: Some(user_id), session_id: Some(session_id), environment_id: None };
        let identity = Identity::check(&claim, false).map_err(|wrong| {
            let invalid = wrong.invalid_fields.iter().map(|field| {
                tenure_session::InvalidField::new(field.clone(), "is not written as such an ID is".to_owned())
            });
            EngineError::Invalid { missing: wrong.missing_fields.clone(), invalid: invalid.collect() }
        })?;
        let found = self.store().session_get(&identity.session_id).await?;
        let Some(session) = found else {
            return Err(self.access_denied(call, &identity, None, "never_existed").await?);
        };
        let user = Caller { user: identity.user_id.clone(), role: Role::User, credential: String::new() };
        match access(&user, &session) {
            Access::Owner => {}
            Access::Admin | Access::Stranger => {
                return Err(self.access_denied(call, &identity, Some(&session), "not_the_owner").await?);
            }
        }
        // To its owner it can be known that it has ended.
        let session = self.still_admitted(&session.id).await?;
        let metadata = json!({ "user_id": identity.user_id });
        let mut entry = draft::by_caller(call, &session, Operation::AccessAuthorize, self.now(), metadata);
        entry.reason = Some("granted".to_owned());
        self.audit(entry).await?;
        let environment_id = session.environment.map(|environment| environment.id);
        Ok(AccessGranted { user_id: identity.user_id, session_id: session.id, environment_id })
    }

    /// Records a denial by hand. It is always [`EngineError::Denied`] once that is written down: whoever is denied hears nothing else.
    pub async fn access_deny(
        &self,
        call: &Call,
        session_id: Option<&str>,
        user_id: Option<&str>,
        reason: &str,
    ) -> Result<(), EngineError> {
        self.admit_service(call, Operation::AccessDeny)?;
        if reason.len() > REASON_MAX {
            return Err(EngineError::field("reason", format!("must be at most {REASON_MAX} bytes")));
        }
        let session_id = session_id.map(str::parse::<SessionId>).transpose();
        let session_id =
            session_id.map_err(|error| EngineError::field("session_id", format!("must be {}", error.form)))?;
        let user_id = user_id.map(str::parse::<UserId>).transpose();
        let user_id = user_id.map_err(|error| EngineError::field("user_id", format!("must be {}", error.form)))?;
        let session = match &session_id {
            Some(id) => self.store().session_get(id).await?,
            None => None,
        };
        let metadata = json!({ "session_id": session_id, "user_id": user_id, "by_hand": true });
        let mut entry = match &session {
            Some(session) => draft::by_caller(call, session, Operation::AccessDeny, self.now(), metadata),
            None => draft::of_service(call, Operation::AccessDeny, self.now(), metadata),
        };
        entry.reason = Some(reason.to_owned());
        self.audit(entry).await?;
        Err(EngineError::Denied)
    }

    async fn access_denied(
        &self,
        call: &Call,
        identity: &Identity,
        session: Option<&Session>,
        why: &str,
    ) -> Result<EngineError, EngineError> {
        let metadata = json!({ "session_id": identity.session_id, "user_id": identity.user_id });
        let operation = Operation::AccessAuthorize;
        let mut entry = match session {
            Some(session) => draft::by_caller(call, session, operation, self.now(), metadata),
            None => draft::of_service(call, operation, self.now(), metadata),
        };
        "access_denied".clone_into(&mut entry.action);
        entry.reason = Some(why.to_owned());
        self.audit(entry).await?;
        Ok(EngineError::Denied)
    }
}
