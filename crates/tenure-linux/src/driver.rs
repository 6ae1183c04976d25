//! The driver: environments behind Linux walls, for whoever speaks [`tenure_environment`].

use crate::environment::{LinuxEnvironment, Unbound};
use crate::keeper::{Host, KeeperClient, KeeperProcess, NO_FILES, Order, Over};
use crate::pool::Pool;
use crate::template::{DEFAULT_TEMPLATE, HostUsr, Template, TemplateError, Templates};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tenure_environment::agent::new_key;
use tenure_environment::{
    Adopt, Adopted, Driver, Environment, EnvironmentError, EnvironmentId, EnvironmentSpec, HostReport, ResourceLimits,
};
use tenure_protocol::User;
use tokio::sync::oneshot;

/// For how long the host is taken to be as it was: looking at it takes some hundred system calls.
const HOST_UNCHANGED: Duration = Duration::from_secs(10);

/// Makes environments through a keeper.
#[derive(Clone)]
pub struct LinuxDriver {
    shared: Arc<Shared>,
}

struct Shared {
    keeper: Arc<KeeperClient>,
    data_dir: PathBuf,
    dies_with_keeper: bool,
    pool: Pool,
    /// The built-in template as it was when the host was last looked at.
    built_in: Mutex<Option<(Template, Instant)>>,
    /// What is being made again.
    remaking: Mutex<HashSet<EnvironmentId>>,
}

impl LinuxDriver {
    /// Speaks to a keeper from now on, and makes each environment when it is asked for. Must be called in a runtime.
    pub fn connect(keeper: KeeperProcess) -> std::io::Result<LinuxDriver> {
        LinuxDriver::connect_with_pool(keeper, 0)
    }

    /// As [`LinuxDriver::connect`], and keeps so many environments ready of each template that was asked for.
    pub fn connect_with_pool(keeper: KeeperProcess, ready: usize) -> std::io::Result<LinuxDriver> {
        let (data_dir, dies_with_keeper) = (keeper.settings.data_dir.clone(), keeper.settings.dies_with_manager);
        let keeper = Arc::new(KeeperClient::new(keeper)?);
        Ok(LinuxDriver {
            shared: Arc::new(Shared {
                keeper,
                data_dir,
                dies_with_keeper,
                pool: Pool::new(ready),
                built_in: Mutex::default(),
                remaking: Mutex::default(),
            }),
        })
    }

    /// Ends all environments and the keeper, and returns when nothing is left of them.
    pub async fn shut_down(&self) {
        self.shared.keeper.quit().await;
    }

    /// How many environments of a template wait in the pool.
    pub fn pooled(&self, template: &str) -> usize {
        self.shared.pool.waiting(template)
    }

    /// Takes down what waits of one template, so that it can be removed.
    pub async fn pool_drain(&self, template: &str) {
        for unbound in self.shared.pool.drain(Some(template)) {
            unbound.discard().await;
        }
    }

    /// What the keeper found at its start.
    pub async fn host_found(&self) -> Result<Host, EnvironmentError> {
        self.shared
            .keeper
            .host()
            .await
            .map_err(|why| EnvironmentError::Unavailable(format!("{}: {}", why.stage, why.detail)))
    }

    /// One from the pool, where the spec asks for nothing that is fixed when an environment is made. Whatever the pool now lacks is made when nobody waits.
    async fn take_pooled(&self, spec: &EnvironmentSpec, template: &Template, limits_move: bool) -> Option<Unbound> {
        let usual = pooled_spec(template).ok()?;
        let fits = spec.hostname == usual.hostname && spec.grace_ms == usual.grace_ms;
        if !fits || !(limits_move || spec.limits == usual.limits) {
            return None;
        }
        let (name, reference) = (template.manifest.name.clone(), template.reference());
        let taken = self.shared.pool.take(&name, &reference);
        for unbound in taken.outdated {
            unbound.discard().await;
        }
        for _ in 0..taken.missing {
            tokio::spawn(self.clone().refill(template.clone(), name.clone(), reference.clone()));
        }
        taken.ready
    }

