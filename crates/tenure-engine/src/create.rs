//! Making a session: everything of it appears together or not at all, and it is ready when the answer is given (LC-5).

use crate::call::Call;
use crate::code::Code;
use crate::draft;
use crate::ending::Fault;
use crate::engine::{Engine, missing};
use crate::error::EngineError;
use crate::exec::ExecRequest;
use crate::idempotency::{Answer, Keep, Keyed, conflict};
use crate::live::Live;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::{Environment, EnvironmentError, EnvironmentSpec, Generation, ResourceLimits};
use tenure_session::{
    EnforcedLimits, EnvironmentId, EnvironmentState, FailureType, InvalidField, Lease, LeasePolicy, LeaseRequest,
    LeaseTerms, LeaseToken, LimitRequest, Operation, Role, Session, SessionEnvironment, SessionId, State,
    TerminationReason, Timestamp, Trigger, UserId, lease_terms, resolve,
};
use tenure_store::{Changed, IdempotencyClaim, SessionCreate, SessionCreated, SessionMove, TemplateRecord};

/// How often fresh digits are tried where an ID is taken. One try in four billion fails.
const ID_TRIES: u32 = 8;
const WORDS_MAX: usize = 64;
const WORD_KEY_MAX: usize = 128;
const WORD_VALUE_MAX: usize = 1024;

/// What a new session is asked to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CreateRequest {
    /// From which template: `name`, or `name@version`.
    pub template: Option<String>,
    /// Whose it is to be; an administrator may name somebody else.
    pub owner: Option<String>,
    /// Limits other than the template's.
    pub limits: LimitRequest,
    /// The lease that it begins with.
    pub lease: Option<LeaseRequest>,
    /// The caller's own words about it: at most 64, keys of 128 bytes, values of 1024.
    pub metadata: BTreeMap<String, String>,
    /// Variables that its programs start with. Shown to nobody.
    pub env: BTreeMap<String, String>,
    /// `linux`, or `none` for a session that works nowhere.
    pub environment: Option<EnvironmentKind>,
    /// Whether to go without limits that the host does not enforce.
    pub allow_unenforced: bool,
}

/// Where a session works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// In an environment of the host's driver.
    Linux,
    /// Nowhere: it has its record and its state only.
    None,
}

/// What a request comes to, checked against template and configuration.
struct Plan {
    owner: UserId,
    template: TemplateRecord,
    limits: tenure_session::SessionLimits,
    lease: Option<LeaseTerms>,
    request: CreateRequest,
    allow_unenforced: bool,
}

impl Engine {
    /// Makes a session, and answers when it is ready. Goes on where the caller does not wait.
    pub async fn session_create(
        &self,
        call: &Call,
        body: Result<CreateRequest, EngineError>,
    ) -> Result<Answer<Session>, EngineError> {
        self.admit_service(call, Operation::SessionCreate)?;
        let (keep, claim) = match self.keyed(call, Operation::SessionCreate).await? {
            Keyed::Without => (None, None),
            Keyed::First(keep, claim) => (Some(keep), Some(claim)),
            Keyed::Answered(answer, _) => return Ok(Answer::Replayed(answer)),
            Keyed::Done(keep, record) => return self.created_before(keep, &record.claim.session_id).await,
        };
        self.refuse_while_draining()?;
        self.refuse_while_low()?;
        let plan = self.plan(call, body?).await?;
        let (engine, call) = (self.clone(), call.clone());
        // Apart, its turn under its key included: whoever stops waiting leaves no session half made, and who asks again hears when it is made.
        self.apart(async move {
            let (session, live) = engine.insert(&call, &plan, claim.as_deref()).await?;
            let result = match plan.request.environment {
                Some(EnvironmentKind::None) => Ok(session),
                Some(EnvironmentKind::Linux) | None => {
                    engine.provision(session, &live, &plan.template, plan.allow_unenforced).await
                }
            };
            Ok(Answer::Fresh { result, keep })
        })
        .await
    }

