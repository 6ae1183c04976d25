//! The fake environment and its driver, seen from outside.

use crate::adopt::{Adopt, Adopted};
use crate::agent::{Client, new_key};
use crate::driver::{Driver, Environment};
use crate::error::EnvironmentError;
use crate::fake::pipe::pipe;
use crate::fake::program::{Call, Program, Run, Script};
use crate::fake::tree::Tree;
use crate::id::{EnvironmentId, Generation};
use crate::limits::{Enforced, ResourceLimits};
use crate::observe::{EnvironmentEnd, HostReport, Observation};
use crate::spec::EnvironmentSpec;
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tenure_protocol::Key;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};

/// Makes environments that exist in memory only.
pub struct FakeDriver {
    program: Arc<Program>,
    enforced: Enforced,
    failures: Mutex<Vec<EnvironmentError>>,
    made: Mutex<Vec<Arc<FakeEnvironment>>>,
    adoptions: Mutex<HashMap<EnvironmentId, Adoption>>,
}

/// What a fake driver finds instead of what there is; see [`FakeDriver::adopt_as`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoption {
    /// Its agent does not answer.
    Silent,
    /// It has ended so.
    Ended(EnvironmentEnd),
    /// This proves that it is lost.
    Lost(String),
    /// Its processes are gone with another boot, and so are its files.
    LostFiles,
    /// Nothing can be found out now.
    Unavailable,
}

impl FakeDriver {
    /// A driver in whose environments programs do what this closure says.
    pub fn new(program: impl Fn(&Call) -> Script + Send + Sync + 'static) -> FakeDriver {
        let (failures, made, adoptions) = (Mutex::default(), Mutex::default(), Mutex::default());
        FakeDriver { program: Arc::new(program), enforced: Enforced::ALL, failures, made, adoptions }
    }

    /// The same on a host that enforces only these limits.
    pub fn enforcing(self, enforced: Enforced) -> FakeDriver {
        FakeDriver { enforced, ..self }
    }

    /// Lets the next creation fail.
    pub fn fail_next(&self, error: EnvironmentError) {
        locked(&self.failures).push(error);
    }

    /// Lets every adoption of this environment find this, until told otherwise.
    pub fn adopt_as(&self, id: &EnvironmentId, found: Option<Adoption>) {
        let mut adoptions = locked(&self.adoptions);
        match found {
            Some(found) => drop(adoptions.insert(id.clone(), found)),
            None => drop(adoptions.remove(id)),
        }
    }

    /// The host boots: every process is gone, and the files are there.
    pub fn reboot(&self) {
        for made in locked(&self.made).iter().filter(|made| made.state.end.borrow().is_none()) {
            *locked(&made.state.booted) = true;
            made.state.finish(EnvironmentEnd::Unknown);
        }
    }

    /// The last life of an environment that a boot ended, where its files are there.
    fn survivor(&self, id: &EnvironmentId) -> Option<Arc<FakeEnvironment>> {
        let told_lost = locked(&self.adoptions).get(id) == Some(&Adoption::LostFiles);
        let last = self.environment(id).filter(|last| !*locked(&last.state.forgotten) && *locked(&last.state.booted));
        last.filter(|_| !told_lost)
    }

    fn make(&self, spec: EnvironmentSpec, tree: Tree) -> Result<Arc<dyn Environment>, EnvironmentError> {
        spec.validate()?;
        if let Some(error) = locked(&self.failures).pop() {
            return Err(error);
        }
        if spec.base == "no-such-base" {
            return Err(EnvironmentError::UnknownBase { name: spec.base });
        }
        let missing = self.enforced.missing();
        if !missing.is_empty() && !spec.allow_unenforced {
            return Err(EnvironmentError::Unenforced(missing));
        }
        let made = Arc::new(FakeEnvironment {
            state: Arc::new(State::new(spec, tree, self.program.clone())?),
            enforced: self.enforced,
        });
        locked(&self.made).push(made.clone());
        Ok(made)
    }

