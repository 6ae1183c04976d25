//! Templates: named roots with the terms that sessions made from them begin with (TP-1).

use crate::bases::{BaseError, BaseSource};
use crate::call::Call;
use crate::code::Code;
use crate::draft;
use crate::engine::{Engine, missing};
use crate::error::EngineError;
use crate::provision::ResourceCheck;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tenure_session::{InvalidField, LeaseRequest, LimitRequest, Operation, Phase, SessionLimits, Trigger, resolve};
use tenure_store::{AuditDraft, LeaseTerms, PageRequest, Profile, SessionFilter, TemplateRecord};

/// The base that every driver has, and the template of it.
const BUILT_IN: &str = "default";
const NAME_MAX: usize = 64;
/// Most words of a start command, and most bytes of all of them.
const WORDS_MAX: usize = 256;
const COMMAND_MAX: usize = 16 << 10;

/// What a new template, or a new version of one, is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TemplateRequest {
    /// Its name: 1 to 64 letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    pub name: String,
    /// Where its root comes from: a path on the server's host.
    pub source: Option<String>,
    /// A root that the server keeps already.
    pub base: Option<String>,
    /// Limits other than the default.
    pub limits: LimitRequest,
    /// The lease that its sessions begin with.
    pub lease: Option<LeaseTerms>,
    /// Variables that its programs start with.
    pub env: BTreeMap<String, String>,
    /// What is started in each new session.
    pub start_command: Option<Vec<String>>,
    /// How turns are checked.
    pub profile: Profile,
    /// Whether its sessions may go without limits that the host does not enforce.
    pub allow_unenforced: bool,
}

/// Where the root of a new template comes from.
enum Root {
    Kept(String),
    Added(BaseSource),
}

impl Engine {
    /// Makes a template, or the next version of one. Its root comes from exactly one of: a path on the host, an archive that was uploaded, a root that is
    /// there already.
    pub async fn template_create(
        &self,
        call: &Call,
        body: Result<TemplateRequest, EngineError>,
        uploaded: Option<PathBuf>,
    ) -> Result<TemplateRecord, EngineError> {
        self.admit_service(call, Operation::TemplateCreate)?;
        let request = body?;
        self.template_valid(&request)?;
        let root = template_root(&request, uploaded)?;
        let (engine, call) = (self.clone(), call.clone());
        self.apart(async move { engine.template_make(&call, request, root).await }).await
    }

    async fn template_make(
        &self,
        call: &Call,
        request: TemplateRequest,
        root: Root,
    ) -> Result<TemplateRecord, EngineError> {
        let (base, added) = match root {
            Root::Kept(base) if self.bases().base_exists(&base).await => (base, false),
            Root::Kept(base) => return Err(EngineError::field("base", format!("there is no base {base:?}"))),
            Root::Added(source) => (self.bases().base_add(&request.name, source).await?, true),
        };
        let now = self.now();
        let record = TemplateRecord {
            name: request.name,
            version: 0,
            base: base.clone(),
            limits: request.limits,
            lease: request.lease,
            env: request.env,
            start_command: request.start_command,
            profile: request.profile,
            allow_unenforced: request.allow_unenforced,
            created_at: now,
        };
        let metadata = json!({ "name": record.name, "base": base });
        let entry = draft::of_service(call, Operation::TemplateCreate, now, metadata);
        match self.store().template_put(record, entry).await {
            Ok(template) => Ok(template),
            Err(error) => {
                if added && let Err(left) = self.bases().base_remove(&base).await {
                    tracing::warn!(%base, %left, "a root that no template has was not removed");
                }
                Err(error.into())
            }
        }
    }

    /// Lists templates, by name, then version.
    pub async fn template_list(&self, call: &Call) -> Result<Vec<TemplateRecord>, EngineError> {
        self.admit_service(call, Operation::TemplateList)?;
        Ok(self.store().template_list().await?)
    }

    /// Reads a template by `name`, the newest version, or `name@version`.
    pub async fn template_get(&self, call: &Call, wanted: &str) -> Result<TemplateRecord, EngineError> {
        self.admit_service(call, Operation::TemplateGet)?;
        self.template_find(wanted).await
    }

    /// Removes a template, `name` with all its versions or one `name@version`, and the roots that nothing else uses then. Refused while a live session
    /// uses what would go.
    pub async fn template_delete(&self, call: &Call, wanted: &str) -> Result<(), EngineError> {
        self.admit_service(call, Operation::TemplateDelete)?;
        let (engine, call, wanted) = (self.clone(), call.clone(), wanted.to_owned());
        self.apart(async move { engine.template_unmake(&call, &wanted).await }).await
    }

