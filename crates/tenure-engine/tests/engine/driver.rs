//! A fake driver that can be held back, cut off and made to hang.

use async_trait::async_trait;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tenure_environment::fake::FakeDriver;
use tenure_environment::{
    Adopt, Adopted, Client, Driver, Enforced, Environment, EnvironmentEnd, EnvironmentError, EnvironmentId,
    EnvironmentSpec, Generation, HostReport, Observation, ResourceLimits,
};
use tokio::sync::watch;

/// A fake driver whose creations can be held back.
pub struct TestDriver {
    pub fake: FakeDriver,
    held: watch::Sender<bool>,
    creations: AtomicU64,
    /// The next one to make an environment again hears nothing any more.
    pub cut: Mutex<Option<Cut>>,
    /// Nothing can be taken down.
    stuck: Arc<AtomicBool>,
    /// No agent answers.
    dumb: Arc<AtomicBool>,
    /// Whoever freezes or discards an environment hangs.
    hangs: Arc<watch::Sender<bool>>,
    /// Which service it works for, counted from the first.
    service: Arc<AtomicU64>,
}

/// Where a service is killed while its driver makes an environment again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing is made yet.
    Before,
    /// It is made, and the service has not heard of it.
    After,
}

/// One service of those that run one after another. In one process nothing ends it: it hears nothing any more once it is over.
#[derive(Clone)]
pub struct Service {
    number: u64,
    now: Arc<AtomicU64>,
}

impl Service {
    /// Does not return once it is over.
    pub async fn hears(&self) {
        if self.now.load(Ordering::SeqCst) != self.number {
            std::future::pending::<()>().await;
        }
    }
}

/// An environment that services which are over do not hear of any more.
struct Heard {
    environment: Arc<dyn Environment>,
    by: Service,
    stuck: Arc<AtomicBool>,
    dumb: Arc<AtomicBool>,
    hangs: Arc<watch::Sender<bool>>,
}

#[async_trait]
impl Environment for Heard {
    fn id(&self) -> &EnvironmentId {
        self.environment.id()
    }
    fn generation(&self) -> Generation {
        self.environment.generation()
    }
    fn enforced(&self) -> Enforced {
        self.environment.enforced()
    }
    async fn connect(&self) -> Result<Client, EnvironmentError> {
        self.by.hears().await;
        if self.dumb.load(Ordering::SeqCst) {
            return Err(EnvironmentError::Unavailable("it does not answer".to_owned()));
        }
        self.environment.connect().await
    }
    async fn observe(&self) -> Result<Observation, EnvironmentError> {
        self.environment.observe().await
    }
    async fn freeze(&self) -> Result<(), EnvironmentError> {
        let _ = self.hangs.subscribe().wait_for(|hangs| !hangs).await;
        self.environment.freeze().await
    }
    async fn thaw(&self) -> Result<(), EnvironmentError> {
        self.environment.thaw().await
    }
    async fn set_limits(&self, limits: &ResourceLimits) -> Result<(), EnvironmentError> {
        self.environment.set_limits(limits).await
    }
    async fn set_deadline(&self, deadline_boot_ms: Option<u64>) -> Result<(), EnvironmentError> {
        self.environment.set_deadline(deadline_boot_ms).await
    }
    async fn wait_end(&self) -> EnvironmentEnd {
        let end = self.environment.wait_end().await;
        self.by.hears().await;
        end
    }
    async fn destroy(&self, grace: Duration) -> Result<EnvironmentEnd, EnvironmentError> {
        if self.stuck.load(Ordering::SeqCst) {
            return Err(EnvironmentError::Unavailable("it is stuck".to_owned()));
        }
        self.environment.destroy(grace).await
    }
}

impl TestDriver {
    /// One that does what it is asked.
    pub fn new(fake: FakeDriver) -> TestDriver {
        TestDriver {
            fake,
            held: watch::Sender::new(false),
            creations: AtomicU64::new(0),
            cut: Mutex::default(),
            stuck: Arc::default(),
            dumb: Arc::default(),
            hangs: Arc::new(watch::Sender::new(false)),
            service: Arc::default(),
        }
    }

    /// From now on another service asks: those before it hear nothing any more.
    pub fn next_service(&self) {
        self.service.fetch_add(1, Ordering::SeqCst);
    }

    /// The one that asks now.
    pub fn service(&self) -> Service {
        Service { number: self.service.load(Ordering::SeqCst), now: self.service.clone() }
    }

    /// Nothing is made until it is let go.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Nothing can be taken down from now on, or everything again.
    pub fn stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::SeqCst);
    }

    /// No agent answers from now on, or each of them again.
    pub fn dumb(&self, dumb: bool) {
        self.dumb.store(dumb, Ordering::SeqCst);
    }

    /// Whoever freezes or discards an environment hangs from now on, or goes on.
    pub fn hangs(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }

    /// How many hang there.
    pub fn hanging(&self) -> usize {
        self.hangs.receiver_count()
    }

    fn heard(&self, environment: Arc<dyn Environment>) -> Arc<dyn Environment> {
        let (stuck, dumb) = (self.stuck.clone(), self.dumb.clone());
        Arc::new(Heard { environment, by: self.service(), stuck, dumb, hangs: self.hangs.clone() })
    }

    /// How many creations were begun.
    pub fn creations(&self) -> u64 {
        self.creations.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Driver for TestDriver {
    fn name(&self) -> &'static str {
        "fake"
    }
    async fn host(&self) -> HostReport {
        self.fake.host().await
    }
    async fn create(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        self.creations.fetch_add(1, Ordering::SeqCst);
        let by = self.service();
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        by.hears().await;
        Ok(self.heard(self.fake.create(spec).await?))
    }
    async fn adopt(&self, adopt: Adopt) -> Result<Adopted, EnvironmentError> {
        Ok(match self.fake.adopt(adopt).await? {
            Adopted::Alive(environment) => Adopted::Alive(self.heard(environment)),
            Adopted::Frozen(environment) => Adopted::Frozen(self.heard(environment)),
            Adopted::Silent(environment) => Adopted::Silent(self.heard(environment)),
            over @ (Adopted::Ended(_) | Adopted::Survived { .. } | Adopted::Lost { .. }) => over,
        })
    }
    async fn remake(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        let cut = self.cut.lock().unwrap().take();
        let by = self.service();
        if cut == Some(Cut::Before) {
            std::future::pending::<()>().await;
        }
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        by.hears().await;
        let made = self.heard(self.fake.remake(spec).await?);
        if cut == Some(Cut::After) {
            std::future::pending::<()>().await;
        }
        Ok(made)
    }
    async fn known(&self) -> Result<Vec<EnvironmentId>, EnvironmentError> {
        self.fake.known().await
    }
    async fn discard(&self, id: &EnvironmentId) -> Result<(), EnvironmentError> {
        let _ = self.hangs.subscribe().wait_for(|hangs| !hangs).await;
        if self.stuck.load(Ordering::SeqCst) {
            return Err(EnvironmentError::Unavailable("it is stuck".to_owned()));
        }
        self.fake.discard(id).await
    }
}