    /// The environment of this name, made last, whether it lives or not.
    pub fn environment(&self, id: &EnvironmentId) -> Option<Arc<FakeEnvironment>> {
        locked(&self.made).iter().rev().find(|made| made.id() == id).cloned()
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn host(&self) -> HostReport {
        let notes = vec!["nothing here is isolated: these environments exist in memory only".to_owned()];
        HostReport { walls: Vec::new(), enforced: self.enforced, notes }
    }

    async fn create(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        self.make(spec, Tree::default())
    }

    async fn remake(&self, spec: EnvironmentSpec) -> Result<Arc<dyn Environment>, EnvironmentError> {
        let survivor = self.survivor(&spec.id).filter(|survivor| survivor.generation() < spec.generation);
        let survivor = survivor.ok_or(EnvironmentError::Gone)?;
        let files = survivor.tree().survive();
        let made = self.make(spec, files)?;
        *locked(&survivor.state.forgotten) = true;
        Ok(made)
    }

    async fn adopt(&self, adopt: Adopt) -> Result<Adopted, EnvironmentError> {
        let lost = |evidence: String| Ok(Adopted::Lost { evidence });
        let told = locked(&self.adoptions).get(&adopt.id).cloned();
        let found = self.environment(&adopt.id).filter(|found| !*locked(&found.state.forgotten));
        let silent = match told {
            Some(Adoption::Unavailable) => return Err(EnvironmentError::Unavailable("the fake was told so".into())),
            Some(Adoption::Ended(end)) => return Ok(Adopted::Ended(end)),
            Some(Adoption::Lost(evidence)) => return lost(evidence),
            Some(Adoption::Silent) => true,
            Some(Adoption::LostFiles) | None => false,
        };
        let Some(found) = found else { return lost("nothing is left of it".into()) };
        if *locked(&found.state.booted) {
            let (evidence, generation) = ("the host has booted since".to_owned(), found.generation());
            return match self.survivor(&adopt.id) {
                Some(_) if generation <= adopt.generation => Ok(Adopted::Survived { generation, evidence }),
                Some(_) => lost(format!("its files are of generation {generation}, stored is {}", adopt.generation)),
                None => lost(format!("{evidence}; its files did not survive")),
            };
        }
        if let Some(end) = *found.state.end.borrow() {
            return Ok(Adopted::Ended(end));
        }
        let generation = found.generation();
        if generation != adopt.generation {
            return lost(format!("it lives in generation {generation}, stored is {}", adopt.generation));
        }
        let frozen = *found.state.frozen.borrow();
        Ok(match (frozen, silent || found.state.silent.borrow().to_owned()) {
            (true, _) => Adopted::Frozen(found),
            (false, true) => Adopted::Silent(found),
            (false, false) => Adopted::Alive(found),
        })
    }

    async fn known(&self) -> Result<Vec<EnvironmentId>, EnvironmentError> {
        let made = locked(&self.made);
        let mut known: Vec<EnvironmentId> =
            made.iter().filter(|made| !*locked(&made.state.forgotten)).map(|made| made.id().clone()).collect();
        known.sort();
        known.dedup();
        Ok(known)
    }

    async fn discard(&self, id: &EnvironmentId) -> Result<(), EnvironmentError> {
        for made in locked(&self.made).iter().filter(|made| made.id() == id) {
            made.state.finish(EnvironmentEnd::Killed(9));
            *locked(&made.state.forgotten) = true;
        }
        Ok(())
    }
}

/// An environment in memory.
pub struct FakeEnvironment {
    state: Arc<State>,
    enforced: Enforced,
}

/// What the environment and the connections to its agent share.
pub(super) struct State {
    pub(super) spec: EnvironmentSpec,
    pub(super) key: Key,
    pub(super) program: Arc<Program>,
    pub(super) tree: Mutex<Tree>,
    pub(super) runs: Mutex<BTreeMap<String, Run>>,
    pub(super) ports: Mutex<HashMap<u16, mpsc::UnboundedSender<DuplexStream>>>,
    pub(super) deadline_boot_ms: Mutex<Option<u64>>,
    pub(super) next_pid: AtomicU32,
    limits: Mutex<ResourceLimits>,
    frozen: watch::Sender<bool>,
    /// What the kernel would have counted.
    counted: Mutex<Observation>,
    /// Its agent does not answer.
    silent: watch::Sender<bool>,
    /// Nobody needs to know of it any more.
    forgotten: Mutex<bool>,
    /// It ended with the boot that it ran in.
    pub(super) booted: Mutex<bool>,
    end: watch::Sender<Option<EnvironmentEnd>>,
}

impl State {
    fn new(spec: EnvironmentSpec, tree: Tree, program: Arc<Program>) -> Result<State, EnvironmentError> {
        Ok(State {
            key: new_key()?,
            program,
            tree: Mutex::new(tree),
            runs: Mutex::default(),
            ports: Mutex::default(),
            deadline_boot_ms: Mutex::new(spec.deadline_boot_ms),
            next_pid: AtomicU32::new(2),
            limits: Mutex::new(spec.limits),
            frozen: watch::Sender::new(false),
            counted: Mutex::default(),
            silent: watch::Sender::new(false),
            forgotten: Mutex::new(false),
            booted: Mutex::new(false),
            end: watch::Sender::new(None),
            spec,
        })
    }

