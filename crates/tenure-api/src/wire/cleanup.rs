//! Clean-up, as it is told.

use crate::wire::words;
use serde::Serialize;
use tenure_engine::Swept;
use tenure_session::{CleanupCheck, EnvironmentState, Session, SessionId, State, TerminationReason};
use utoipa::ToSchema;

/// What a sweep would do with a session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CleanupCheck)]
pub struct CheckBody<'a> {
    /// Which session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// Its state as it is recorded.
    #[schema(value_type = words::SessionState)]
    state: State,
    /// What is known of its environment.
    #[schema(value_type = words::EnvironmentStatus)]
    environment: EnvironmentState,
    /// Whether something is left to do: its end is not recorded yet, or its environment is not known to be gone.
    should_cleanup: bool,
    /// Why it ended, recorded or not; `null` while it lives.
    #[schema(value_type = Option<words::Reason>)]
    reason: Option<TerminationReason>,
    /// Whole seconds until it ends as things stand; 0 once it has ended.
    ttl_remaining_seconds: u64,
}

impl<'a> CheckBody<'a> {
    /// What a sweep would do with it.
    pub fn new(session: &'a Session, check: &CleanupCheck) -> CheckBody<'a> {
        CheckBody {
            session_id: &session.id,
            state: session.state,
            environment: session.environment_state(),
            should_cleanup: check.should_cleanup,
            reason: check.reason,
            ttl_remaining_seconds: check.ttl_remaining_seconds,
        }
    }
}

/// What a sweep did; what it would do, where it was only tried.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Swept)]
pub struct SweptBody {
    /// Whether it was only tried.
    dry_run: bool,
    /// Sessions that were looked at.
    sessions_checked: u64,
    /// Sessions that were cleaned up.
    sessions_cleaned: u64,
    /// Which: those that it ended, and those that had ended before and of whose environment something was left.
    #[schema(value_type = Vec<String>)]
    cleaned_session_ids: Vec<SessionId>,
    /// Environments that belonged to no session.
    orphans_cleaned: u64,
    /// Which.
    orphaned_environment_ids: Vec<String>,
    /// Environments that should be gone and are not; the next sweep tries again.
    left_environment_ids: Vec<String>,
}

impl SweptBody {
    /// What it did.
    pub fn new(swept: &Swept, dry_run: bool) -> SweptBody {
        let cleaned: Vec<SessionId> = swept.ended.iter().chain(&swept.tidied).cloned().collect();
        SweptBody {
            dry_run,
            sessions_checked: swept.checked,
            sessions_cleaned: cleaned.len() as u64,
            cleaned_session_ids: cleaned,
            orphans_cleaned: swept.orphans.len() as u64,
            orphaned_environment_ids: swept.orphans.iter().map(ToString::to_string).collect(),
            left_environment_ids: swept.left.clone(),
        }
    }
}