    async fn create_bound(
        &self,
        spec: &EnvironmentSpec,
        template: &Template,
        limits_move: bool,
    ) -> Result<LinuxEnvironment, EnvironmentError> {
        let _waits = self.shared.pool.wait();
        let env = variables(spec, template);
        match self.take_pooled(spec, template, limits_move).await {
            Some(unbound) => unbound.bind(spec, &ResourceLimits::default(), env).await,
            None => self.make(spec, template, None).await?.bind(spec, &spec.limits, env).await,
        }
    }

    async fn refill(self, template: Template, name: String, reference: String) {
        self.shared.pool.calm().await;
        let made = match pooled_spec(&template) {
            Ok(spec) => self.make(&spec, &template, None).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(unbound) => {
                if let Some(unwanted) = self.shared.pool.put(&name, &reference, unbound) {
                    unwanted.discard().await;
                }
            }
            // The next session is made cold then, and hears of it if that fails as well.
            Err(_) => self.shared.pool.failed(&name),
        }
    }

    async fn make(
        &self,
        spec: &EnvironmentSpec,
        template: &Template,
        over: Option<Over>,
    ) -> Result<Unbound, EnvironmentError> {
        let hold = template.hold().map_err(|error| EnvironmentError::Unavailable(error.to_string()))?;
        let key = new_key().map_err(EnvironmentError::Io)?;
        let order = Order {
            environment: spec.id.to_string(),
            hostname: spec.hostname.clone(),
            base: template.root.clone(),
            host_usr: template.usr == HostUsr::Bind,
            limits: spec.limits,
            key,
            user: tenant(template),
            grace_ms: spec.grace_ms,
            dies_with_keeper: self.shared.dies_with_keeper,
            over,
        };
        let created = self.shared.keeper.create(order, hold.as_fd()).await;
        let created = created.map_err(|why| match &*why.stage {
            // The host's own failing: its keeper is gone, or there is no room for what is written.
            "keeper" | "volume" => EnvironmentError::Unavailable(format!("{}: {}", why.stage, why.detail)),
            NO_FILES => EnvironmentError::Gone,
            _ => EnvironmentError::Init { stage: why.stage.into_owned(), detail: why.detail },
        })?;
        Ok(Unbound::new(spec.id.clone(), key, created, self.shared.keeper.clone()))
    }

    async fn remake_bound(
        &self,
        spec: &EnvironmentSpec,
        template: &Template,
    ) -> Result<LinuxEnvironment, EnvironmentError> {
        let keeper = &self.shared.keeper;
        let over = crate::adopt::survivor(keeper, &spec.id, spec.generation).await?.ok_or(EnvironmentError::Gone)?;
        let unbound = self.make(spec, template, Some(over)).await?;
        let environment = unbound.bind_again(spec, variables(spec, template)).await?;
        crate::adopt::supersede(keeper, &spec.id, &environment.berth().name).await;
        Ok(environment)
    }

    /// What a spec is made from, if the host enforces what it wants enforced.
    async fn check(&self, spec: &EnvironmentSpec) -> Result<(Template, Host), EnvironmentError> {
        spec.validate()?;
        let template = self.template(&spec.base)?;
        let host = self.host_found().await?;
        let missing = host.enforced.missing();
        if !missing.is_empty() && !spec.allow_unenforced {
            return Err(EnvironmentError::Unenforced(missing));
        }
        Ok((template, host))
    }