    /// The answer to a creation that came before and was not answered: from what became of the session.
    async fn created_before(&self, keep: Keep, id: &SessionId) -> Result<Answer<Session>, EngineError> {
        let session = self.store().session_get(id).await?;
        let session = session.ok_or_else(|| EngineError::Internal(format!("{id} vanished")))?;
        let failure = session.end.as_ref().filter(|end| never_made(end.reason));
        let result = match failure.and_then(|end| end.failure.clone()) {
            Some(failure) => Err(EngineError::Init { id: id.clone(), failure: Box::new(failure) }),
            None => self.archived_words(session).await,
        };
        Ok(Answer::Fresh { result, keep: Some(keep) })
    }

    async fn plan(&self, call: &Call, request: CreateRequest) -> Result<Plan, EngineError> {
        let mut invalid = words_invalid(&request);
        let owner = match request.owner.as_deref().map(str::parse::<UserId>) {
            None => call.caller.user.clone(),
            Some(Ok(owner)) if owner == call.caller.user || call.caller.role == Role::Admin => owner,
            Some(Ok(_)) => return Err(EngineError::Denied),
            Some(Err(error)) => {
                invalid.push(InvalidField::new("owner", format!("must be {}", error.form)));
                call.caller.user.clone()
            }
        };
        let wanted = request.template.as_deref().unwrap_or(&self.settings().default_template);
        let template = self.template_find(wanted).await?;
        let lease = self.lease_terms(request.lease, template.lease).unwrap_or_else(|error| {
            invalid.push(error);
            None
        });
        let limits = resolve(&request.limits, &template.limits, &self.settings().limits).unwrap_or_else(|errors| {
            invalid.extend(errors);
            self.settings().limits.default
        });
        let mut env = template.env.clone();
        env.extend(request.env.clone());
        invalid.extend(ResourceCheck { base: &template.base, limits: &limits, env: &env }.problem());
        if !invalid.is_empty() {
            return Err(invalid.into());
        }
        let allow_unenforced =
            request.allow_unenforced || template.allow_unenforced || self.settings().allow_unenforced;
        if request.environment != Some(EnvironmentKind::None) && !allow_unenforced {
            let missing = self.host().await.enforced.missing();
            if !missing.is_empty() {
                return Err(EnvironmentError::Unenforced(missing).into());
            }
        }
        Ok(Plan { owner, template, limits, lease, request, allow_unenforced })
    }

    /// A template by `name` or `name@version`.
    pub(crate) async fn template_find(&self, wanted: &str) -> Result<TemplateRecord, EngineError> {
        let not_found = || missing(Code::TemplateNotFound, format!("there is no template {wanted:?}"));
        let (name, version) = match wanted.split_once('@') {
            Some((name, version)) => (name, Some(version.parse().map_err(|_| not_found())?)),
            None => (wanted, None),
        };
        self.store().template_get(name, version).await?.ok_or_else(not_found)
    }

    pub(crate) fn lease_terms(
        &self,
        request: Option<LeaseRequest>,
        template: Option<LeaseTerms>,
    ) -> Result<Option<LeaseTerms>, InvalidField> {
        if request.is_none() && template.is_none() {
            return Ok(None);
        }
        let settings = self.settings();
        let default = LeaseTerms {
            ttl_ms: settings.lease_default_ttl_ms,
            heartbeat_interval_ms: settings.lease_default_heartbeat_interval_ms,
        };
        let policy = LeasePolicy { default, ttl_ms: settings.lease_ttl_ms };
        lease_terms(&request.unwrap_or_default(), template, &policy).map(Some)
    }

