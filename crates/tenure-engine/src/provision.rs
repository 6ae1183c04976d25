//! The environment of a new session: made while its state is written down, then ready, or failed with nothing of it left (LC-5).

use crate::draft;
use crate::ending::Fault;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::exec::ExecRequest;
use crate::live::Live;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::{Environment, EnvironmentError, EnvironmentSpec, Generation, ResourceLimits};
use tenure_session::{
    EnforcedLimits, EnvironmentState, FailureType, InvalidField, Operation, Session, SessionEnvironment, State,
    TerminationReason, Trigger,
};
use tenure_store::{Changed, SessionMove, TemplateRecord};

impl Engine {
    /// Makes the environment of a session and moves it to ready. Where that fails the session is failed, and nothing of its environment is left.
    pub(crate) async fn provision(
        &self,
        session: Session,
        live: &Arc<Live>,
        template: &TemplateRecord,
        allow_unenforced: bool,
    ) -> Result<Session, EngineError> {
        let turn = live.turn.lock().await;
        let making = self.make_environment(&session, live, &template.base, allow_unenforced);
        // The state is written down while the environment is being made.
        let (moved, made) = tokio::join!(self.advance(&session, live, State::Initializing, None), making);
        let ready = match (moved, made) {
            (Ok(session), Ok(environment)) => self.make_ready(&session, live, environment).await,
            (Err(error), Ok(environment)) => {
                self.destroy(&session.id, &*environment).await;
                Err(not_recorded(&error))
            }
            (_, Err(fault)) => Err(fault),
        };
        drop(turn);
        match ready {
            Ok(ready) => {
                self.start_command(&ready, template).await;
                Ok(ready)
            }
            Err(fault) => Err(self.init_failed(&session, fault).await),
        }
    }

    async fn make_ready(
        &self,
        session: &Session,
        live: &Arc<Live>,
        environment: Arc<dyn Environment>,
    ) -> Result<Session, Fault> {
        // Before the session is seen to be ready: its first request finds it.
        live.set_environment(environment.clone());
        match self.advance(session, live, State::Ready, Some(&*environment)).await {
            Ok(ready) => {
                self.meters().environments.inc();
                self.watch_environment(&ready, environment);
                Ok(ready)
            }
            Err(error) => {
                drop(live.take_environment());
                self.destroy(&session.id, &*environment).await;
                Err(not_recorded(&error))
            }
        }
    }

    /// Makes an environment, until it is ready, its time is up or its session has ended.
    pub(crate) async fn make_environment(
        &self,
        session: &Session,
        live: &Live,
        base: &str,
        allow_unenforced: bool,
    ) -> Result<Arc<dyn Environment>, Fault> {
        let spec = self.spec(session, base, allow_unenforced).map_err(|error| init_fault("spec", error.to_string()))?;
        // Before there is anything: so that nobody takes it for an environment of nobody.
        live.expect_environment(spec.id.as_str());
        let timeout = Duration::from_millis(self.settings().init_timeout_ms);
        let begun = std::time::Instant::now();
        let made = tokio::select! {
            made = tokio::time::timeout(timeout, self.driver().create(spec)) => made,
            () = live.ended.cancelled() => return Err(init_fault("ended", "the session ended".to_owned())),
        };
        match made {
            Ok(Ok(environment)) => {
                self.meters().environment_seconds.observe(begun.elapsed().as_secs_f64());
                Ok(environment)
            }
            Ok(Err(error)) => Err(not_made(&error)),
            Err(_) => Err(init_fault("timeout", format!("not ready within {} ms", timeout.as_millis()))),
        }
    }

    pub(crate) fn spec(
        &self,
        session: &Session,
        base: &str,
        allow_unenforced: bool,
    ) -> Result<EnvironmentSpec, EngineError> {
        let environment = session.environment.as_ref();
        let environment = environment.ok_or_else(|| EngineError::Internal("no environment to make".to_owned()))?;
        let id = environment.id.as_str().parse();
        let id = id.map_err(|_| EngineError::Internal("an environment's ID is none".to_owned()))?;
        Ok(EnvironmentSpec {
            generation: Generation(environment.generation),
            limits: resource_limits(&session.limits),
            env: session.variables.clone(),
            deadline_boot_ms: Some(self.timeline().boot_ms_at(session.lifetime_ends_at)),
            grace_ms: self.settings().grace_ms,
            allow_unenforced,
            ..EnvironmentSpec::new(id, base)
        })
    }