    /// The template of this name, `name` or `name@version`; the built-in one is made if need be.
    pub fn template(&self, reference: &str) -> Result<Template, EnvironmentError> {
        let unavailable = |error: TemplateError| match error {
            TemplateError::NotFound { .. } => EnvironmentError::UnknownBase { name: reference.to_owned() },
            other => EnvironmentError::Unavailable(other.to_string()),
        };
        let templates = Templates::open(&self.shared.data_dir).map_err(unavailable)?;
        if reference != DEFAULT_TEMPLATE {
            return templates.resolve(reference).map_err(unavailable);
        }
        let mut built_in = self.shared.built_in.lock().unwrap_or_else(PoisonError::into_inner);
        match &*built_in {
            Some((template, seen)) if seen.elapsed() < HOST_UNCHANGED && template.root.exists() => Ok(template.clone()),
            _ => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let template = templates.default_template(now.as_millis() as u64).map_err(unavailable)?;
                *built_in = Some((template.clone(), Instant::now()));
                Ok(template)
            }
        }
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
        let (template, host) = self.check(&spec).await?;
        // In a task of its own: whoever stops waiting leaves no half-made environment behind, and no whole one that nobody knows.
        let (driver, (sender, receiver)) = (self.clone(), oneshot::channel());
        tokio::spawn(async move {
            let made = driver.create_bound(&spec, &template, host.limits_move).await;
            let _ = sender.send(made.map(Unclaimed::new));
        });
        let made = receiver.await.map_err(|_| EnvironmentError::Unavailable("the driver is shutting down".into()))?;
        made?.claim().map(|environment| Arc::new(environment) as Arc<dyn Environment>).ok_or(EnvironmentError::Gone)
    }

    async fn adopt(&self, adopt: Adopt) -> Result<Adopted, EnvironmentError> {
        crate::adopt::adopt(&self.shared.keeper, adopt).await
    }

    async fn remake(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        let (template, _) = self.check(&spec).await?;
        let Some(turn) = Remaking::begin(&self.shared, &spec.id) else {
            return Err(EnvironmentError::Unavailable("it is being made again already".into()));
        };
        // In a task of its own, and kept where nobody waits any more: it is found by its ID and generation.
        let (driver, (sender, receiver)) = (self.clone(), oneshot::channel());
        tokio::spawn(async move {
            let made = driver.remake_bound(&spec, &template).await;
            let made = match (made, turn.ends()) {
                (Ok(environment), false) => {
                    let _ = environment.destroy(Duration::ZERO).await;
                    Err(EnvironmentError::Gone)
                }
                (made, _) => made,
            };
            let _ = sender.send(made);
        });
        let made = receiver.await.map_err(|_| EnvironmentError::Unavailable("the driver is shutting down".into()))?;
        made.map(|environment| Arc::new(environment) as Arc<dyn Environment>)
    }

    async fn known(&self) -> Result<Vec<EnvironmentId>, EnvironmentError> {
        let mut known: Vec<EnvironmentId> =
            self.shared.keeper.list().await?.iter().filter_map(|held| crate::adopt::id_of(held)).collect();
        known.sort();
        known.dedup();
        Ok(known)
    }

    async fn discard(&self, id: &EnvironmentId) -> Result<(), EnvironmentError> {
        // First, so that what is being made again is seen by one of the two.
        Remaking::forget(&self.shared, id);
        crate::adopt::discard(&self.shared.keeper, id).await
    }
}

/// An environment that is being made again: once at a time, since two lives must not write to the same files.
struct Remaking(Arc<Shared>, EnvironmentId);

impl Remaking {
    fn begin(shared: &Arc<Shared>, id: &EnvironmentId) -> Option<Remaking> {
        let first = shared.remaking.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        first.then(|| Remaking(shared.clone(), id.clone()))
    }

    /// It is over. Whether it is still wanted: what was discarded meanwhile is not.
    fn ends(self) -> bool {
        Remaking::forget(&self.0, &self.1)
    }

    fn forget(shared: &Shared, id: &EnvironmentId) -> bool {
        shared.remaking.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }
}

/// An environment on its way to whoever asked for it. Dropped on the way, it ends.
struct Unclaimed(Option<LinuxEnvironment>);

impl Unclaimed {
    fn new(environment: LinuxEnvironment) -> Unclaimed {
        Unclaimed(Some(environment))
    }

    fn claim(mut self) -> Option<LinuxEnvironment> {
        self.0.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        // Without a runtime everything is about to end anyway.
        if let (Some(environment), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { environment.destroy(Duration::ZERO).await.map(drop) });
        }
    }
}

/// What every environment in the pool is made with.
fn pooled_spec(template: &Template) -> Result<EnvironmentSpec, EnvironmentError> {
    let id = EnvironmentId::generate().map_err(EnvironmentError::Io)?;
    Ok(EnvironmentSpec::new(id, template.reference()))
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