    async fn template_unmake(&self, call: &Call, wanted: &str) -> Result<(), EngineError> {
        let not_found = || missing(Code::TemplateNotFound, format!("there is no template {wanted:?}"));
        let (name, version) = match wanted.split_once('@') {
            Some((name, version)) => (name, Some(version.parse::<u32>().map_err(|_| not_found())?)),
            None => (wanted, None),
        };
        let goes = |template: &TemplateRecord| template.name == name && version.is_none_or(|it| it == template.version);
        let (gone, left): (Vec<_>, Vec<_>) = self.store().template_list().await?.into_iter().partition(goes);
        if gone.is_empty() {
            return Err(not_found());
        }
        if self.template_in_use(wanted).await? {
            let what = format!("live sessions use {wanted}");
            return Err(EngineError::Conflict { code: Code::TemplateInUse, what });
        }
        let now = self.now();
        let metadata = json!({ "name": name, "version": version });
        let entry = draft::of_service(call, Operation::TemplateDelete, now, metadata);
        self.store().template_remove(name, version, now, entry).await?;
        for template in gone {
            // A root is this template's own where it bears its name and a version; others were there before it.
            let own = template.base.strip_prefix(name).is_some_and(|rest| rest.starts_with('@'));
            if own
                && left.iter().all(|other| other.base != template.base)
                && let Err(error) = self.bases().base_remove(&template.base).await
            {
                tracing::warn!(base = %template.base, %error, "the root of a removed template was not removed");
            }
        }
        Ok(())
    }

    async fn template_in_use(&self, wanted: &str) -> Result<bool, EngineError> {
        for phase in [Phase::Creating, Phase::Active, Phase::Paused] {
            let filter =
                SessionFilter { template: Some(wanted.to_owned()), phase: Some(phase), ..SessionFilter::default() };
            let page = self.store().session_list(filter, PageRequest { limit: 1, cursor: None }).await?;
            if !page.items.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sees to it that the built-in template is there: to be called at each start.
    pub async fn template_seed(&self) -> Result<(), EngineError> {
        if self.store().template_get(BUILT_IN, None).await?.is_some() {
            return Ok(());
        }
        let now = self.now();
        let record = TemplateRecord {
            name: BUILT_IN.to_owned(),
            version: 0,
            base: BUILT_IN.to_owned(),
            limits: LimitRequest::default(),
            lease: None,
            env: BTreeMap::new(),
            start_command: None,
            profile: Profile::Plain,
            allow_unenforced: false,
            created_at: now,
        };
        let entry = AuditDraft {
            session_id: None,
            at: now,
            old_state: None,
            new_state: None,
            trigger: Trigger::ApiCall,
            actor: "system".to_owned(),
            action: Operation::TemplateCreate.row().name.to_owned(),
            reason: Some("built in".to_owned()),
            metadata: json!({ "name": BUILT_IN, "base": BUILT_IN }),
        };
        self.store().template_put(record, entry).await?;
        Ok(())
    }

    fn template_valid(&self, request: &TemplateRequest) -> Result<(), EngineError> {
        let mut invalid = Vec::new();
        if request.name.is_empty() {
            return Err(EngineError::Invalid { missing: vec!["name".to_owned()], invalid });
        }
        if !is_name(&request.name) {
            let problem = format!("must be 1 to {NAME_MAX} letters, digits and ._- beginning with a letter or digit");
            invalid.push(InvalidField::new("name", problem));
        }
        let limits = resolve(&LimitRequest::default(), &request.limits, &self.settings().limits);
        let limits = limits.unwrap_or_else(|errors| {
            invalid.extend(errors);
            SessionLimits::default()
        });
        let lease = request.lease.map(|terms| LeaseRequest {
            ttl_ms: Some(terms.ttl_ms),
            heartbeat_interval_ms: Some(terms.heartbeat_interval_ms),
        });
        invalid.extend(self.lease_terms(lease, None).err());
        let base = request.base.as_deref().unwrap_or(BUILT_IN);
        invalid.extend(ResourceCheck { base, limits: &limits, env: &request.env }.problem());
        invalid.extend(request.start_command.as_deref().and_then(command_problem));
        if invalid.is_empty() { Ok(()) } else { Err(invalid.into()) }
    }
}

fn template_root(request: &TemplateRequest, uploaded: Option<PathBuf>) -> Result<Root, EngineError> {
    match (&request.base, &request.source, uploaded) {
        (Some(base), None, None) => Ok(Root::Kept(base.clone())),
        (None, Some(source), None) => Ok(Root::Added(BaseSource::Path(source.clone()))),
        (None, None, Some(archive)) => Ok(Root::Added(BaseSource::Archive(archive))),
        (None, None, None) => Err(EngineError::Invalid { missing: vec!["source".to_owned()], invalid: Vec::new() }),
        (Some(_), _, _) | (None, Some(_), Some(_)) => {
            Err(EngineError::field("source", "give one of source, base and an uploaded archive"))
        }
    }
}

/// Names become parts of paths in drivers.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn command_problem(command: &[String]) -> Option<InvalidField> {
    let holds = command.first().is_some_and(|program| !program.is_empty())
        && command.len() <= WORDS_MAX
        && command.iter().map(String::len).sum::<usize>() <= COMMAND_MAX
        && command.iter().all(|word| !word.contains('\0'));
    let problem =
        format!("must name a program, have at most {WORDS_MAX} words of {COMMAND_MAX} bytes in all, no zeros");
    (!holds).then(|| InvalidField::new("start_command", problem))
}

impl From<BaseError> for EngineError {
    fn from(error: BaseError) -> Self {
        match error {
            BaseError::Invalid(why) | BaseError::NotFound(why) => EngineError::field("source", why),
            BaseError::InUse(what) => EngineError::Conflict { code: Code::TemplateInUse, what },
            BaseError::Unavailable(chain) => EngineError::Unavailable { what: "the root cannot be kept now", chain },
        }
    }
}
