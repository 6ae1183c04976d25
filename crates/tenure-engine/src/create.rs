//! Making a session: everything of it appears together or not at all, and it is ready when the answer is given (LC-5).

use crate::call::Call;
use crate::code::Code;
use crate::draft;
use crate::engine::{Engine, missing};
use crate::error::EngineError;
use crate::idempotency::{Answer, Keep, Keyed, conflict};
use crate::live::Live;
use crate::provision::{ResourceCheck, never_made};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tenure_environment::{EnvironmentError, Generation};
use tenure_session::{
    EnforcedLimits, EnvironmentId, EnvironmentState, InvalidField, Lease, LeasePolicy, LeaseRequest, LeaseTerms,
    LeaseToken, LimitRequest, Operation, Role, Session, SessionEnvironment, SessionId, State, Timestamp, UserId,
    lease_terms, resolve,
};
use tenure_store::{IdempotencyClaim, SessionCreate, SessionCreated, TemplateRecord};

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