    /// Waits for the environment's end.
    pub(super) async fn end(&self) -> EnvironmentEnd {
        let mut end = self.end.subscribe();
        // The sender lives in `self`, so the channel cannot close before the value comes.
        end.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(EnvironmentEnd::Unknown)
    }

    /// Waits while the environment is frozen, or its agent silent.
    pub(super) async fn thawed(&self) {
        let _ = self.frozen.subscribe().wait_for(|frozen| !frozen).await;
        let _ = self.silent.subscribe().wait_for(|silent| !silent).await;
    }

    pub(super) fn finish(&self, how: EnvironmentEnd) -> EnvironmentEnd {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(how);
            first
        });
        self.end.borrow().unwrap_or(how)
    }

    fn alive(&self) -> Result<(), EnvironmentError> {
        if self.end.borrow().is_some() { Err(EnvironmentError::Gone) } else { Ok(()) }
    }
}

impl FakeEnvironment {
    /// Its files, to look at and to change behind its back.
    pub fn tree(&self) -> MutexGuard<'_, Tree> {
        locked(&self.state.tree)
    }

    /// Listens on a port inside: each connection that is dialled comes out here.
    pub fn listen(&self, port: u16) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        locked(&self.state.ports).insert(port, sender);
        receiver
    }

    /// The hard deadline it was last given. It does not act on it, having no clock.
    pub fn deadline_boot_ms(&self) -> Option<u64> {
        *locked(&self.state.deadline_boot_ms)
    }

    /// Its limits as they are now.
    pub fn limits(&self) -> ResourceLimits {
        *locked(&self.state.limits)
    }

    /// From now on the kernel has counted this.
    pub fn count(&self, counted: Observation) {
        *locked(&self.state.counted) = counted;
    }

    /// Its agent stops answering, or answers again. It stays alive.
    pub fn set_silent(&self, silent: bool) {
        self.state.silent.send_replace(silent);
    }

    /// It dies, as if something had killed it.
    pub fn die(&self, how: EnvironmentEnd) {
        self.state.finish(how);
    }
}

#[async_trait]
impl Environment for FakeEnvironment {
    fn id(&self) -> &EnvironmentId {
        &self.state.spec.id
    }

    fn generation(&self) -> Generation {
        self.state.spec.generation
    }

    fn enforced(&self) -> Enforced {
        self.enforced
    }

    async fn connect(&self) -> Result<Client, EnvironmentError> {
        self.state.alive()?;
        let (ours, theirs, files) = pipe();
        let state = self.state.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = crate::fake::agent::serve(&state, theirs, files) => {}
                _ = state.end() => {}
            }
        });
        let client = Client::handshake(Box::new(ours), &self.state.key, self.id(), self.generation()).await;
        // A connection that breaks because the environment ended says so.
        client.map_err(|error| self.state.alive().err().unwrap_or(error.into()))
    }

    async fn observe(&self) -> Result<Observation, EnvironmentError> {
        self.state.alive()?;
        let running = locked(&self.state.runs).values().filter(|run| run.seen.borrow().ended.is_none()).count();
        Ok(Observation {
            pids: Some(running as u64 + 1),
            disk_limit_bytes: self.enforced.disk.then(|| self.limits().disk_bytes),
            frozen: *self.state.frozen.borrow(),
            ..*locked(&self.state.counted)
        })
    }

    async fn freeze(&self) -> Result<(), EnvironmentError> {
        self.state.alive()?;
        self.state.frozen.send_replace(true);
        Ok(())
    }

    async fn thaw(&self) -> Result<(), EnvironmentError> {
        self.state.alive()?;
        self.state.frozen.send_replace(false);
        Ok(())
    }

    async fn set_limits(&self, limits: &ResourceLimits) -> Result<(), EnvironmentError> {
        self.state.alive()?;
        limits.validate()?;
        *locked(&self.state.limits) = *limits;
        Ok(())
    }

    async fn set_deadline(&self, deadline_boot_ms: Option<u64>) -> Result<(), EnvironmentError> {
        self.state.alive()?;
        if *self.state.frozen.borrow() {
            // It hears of it once it is thawed.
            *locked(&self.state.deadline_boot_ms) = deadline_boot_ms;
            return Ok(());
        }
        Ok(self.connect().await?.deadline(deadline_boot_ms).await?)
    }

    async fn wait_end(&self) -> EnvironmentEnd {
        self.state.end().await
    }

    async fn destroy(&self, _grace: Duration) -> Result<EnvironmentEnd, EnvironmentError> {
        let frozen = *self.state.frozen.borrow();
        *locked(&self.state.forgotten) = true;
        Ok(self.state.finish(if frozen { EnvironmentEnd::Killed(9) } else { EnvironmentEnd::Exited(0) }))
    }
}
