//! One environment, as its manager holds it.

use crate::cgroup::Group;
use crate::keeper::{Berth, Created, Files, Held, KeeperClient, Life, SOCKET_NAME, watched};
use crate::storage::{Owner, Volume, btrfs};
use crate::sys::{self, Exit};
use crate::transport::AgentStream;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenure_environment::agent::Client;
use tenure_environment::{
    AgentError, Enforced, Environment, EnvironmentEnd, EnvironmentError, EnvironmentId, EnvironmentSpec, Generation,
    Observation, ResourceLimits,
};
use tenure_protocol::Key;
use tokio::sync::watch;

/// How long an agent that has nothing else to do may take to answer.
const AGENT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a keeper may take to tell of an end that can be seen already: as long as the kernel takes to say how it was, and another keeper to start.
const TOLD_PATIENCE: Duration = Duration::from_secs(6);
/// How long after the kill everything must be gone (TM-7).
const CLEAN_PATIENCE: Duration = Duration::from_secs(5);

/// An environment behind Linux walls.
pub struct LinuxEnvironment {
    id: EnvironmentId,
    generation: Generation,
    grace_ms: u64,
    key: Key,
    berth: Berth,
    keeper: Arc<KeeperClient>,
    life: watch::Receiver<Life>,
    /// They name the agent's process and the volume for as long as this lives.
    files: Files,
    /// The deadline that the agent has not been told yet, because it is frozen.
    untold_deadline: Mutex<Option<Option<u64>>>,
}

/// An environment that belongs to no session yet and has run nobody's code.
pub struct Unbound {
    /// What its agent calls itself until it is bound.
    id: EnvironmentId,
    key: Key,
    created: Created,
    keeper: Arc<KeeperClient>,
}

impl Unbound {
    /// Takes over what the keeper made.
    pub fn new(id: EnvironmentId, key: Key, created: Created, keeper: Arc<KeeperClient>) -> Unbound {
        Unbound { id, key, created, keeper }
    }

    /// Whether its agent still runs.
    pub fn is_alive(&self) -> bool {
        self.created.life.borrow().end().is_none()
    }

