//! The engine: its parts, its clock, and what every operation shares.

use crate::bases::Bases;
use crate::code::Code;
use crate::denial::Denials;
use crate::downtime;
use crate::error::EngineError;
use crate::host::{HostGauge, HostWatch};
use crate::keys::KeyRing;
use crate::live::{Live, LiveTable};
use crate::meters::Meters;
use crate::running::RunningTable;
use crate::settings::Settings;
use crate::timeline::{HostClock, Timeline};
use crate::waiting::Waiting;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tenure_environment::{Driver, HostReport};
use tenure_session::{Operation, Presence, Session, SessionId, Timestamp};
use tenure_store::{AuditDraft, Store};

/// What an engine is made of.
pub struct Parts {
    /// What remembers.
    pub store: Arc<dyn Store>,
    /// What makes environments.
    pub driver: Arc<dyn Driver>,
    /// What keeps the roots that templates start from.
    pub bases: Arc<dyn Bases>,
    /// The host's clocks.
    pub clock: Box<dyn HostClock>,
    /// What reads how much of the host is free.
    pub gauge: Box<dyn HostGauge>,
    /// What can be set.
    pub settings: Settings,
    /// Where metrics are registered.
    pub registry: prometheus_client::registry::Registry,
}

/// Runs sessions. Cheap to clone: all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    driver: Arc<dyn Driver>,
    bases: Arc<dyn Bases>,
    timeline: Timeline,
    settings: Settings,
    live: LiveTable,
    running: RunningTable,
    keys: KeyRing,
    waiting: Waiting,
    denials: Denials,
    meters: Meters,
    registry: prometheus_client::registry::Registry,
    host: OnceLock<HostReport>,
    host_watch: HostWatch,
    draining: AtomicBool,
    retaining: tokio::sync::Mutex<()>,
}

impl Engine {
    /// Begins on what the store remembers. [`Engine::recover`] must have returned before the first request is served.
    pub async fn begin(parts: Parts) -> Result<Engine, EngineError> {
        let mut registry = parts.registry;
        let stored = parts.store.clock_get().await?;
        let seen_at = stored.as_ref().map(|anchor| anchor.seen_at);
        let timeline = Timeline::new(parts.clock, stored);
        if let Some(seen_at) = seen_at {
            downtime::make_good(&*parts.store, seen_at, timeline.now()).await?;
        }
        parts.store.clock_put(timeline.anchor()).await?;
        let keys = KeyRing::new(parts.store.key_list().await?);
        let shared = Shared {
            store: parts.store,
            driver: parts.driver,
            bases: parts.bases,
            timeline,
            settings: parts.settings,
            live: LiveTable::default(),
            running: RunningTable::default(),
            keys,
            waiting: Waiting::default(),
            denials: Denials::default(),
            meters: Meters::register(&mut registry),
            registry,
            host: OnceLock::new(),
            host_watch: HostWatch::new(parts.gauge),
            draining: AtomicBool::new(false),
            retaining: tokio::sync::Mutex::new(()),
        };
        Ok(Engine { shared: Arc::new(shared) })
    }

    /// Now, on the line of time that everything is decided on.
    pub fn now(&self) -> Timestamp {
        self.shared.timeline.now()
    }

    /// What can be set, as it was.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Whether the store works, proven by a write.
    pub async fn probe(&self) -> Result<(), EngineError> {
        Ok(self.store().probe().await?)
    }

    /// No new session and no new work from now on; what goes on may finish.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Whether it takes new work.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// How many sessions something is kept of in memory: those that live, and those whose environment is being taken down.
    pub fn live_count(&self) -> usize {
        self.live().count()
    }

    pub(crate) fn refuse_while_draining(&self) -> Result<(), EngineError> {
        if self.is_draining() {
            let chain = "draining".to_owned();
            return Err(EngineError::Unavailable { what: "the service is about to stop", chain });
        }
        Ok(())
    }

    /// What the host can give, looked at once.
    pub(crate) async fn host(&self) -> &HostReport {
        match self.shared.host.get() {
            Some(host) => host,
            None => {
                let report = self.driver().host().await;
                self.shared.host.get_or_init(|| report)
            }
        }
    }

    pub(crate) fn host_watch(&self) -> &HostWatch {
        &self.shared.host_watch
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        &*self.shared.driver
    }

    pub(crate) fn bases(&self) -> &dyn Bases {
        &*self.shared.bases
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.shared.timeline
    }

    pub(crate) fn live(&self) -> &LiveTable {
        &self.shared.live
    }

    pub(crate) fn running(&self) -> &RunningTable {
        &self.shared.running
    }

    pub(crate) fn keys(&self) -> &KeyRing {
        &self.shared.keys
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.shared.waiting
    }

    pub(crate) fn denials(&self) -> &Denials {
        &self.shared.denials
    }

    pub(crate) fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    /// One pass of retention at a time.
    pub(crate) fn retaining(&self) -> &tokio::sync::Mutex<()> {
        &self.shared.retaining
    }

    pub(crate) fn registry(&self) -> &prometheus_client::registry::Registry {
        &self.shared.registry
    }

    /// What the law wants to know of a session beyond what is stored.
    pub(crate) fn presence(&self, session: &Session) -> Presence {
        match self.live().get(&session.id) {
            Some(live) => live.presence(),
            // Nothing is known of an ended session, and nothing need be.
            None if session.end.is_some() => Presence::default(),
            None => Presence::after_crash(session, self.now()),
        }
    }

    /// Work in a session is over.
    pub(crate) fn work_ends(&self, id: &SessionId, live: &Live, operation: Operation) {
        let now = self.now();
        // Where the runtime is gone the service is, and the next start adds what was not stored.
        if self.live().work_ends(id, live, now, operation)
            && !live.ended.is_cancelled()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (engine, id) = (self.clone(), id.clone());
            runtime.spawn(async move { engine.activity_store(&id, now, operation).await });
        }
    }

    /// Stores that a session was worked in. Where that fails the next activity does it: until then a start would believe it idle for longer than it was,
    /// by no more than is added then.
    pub(crate) async fn activity_store(&self, id: &SessionId, at: Timestamp, operation: Operation) {
        if let Err(error) = self.store().session_activity(id, at, operation.row().name).await {
            tracing::warn!(session = %id, %error, "activity was not stored");
        }
    }

    /// Does something in a task of its own: whoever stops waiting leaves nothing half done.
    pub(crate) async fn apart<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        tokio::spawn(work).await.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string())))
    }

    /// Adds one entry to the audit.
    pub(crate) async fn audit(&self, entry: AuditDraft) -> Result<(), EngineError> {
        Ok(self.store().audit_append(vec![entry]).await?)
    }

    /// Fresh bytes that nobody can foresee.
    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], EngineError> {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes).map_err(|error| EngineError::Unavailable {
            what: "the host has no random numbers",
            chain: error.to_string(),
        })?;
        Ok(bytes)
    }
}

/// What is not there: which code, and what.
pub(crate) fn missing(code: Code, what: impl Into<String>) -> EngineError {
    EngineError::Missing { code, what: what.into() }
}