    /// The row, its limits, its lease, its first audit entry and its state document: together, durable.
    async fn insert(
        &self,
        call: &Call,
        plan: &Plan,
        claim: Option<&(dyn Fn(SessionId, Option<tenure_session::ExecId>) -> IdempotencyClaim + Send + Sync)>,
    ) -> Result<(Session, Arc<Live>), EngineError> {
        for _ in 0..ID_TRIES {
            let now = self.now();
            let id = SessionId::new(now, self.random()?);
            let session = self.new_session(id, plan, now)?;
            let mut entry = draft::by_caller(
                call,
                &session,
                Operation::SessionCreate,
                now,
                json!({ "template": session.template, "owner": session.owner }),
            );
            entry.old_state = None;
            let create = SessionCreate {
                state_document: json!({}),
                claim: claim.map(|claim| claim(session.id.clone(), None)),
                session,
                entry,
            };
            let session = create.session.clone();
            // Before its row is: who ends it as soon as that can be read finds it here.
            let Some(live) = self.live().begin(&session) else { continue };
            let created = self.store().session_create(create).await;
            if created != Ok(SessionCreated::Made) {
                self.live().forget(&session.id, &live);
            }
            match created? {
                SessionCreated::Made => {
                    tracing::info!(session = %session.id, owner = %session.owner, template = %session.template, "session created");
                    return Ok((session, live));
                }
                SessionCreated::IdTaken => tracing::info!("a session ID was taken; trying other digits"),
                SessionCreated::Claimed(_) => return Err(conflict()),
            }
        }
        let chain = "every ID that was tried is taken".to_owned();
        Err(EngineError::Unavailable { what: "no session could be created", chain })
    }

    fn new_session(&self, id: SessionId, plan: &Plan, now: Timestamp) -> Result<Session, EngineError> {
        let without = plan.request.environment == Some(EnvironmentKind::None);
        let environment = SessionEnvironment {
            id: EnvironmentId::new(self.random()?),
            generation: Generation::first().0,
            driver: self.driver().name().to_owned(),
            state: EnvironmentState::Provisioning,
        };
        let lifetime_ends_at = now.plus_ms(plan.limits.max_lifetime_ms);
        let lease = plan.lease.map(|terms| Lease {
            token: LeaseToken(1),
            ttl_ms: terms.ttl_ms,
            heartbeat_interval_ms: terms.heartbeat_interval_ms,
            expires_at: now.plus_ms(terms.ttl_ms).min(lifetime_ends_at),
            last_heartbeat_at: None,
        });
        let mut variables = plan.template.env.clone();
        variables.extend(plan.request.env.clone());
        Ok(Session {
            id,
            owner: plan.owner.clone(),
            template: format!("{}@{}", plan.template.name, plan.template.version),
            state: if without { State::Ready } else { State::Created },
            resumes_to: None,
            created_at: now,
            updated_at: now,
            limits: plan.limits,
            enforced: EnforcedLimits::default(),
            lifetime_ends_at,
            last_activity_at: now,
            last_activity: Operation::SessionCreate.row().name.to_owned(),
            lease_token_last: lease.map_or_else(LeaseToken::default, |lease| lease.token),
            lease,
            end: None,
            deleted_at: None,
            archived_at: None,
            purged_at: None,
            environment: (!without).then_some(environment),
            metadata: plan.request.metadata.clone(),
            variables,
        })
    }

    /// Makes the environment of a session and moves it to ready. Where that fails the session is failed, and nothing of its environment is left.
    async fn provision(
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
fn never_made(reason: TerminationReason) -> bool {
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

fn words_invalid(request: &CreateRequest) -> Vec<InvalidField> {
    let mut invalid = Vec::new();
    if request.metadata.len() > WORDS_MAX {
        invalid.push(InvalidField::new("metadata", format!("has more than {WORDS_MAX} words")));
    }
    for (key, value) in &request.metadata {
        if key.is_empty() || key.len() > WORD_KEY_MAX || value.len() > WORD_VALUE_MAX || key.contains(':') {
            let problem =
                format!("keys are 1 to {WORD_KEY_MAX} bytes without a colon, values at most {WORD_VALUE_MAX}");
            invalid.push(InvalidField::new("metadata", problem));
            break;
        }
    }
    invalid
}