    /// Gives it to its session, once: ID, generation, deadline, variables, and the limits where they are not those it was made with.
    pub async fn bind(
        self,
        spec: &EnvironmentSpec,
        made_with: &ResourceLimits,
        env: BTreeMap<String, String>,
    ) -> Result<LinuxEnvironment, EnvironmentError> {
        let unbound = self.id.clone();
        let environment = self.into_environment(spec);
        let binding = async {
            if spec.limits != *made_with {
                environment.set_limits(&spec.limits).await?;
            }
            // The keeper before the agent knows it: what a manager left half bound is then found by the next one, and fails its proof.
            let (mut client, ()) =
                tokio::try_join!(environment.connect_unbound(&unbound), environment.bind_keeper(spec))?;
            tokio::try_join!(environment.bind_agent(&mut client, spec, env), environment.own_files_apart())?;
            Ok(())
        };
        match binding.await {
            Ok(()) => Ok(environment),
            Err(error) => {
                // Half an environment is none.
                let _ = environment.destroy(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    /// As [`Unbound::bind`], for another life over the files of one before. The keeper hears of it last: until then the files are not this life's, and are
    /// kept if it fails; from then on whoever asks for this generation finds it.
    pub async fn bind_again(
        self,
        spec: &EnvironmentSpec,
        env: BTreeMap<String, String>,
    ) -> Result<LinuxEnvironment, EnvironmentError> {
        let unbound = self.id.clone();
        let environment = self.into_environment(spec);
        let binding = async {
            let mut client = environment.connect_unbound(&unbound).await?;
            environment.bind_agent(&mut client, spec, env).await?;
            environment.bind_keeper(spec).await
        };
        if let Err(error) = binding.await {
            let _ = environment.destroy(Duration::ZERO).await;
            return Err(error);
        }
        // It lives, and whoever adopts it tells its volume.
        let _ = environment.own_files_apart().await;
        Ok(environment)
    }

    fn into_environment(self, spec: &EnvironmentSpec) -> LinuxEnvironment {
        LinuxEnvironment {
            id: spec.id.clone(),
            generation: spec.generation,
            grace_ms: spec.grace_ms,
            key: self.key,
            berth: self.created.berth,
            keeper: self.keeper,
            life: self.created.life,
            files: self.created.files,
            untold_deadline: Mutex::default(),
        }
    }

    /// Takes it down, and with it what it holds.
    pub async fn discard(self) {
        if self.keeper.kill(&self.created.berth.name).await.is_ok() {
            let mut life = self.created.life;
            let cleaned = life.wait_for(|life| matches!(life, Life::Cleaned(..)));
            let _ = tokio::time::timeout(CLEAN_PATIENCE, cleaned).await;
        }
    }
}

impl LinuxEnvironment {
    /// One that its keeper has, and that lives; nothing of it is proven yet.
    pub fn of_held(id: EnvironmentId, held: &Held, keeper: Arc<KeeperClient>) -> Option<LinuxEnvironment> {
        let generation = held.facts.bound.as_ref().map_or(Generation::UNBOUND, |bound| Generation(bound.generation));
        Some(LinuxEnvironment {
            id,
            generation,
            grace_ms: held.facts.grace_ms,
            key: held.facts.key,
            berth: held.facts.berth.clone(),
            keeper,
            life: held.life.clone(),
            files: held.files.clone()?,
            untold_deadline: Mutex::default(),
        })
    }

    /// Tells the keeper whose it is.
    async fn bind_keeper(&self, spec: &EnvironmentSpec) -> Result<(), EnvironmentError> {
        let bound = (spec.id.to_string(), spec.generation.0);
        Ok(self.keeper.bind(&self.berth.name, bound, spec.deadline_boot_ms, spec.grace_ms).await?)
    }

    /// A connection to its agent, which is called so until it is bound.
    async fn connect_unbound(&self, unbound: &EnvironmentId) -> Result<Client, EnvironmentError> {
        self.connect_as(unbound, Generation::UNBOUND, AGENT_PATIENCE).await
    }

    /// Tells its agent who it is.
    async fn bind_agent(
        &self,
        client: &mut Client,
        spec: &EnvironmentSpec,
        env: BTreeMap<String, String>,
    ) -> Result<(), EnvironmentError> {
        within(AGENT_PATIENCE, client.bind(&spec.id, spec.generation, spec.deadline_boot_ms, env)).await
    }

    /// Its volume says from now on whose it is, also after the host has booted.
    pub fn own_files(&self) -> std::io::Result<()> {
        own(&self.files.volume_dir, &self.owner()?)
    }

    async fn own_files_apart(&self) -> Result<(), EnvironmentError> {
        let (volume, owner) = (self.files.volume_dir.clone(), self.owner()?);
        blocking(move || own(&volume, &owner)).await
    }

    fn owner(&self) -> std::io::Result<Owner> {
        let (environment, boot_id) = (self.id.to_string(), crate::process::boot_id()?);
        Ok(Owner { environment, generation: self.generation.0, boot_id })
    }

    /// Whether it stands frozen.
    pub fn is_frozen(&self) -> bool {
        self.group().observe().frozen
    }

    /// The agent's process.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.files.pidfd
    }

    /// How far it is on its way out.
    pub fn life(&self) -> watch::Receiver<Life> {
        self.life.clone()
    }

    /// It is frozen, and its agent may have another deadline than its keeper: it is told when it is thawed.
    pub fn deadline_is_untold(&self, deadline_boot_ms: Option<u64>) {
        *self.untold_deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline_boot_ms);
    }

    /// Tells the agent what it could not hear while it was frozen.
    async fn tell_deadline(&self) -> Result<(), EnvironmentError> {
        let untold = || *self.untold_deadline.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(deadline) = untold() else { return Ok(()) };
        let mut client = self.connect().await?;
        within(AGENT_PATIENCE, client.deadline(deadline)).await?;
        *self.untold_deadline.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// A connection that proves this identity within this time.
    pub async fn connect_as(
        &self,
        id: &EnvironmentId,
        generation: Generation,
        patience: Duration,
    ) -> Result<Client, EnvironmentError> {
        if self.life.borrow().end().is_some() {
            return Err(EnvironmentError::Gone);
        }
        let connecting = async {
            let stream = AgentStream::connect(&self.berth.socket_dir, SOCKET_NAME).await?;
            Client::handshake(Box::new(stream), &self.key, id, generation).await
        };
        within(patience, connecting).await
    }

    /// Ends it through its keeper or, where there is none, through its descriptor; what it leaves is then the next keeper's.
    async fn kill(&self) -> Result<(), EnvironmentError> {
        let Err(error) = self.keeper.kill(&self.berth.name).await else { return Ok(()) };
        let (pidfd, group) = (self.files.pidfd.clone(), self.group().clone());
        blocking(move || {
            sys::pidfd_kill(&*pidfd)?;
            // On version 1 a frozen process dies only when it is thawed.
            let _ = group.thaw();
            Ok(())
        })
        .await?;
        Err(error.into())
    }

    async fn tell_keeper(&self, deadline_boot_ms: Option<u64>) -> Result<(), EnvironmentError> {
        Ok(self.keeper.deadline(&self.berth.name, deadline_boot_ms, self.grace_ms).await?)
    }

    fn group(&self) -> &Group {
        &self.berth.group
    }

    fn volume(&self) -> &Volume {
        &self.berth.volume
    }

    fn volume_dir(&self) -> std::io::Result<File> {
        Ok(self.files.volume_dir.try_clone()?.into())
    }

    /// Where it is on the host, for tests and for people.
    pub fn berth(&self) -> &Berth {
        &self.berth
    }

    async fn until(&self, patience: Duration, reached: impl Fn(&Life) -> bool) -> Result<Life, EnvironmentError> {
        let mut life = self.life.clone();
        match tokio::time::timeout(patience, life.wait_for(|life| reached(life))).await {
            Ok(Ok(life)) => Ok(life.clone()),
            // The keeper is gone, and its environments with it.
            Ok(Err(_)) => Ok(Life::Ended(self.life.borrow().end().unwrap_or(EnvironmentEnd::Unknown))),
            Err(_elapsed) => Err(EnvironmentError::Timeout),
        }
    }
}

async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, EnvironmentError> {
    Ok(tokio::time::timeout(patience, work).await.map_err(|_elapsed| EnvironmentError::Timeout)??)
}

#[async_trait]
impl Environment for LinuxEnvironment {
    fn id(&self) -> &EnvironmentId {
        &self.id
    }

    fn generation(&self) -> Generation {
        self.generation
    }

    fn enforced(&self) -> Enforced {
        self.berth.enforced
    }

    async fn connect(&self) -> Result<Client, EnvironmentError> {
        self.connect_as(&self.id, self.generation, AGENT_PATIENCE).await
    }

    async fn observe(&self) -> Result<Observation, EnvironmentError> {
        if self.life.borrow().end().is_some() {
            // Its groups go with it; what its keeper read of them last is all there is.
            let oom_kills = self.keeper.oom_kills(&self.berth.name);
            let seen = oom_kills.map(|kills| Observation { oom_kills: Some(kills), ..Observation::default() });
            return seen.ok_or(EnvironmentError::Gone);
        }
        let group = self.group().clone();
        let limited = self.volume().limited.then(|| self.volume_dir()).transpose()?;
        // Apart: a file system that is busy may let whoever asks it wait.
        blocking(move || {
            let mut seen = group.observe();
            if let Some(volume) = limited {
                let (used, limit) = btrfs::usage(&volume)?;
                (seen.disk_bytes, seen.disk_limit_bytes) = (Some(used), limit);
            }
            Ok(seen)
        })
        .await
    }

    async fn freeze(&self) -> Result<(), EnvironmentError> {
        let group = self.group().clone();
        blocking(move || group.freeze()).await
    }

    async fn thaw(&self) -> Result<(), EnvironmentError> {
        let group = self.group().clone();
        blocking(move || group.thaw()).await?;
        self.tell_deadline().await
    }

    async fn set_limits(&self, limits: &ResourceLimits) -> Result<(), EnvironmentError> {
        limits.validate()?;
        self.group().set_limits(limits)?;
        if self.volume().limited {
            btrfs::set_limit(&self.volume_dir()?, limits.disk_bytes)?;
        }
        Ok(())
    }

    async fn set_deadline(&self, deadline_boot_ms: Option<u64>) -> Result<(), EnvironmentError> {
        if self.is_frozen() {
            self.deadline_is_untold(deadline_boot_ms);
            return self.tell_keeper(deadline_boot_ms).await;
        }
        let mut client = self.connect().await?;
        within(AGENT_PATIENCE, client.deadline(deadline_boot_ms)).await?;
        self.tell_keeper(deadline_boot_ms).await
    }

    async fn wait_end(&self) -> EnvironmentEnd {
        let mut life = self.life.clone();
        let mut told = async || life.wait_for(|life| life.end().is_some()).await.ok().and_then(|life| life.end());
        let Ok(dead) = self.files.pidfd.try_clone().and_then(watched) else {
            return told().await.unwrap_or(EnvironmentEnd::Unknown);
        };
        tokio::select! {
            biased;
            end = told() => return end.unwrap_or(EnvironmentEnd::Unknown),
            _ = dead.readable() => {}
        }
        // The keeper says how it was; it may be gone, or just being replaced.
        let told = tokio::time::timeout(TOLD_PATIENCE, told()).await.ok().flatten();
        told.filter(|end| *end != EnvironmentEnd::Unknown).unwrap_or_else(|| {
            match sys::pidfd_exit(&*self.files.pidfd) {
                Exit::Exited(code) => EnvironmentEnd::Exited(code),
                Exit::Killed(signal) => EnvironmentEnd::Killed(signal),
                Exit::NotYet | Exit::CannotTell => EnvironmentEnd::Unknown,
            }
        })
    }

    async fn destroy(&self, grace: Duration) -> Result<EnvironmentEnd, EnvironmentError> {
        // A frozen environment hears nothing: it is killed without a grace, before it is thawed.
        if !grace.is_zero() && !self.is_frozen() {
            let told = async {
                self.connect().await?.shutdown(grace.as_millis() as u64).await.map_err(EnvironmentError::from)
            };
            if tokio::time::timeout(AGENT_PATIENCE.min(grace), told).await.is_ok_and(|told| told.is_ok()) {
                let _ = self.until(grace + Duration::from_millis(200), |life| life.end().is_some()).await;
            }
        }
        if self.life.borrow().end().is_none() {
            self.kill().await?;
        }
        match self.until(CLEAN_PATIENCE, |life| matches!(life, Life::Cleaned(..))).await? {
            Life::Cleaned(_, Some(problem)) => Err(EnvironmentError::Unavailable(format!("left over: {problem}"))),
            life => {
                // Whoever asked has heard it. A keeper that is gone has nothing to forget.
                let _ = self.keeper.forget(&self.berth.name).await;
                Ok(life.end().unwrap_or(EnvironmentEnd::Unknown))
            }
        }
    }
}

fn own(volume: &OwnedFd, owner: &Owner) -> std::io::Result<()> {
    if Owner::read(volume).as_ref() == Some(owner) { Ok(()) } else { owner.write(volume) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, EnvironmentError> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?.map_err(EnvironmentError::Io)
}
