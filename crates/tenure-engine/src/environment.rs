//! The environment of a session, as administrators see it: looked at, made where there is none, ended with its session (EN-1).

use crate::call::Call;
use crate::code::Code;
use crate::draft;
use crate::ending::Fault;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::permit::Permit;
use crate::provision::enforced;
use crate::session::SessionView;
use serde_json::json;
use tenure_environment::{EnvironmentError, Generation, Observation};
use tenure_session::{
    End, EnvironmentId, EnvironmentState, Operation, Refusal, Session, SessionEnvironment, State, TerminationReason,
};
use tenure_store::{Changed, SessionAttach, TemplateRecord};

/// A session's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentView {
    /// The session.
    pub session: Session,
    /// Its environment, where it has one.
    pub environment: Option<SessionEnvironment>,
    /// What the kernel says of it, where it could be asked.
    pub observation: Option<Observation>,
}

impl Engine {
    /// Reads what is known of a session's environment.
    pub async fn environment_get(&self, call: &Call, id: &str) -> Result<EnvironmentView, EngineError> {
        let permit = self.admit(call, id, Operation::EnvironmentGet).await?;
        let seen = self.status_of(&permit).await;
        let environment = seen.session.environment.clone();
        Ok(EnvironmentView { session: seen.session, environment, observation: seen.observation })
    }

    /// Makes the environment of a session that was made without one: once, and its state stays what it is. Where that fails the session goes on without.
    pub async fn environment_create(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let permit = self.admit(call, id, Operation::EnvironmentCreate).await?;
        self.refuse_while_draining()?;
        self.refuse_while_low()?;
        let (engine, call) = (self.clone(), call.clone());
        let session = self.apart(async move { engine.environment_make(&call, &permit).await }).await?;
        Ok(self.session_view(session))
    }

    async fn environment_make(&self, call: &Call, permit: &Permit) -> Result<Session, EngineError> {
        let turn = permit.live().turn.lock().await;
        let session = self.still_admitted(&permit.session().id).await?;
        if session.environment.is_some() {
            let what = "the session has an environment".to_owned();
            return Err(EngineError::Conflict { code: Code::EnvironmentExists, what });
        }
        if session.state == State::Paused {
            return Err(EngineError::refused(&session.id, session.state, Refusal::Paused));
        }
        let template = self.template_find(&session.template).await?;
        let allow_unenforced = template.allow_unenforced || self.settings().allow_unenforced;
        let missing = self.host().await.enforced.missing();
        if !missing.is_empty() && !allow_unenforced {
            return Err(EnvironmentError::Unenforced(missing).into());
        }
        let made = self.environment_attach(call, permit, &session, &template, allow_unenforced).await?;
        drop(turn);
        self.start_command(&made, &template).await;
        Ok(made)
    }

    /// Made first, then recorded: one that is in no record is ended by the next start.
    async fn environment_attach(
        &self,
        call: &Call,
        permit: &Permit,
        session: &Session,
        template: &TemplateRecord,
        allow_unenforced: bool,
    ) -> Result<Session, EngineError> {
        let live = permit.live();
        let record = SessionEnvironment {
            id: EnvironmentId::new(self.random()?),
            generation: Generation::first().0,
            driver: self.driver().name().to_owned(),
            state: EnvironmentState::Ready,
        };
        let with = Session { environment: Some(record.clone()), ..session.clone() };
        let environment = match self.make_environment(&with, live, &template.base, allow_unenforced).await {
            Ok(environment) => environment,
            Err(fault) => return Err(self.not_made(session, fault).await),
        };
        live.set_environment(environment.clone());
        let at = self.now();
        let metadata = json!({ "environment_id": record.id });
        let entry = draft::by_caller(call, session, Operation::EnvironmentCreate, at, metadata);
        let enforced = enforced(&*environment);
        let attach = SessionAttach { id: session.id.clone(), environment: record, enforced, at, entry };
        match self.store().session_attach(attach).await {
            Ok(Changed::Done(session)) => {
                self.meters().environments.inc();
                self.watch_environment(&session, environment);
                live.publish();
                Ok(session)
            }
            other => {
                drop(live.take_environment());
                self.destroy(&session.id, &*environment).await;
                self.changed(other?)
            }
        }
    }

    /// What to answer where no environment could be made. The session has not failed: it goes on as it was.
    async fn not_made(&self, session: &Session, fault: Fault) -> EngineError {
        let failure = fault.failure;
        tracing::error!(session = %session.id, details = failure.technical_details, "no environment could be made");
        match self.still_admitted(&session.id).await {
            Ok(_) => EngineError::Init { id: session.id.clone(), failure: Box::new(failure) },
            Err(ended) => ended,
        }
    }

    /// Ends a session's environment, and so the session.
    pub async fn environment_delete(&self, call: &Call, id: &str) -> Result<SessionView, EngineError> {
        let permit = self.admit(call, id, Operation::EnvironmentDelete).await?;
        let session = permit.session();
        if session.environment.is_none() {
            return Err(EngineError::refused(&session.id, session.state, Refusal::NoEnvironment));
        }
        let detail = Some("its environment was deleted".to_owned());
        let end = End { at: self.now(), reason: TerminationReason::AdminRequest, detail, failure: None };
        let session = self.end_asked(call, session, end).await?;
        Ok(self.session_view(session))
    }
}
