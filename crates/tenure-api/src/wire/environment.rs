//! The environment of a session, as it is told to administrators.

use crate::wire::session::{EnvironmentBody, ObservationBody};
use crate::wire::words;
use serde::Serialize;
use tenure_engine::EnvironmentView;
use tenure_session::{SessionId, State};
use utoipa::ToSchema;

/// What is known of a session's environment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnvironmentView)]
pub struct EnvironmentViewBody<'a> {
    /// Of which session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// The state of the session.
    #[schema(value_type = words::SessionState)]
    session_state: State,
    /// The environment.
    environment: EnvironmentBody<'a>,
    /// What the kernel says of it now; `null` where there is none, or it could not be asked.
    observation: Option<ObservationBody>,
}

impl<'a> EnvironmentViewBody<'a> {
    /// What is known now.
    pub fn new(view: &'a EnvironmentView) -> EnvironmentViewBody<'a> {
        EnvironmentViewBody {
            session_id: &view.session.id,
            session_state: view.session.state,
            environment: EnvironmentBody::new(&view.session),
            observation: view.observation.map(ObservationBody::new),
        }
    }
}
