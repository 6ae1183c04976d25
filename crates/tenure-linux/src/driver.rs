//! The driver: environments behind Linux walls, for whoever speaks [`tenure_environment`].

use crate::environment::LinuxEnvironment;
use crate::keeper::{Host, KeeperClient, KeeperProcess, Order};
use crate::template::{DEFAULT_TEMPLATE, HostUsr, Template, TemplateError, Templates};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tenure_environment::agent::new_key;
use tenure_environment::{Driver, Environment, EnvironmentError, EnvironmentSpec, HostReport};
use tenure_protocol::User;

/// Makes environments through a keeper.
pub struct LinuxDriver {
    keeper: Arc<KeeperClient>,
    data_dir: PathBuf,
    dies_with_keeper: bool,
}

impl LinuxDriver {
    /// Speaks to a keeper from now on. Must be called in a runtime.
    pub fn connect(keeper: KeeperProcess) -> std::io::Result<LinuxDriver> {
        let (data_dir, dies_with_keeper) = (keeper.settings.data_dir.clone(), keeper.settings.dies_with_manager);
        Ok(LinuxDriver { keeper: Arc::new(KeeperClient::new(keeper)?), data_dir, dies_with_keeper })
    }

    /// Ends all environments and the keeper, and returns when nothing is left of them.
    pub async fn shut_down(&self) {
        self.keeper.quit().await;
    }

    /// What the keeper found at its start.
    pub async fn host_found(&self) -> Result<Host, EnvironmentError> {
        self.keeper.host().await.map_err(|why| EnvironmentError::Unavailable(format!("{}: {}", why.stage, why.detail)))
    }

    /// The template of this name, `name` or `name@version`; the built-in one is made if need be.
    pub fn template(&self, reference: &str) -> Result<Template, EnvironmentError> {
        let unavailable = |error: TemplateError| match error {
            TemplateError::NotFound { .. } => EnvironmentError::UnknownBase { name: reference.to_owned() },
            other => EnvironmentError::Unavailable(other.to_string()),
        };
        let templates = Templates::open(&self.data_dir).map_err(unavailable)?;
        if reference == DEFAULT_TEMPLATE {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            return templates.default_template(now.as_millis() as u64).map_err(unavailable);
        }
        templates.resolve(reference).map_err(unavailable)
    }
}

#[async_trait]
impl Driver for LinuxDriver {
    fn name(&self) -> &'static str {
        "linux"
    }

    async fn host(&self) -> HostReport {
        crate::doctor::report(self.host_found().await)
    }

    async fn create(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        spec.validate()?;
        let template = self.template(&spec.base)?;
        let hold = template.hold().map_err(|error| EnvironmentError::Unavailable(error.to_string()))?;
        let missing = self.host_found().await?.enforced.missing();
        if !missing.is_empty() && !spec.allow_unenforced {
            return Err(EnvironmentError::Unenforced(missing));
        }
        let key = new_key().map_err(EnvironmentError::Io)?;
        let order = Order {
            environment: spec.id.to_string(),
            hostname: spec.hostname.clone(),
            base: template.root.clone(),
            host_usr: template.usr == HostUsr::Bind,
            limits: spec.limits,
            key,
            user: tenant(&template),
            grace_ms: spec.grace_ms,
            dies_with_keeper: self.dies_with_keeper,
        };
        let created = self.keeper.create(order).await;
        let created =
            created.map_err(|why| EnvironmentError::Init { stage: why.stage.into_owned(), detail: why.detail })?;
        let environment = LinuxEnvironment::new(spec.id.clone(), key, created, hold.into_fd(), self.keeper.clone());
        if let Err(error) = environment.bind(&spec, variables(&spec, &template)).await {
            // Half an environment is none.
            let _ = environment.destroy(Duration::ZERO).await;
            return Err(error);
        }
        Ok(Arc::new(environment))
    }
}

/// The template's variables, and over them the caller's.
fn variables(spec: &EnvironmentSpec, template: &Template) -> BTreeMap<String, String> {
    let mut env = template.manifest.env.clone();
    env.extend(spec.env.clone());
    env
}

/// The user that programs run as: the template's.
fn tenant(template: &Template) -> User {
    let run_as = &template.manifest.run_as;
    let name = run_as.name.clone().unwrap_or_else(|| run_as.uid.to_string());
    User { uid: run_as.uid, gid: run_as.gid, name, home: run_as.home.clone() }
}
