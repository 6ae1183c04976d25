//! Access, granted or denied by hand.

use serde::{Deserialize, Serialize};
use tenure_engine::AccessGranted;
use tenure_session::{EnvironmentId, SessionId, UserId};
use utoipa::ToSchema;

/// Whose access to what is asked about.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizeRequest {
    /// Which session.
    #[schema(pattern = "^exec_[0-9]{8}_[0-9]{6}_[0-9a-f]{8}$")]
    pub session_id: String,
    /// Which user.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9._@:+/=|-]*$")]
    pub user_id: String,
}

/// A denial to be recorded.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DenyRequest {
    /// Which session, where it is about one.
    #[serde(default)]
    #[schema(pattern = "^exec_[0-9]{8}_[0-9]{6}_[0-9a-f]{8}$")]
    pub session_id: Option<String>,
    /// Which user, where it is about one.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9][A-Za-z0-9._@:+/=|-]*$")]
    pub user_id: Option<String>,
    /// Why: for the audit, and for nobody else.
    #[schema(max_length = 1024)]
    pub reason: String,
}

/// Access is granted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessGranted)]
pub struct GrantedBody<'a> {
    /// Always true: whoever is denied hears `ACCESS_DENIED`.
    authorized: bool,
    /// Which session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// Which user.
    #[schema(value_type = String)]
    user_id: &'a UserId,
    /// Where it works, where it works anywhere.
    #[schema(value_type = Option<String>)]
    environment_id: Option<&'a EnvironmentId>,
}

impl<'a> GrantedBody<'a> {
    /// Access is granted.
    pub fn new(granted: &'a AccessGranted) -> GrantedBody<'a> {
        GrantedBody {
            authorized: true,
            session_id: &granted.session_id,
            user_id: &granted.user_id,
            environment_id: granted.environment_id.as_ref(),
        }
    }
}