    /// One step further in its creation.
    async fn advance(
        &self,
        session: &Session,
        live: &Live,
        to: State,
        environment: Option<&dyn Environment>,
    ) -> Result<Session, EngineError> {
        let at = self.now();
        let record = session.environment.clone().filter(|_| environment.is_some());
        let change = SessionMove {
            id: session.id.clone(),
            from: session.state,
            to,
            at,
            resumes_to: None,
            environment: record.map(|record| SessionEnvironment { state: EnvironmentState::Ready, ..record }),
            enforced: environment.map(enforced),
            activity: (to == State::Ready).then(|| Operation::SessionCreate.row().name.to_owned()),
            entry: draft::moved(session, to, at, Trigger::ApiCall, "system"),
        };
        match self.store().session_move(change).await? {
            Changed::Done(moved) => {
                self.meters().moved(session.state, to);
                if to == State::Ready {
                    live.activity_stored(at);
                }
                live.publish();
                Ok(moved)
            }
            Changed::Refused(now) => match &now.end {
                Some(end) => {
                    let end = Box::new(end.clone());
                    Err(EngineError::Gone { id: now.id.clone(), state: now.state, end, captured: None })
                }
                None => Err(EngineError::Internal(format!("{} is {} while it is being made", now.id, now.state))),
            },
            Changed::Missing => Err(EngineError::Internal(format!("{} vanished", session.id))),
        }
    }

    /// Starts what the template starts in each session. In the ledger, but neither activity nor counted; a start that fails is in the ledger, too.
    pub(crate) async fn start_command(&self, session: &Session, template: &TemplateRecord) {
        let Some(cmd) = template.start_command.clone() else { return };
        let request = ExecRequest { cmd, background: true, stdin: Some(String::new()), ..ExecRequest::default() };
        if let Err(error) = self.exec_uncounted(session, request).await {
            tracing::warn!(session = %session.id, %error, chain = error.chain(), "the start command was not started");
        }
    }

    async fn init_failed(&self, session: &Session, fault: Fault) -> EngineError {
        let failure = fault.failure.clone();
        tracing::error!(session = %session.id, details = failure.technical_details, "no environment could be made");
        match self.fail(session, fault, json!({})).await {
            // Somebody may have ended it first; then that is its reason.
            Ok(ended) => match ended.end {
                Some(end) if !never_made(end.reason) => {
                    EngineError::Gone { id: ended.id, state: ended.state, end: Box::new(end), captured: None }
                }
                _ => EngineError::Init { id: session.id.clone(), failure: Box::new(failure) },
            },
            Err(error) => error,
        }
    }
}

/// What the kernel holds an environment to, as it is remembered.
pub(crate) fn enforced(environment: &dyn Environment) -> EnforcedLimits {
    let tenure_environment::Enforced { cpu, memory, pids, disk } = environment.enforced();
    EnforcedLimits { cpu, memory, pids, disk }
}

/// Whether a session that ended for this reason never had an environment.
pub(crate) fn never_made(reason: TerminationReason) -> bool {
    matches!(reason, TerminationReason::FailedInit | TerminationReason::FailedInfra)
}

/// Why no environment was made: the host's own failing is told from the environment's.
fn not_made(error: &EnvironmentError) -> Fault {
    match error {
        EnvironmentError::Unavailable(_) | EnvironmentError::Io(_) => {
            infra_fault("host_unavailable", error.to_string())
        }
        EnvironmentError::Unenforced(_)
        | EnvironmentError::UnknownBase { .. }
        | EnvironmentError::InvalidSpec { .. }
        | EnvironmentError::Init { .. }
        | EnvironmentError::Gone
        | EnvironmentError::Timeout
        | EnvironmentError::Agent(_) => init_fault("environment", error.to_string()),
    }
}

fn infra_fault(cause: &str, details: String) -> Fault {
    Fault::new(TerminationReason::FailedInfra, Trigger::Error, FailureType::Infra, cause, details)
}

fn init_fault(cause: &str, details: String) -> Fault {
    Fault::new(TerminationReason::FailedInit, Trigger::Error, FailureType::Init, cause, details)
}

/// An environment was made, and its session could not be moved on.
fn not_recorded(error: &EngineError) -> Fault {
    infra_fault("store_unavailable", error.chain().map_or_else(|| error.to_string(), str::to_owned))
}

/// What every environment made on these terms is made from: checked before anything is written down.
pub(crate) struct ResourceCheck<'a> {
    /// The root.
    pub base: &'a str,
    /// The limits.
    pub limits: &'a tenure_session::SessionLimits,
    /// The variables.
    pub env: &'a BTreeMap<String, String>,
}

impl ResourceCheck<'_> {
    /// What no environment can have, if anything.
    pub fn problem(&self) -> Option<InvalidField> {
        let id = tenure_environment::EnvironmentId::generate().ok()?;
        let spec = EnvironmentSpec {
            limits: resource_limits(self.limits),
            env: self.env.clone(),
            ..EnvironmentSpec::new(id, self.base)
        };
        match spec.validate() {
            Err(EnvironmentError::InvalidSpec { field, problem }) => Some(InvalidField::new(field, problem)),
            Err(other) => Some(InvalidField::new("limits", other.to_string())),
            Ok(()) => None,
        }
    }
}

/// What the environment is held to, of a session's limits.
pub(crate) fn resource_limits(limits: &tenure_session::SessionLimits) -> ResourceLimits {
    ResourceLimits {
        cpu_millis: limits.cpu_millis,
        memory_bytes: limits.memory_bytes,
        pids: limits.pids,
        disk_bytes: limits.disk_bytes,
    }
}
