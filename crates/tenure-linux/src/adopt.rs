//! Taking over environments that another manager had made: what proves that one is the one that was stored.
//!
//! ```text
//! the keeper has it?  ── no ──────────────────────────────────────────► lost: nothing of it is there
//!   └ same boot, same process by ID and start, same generation? ── no ─► lost, with what was found
//!       └ frozen? ── yes ──────────────────────────────────────────────► frozen, not asked
//!           └ agent proves key and generation? ── wrong ──────────────► lost
//!                                              ── no answer in time ──► silent: it lives, and may answer yet
//!                                              ── yes ────────────────► alive
//! ```
//!
//! The process is looked at again after its descriptor was opened, so that an ID which passed to another process is seen.

use crate::environment::LinuxEnvironment;
use crate::keeper::{Held, KeeperClient, Life};
use crate::process::{self, Identity};
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::{Adopt, Adopted, AgentError, Environment, EnvironmentError, EnvironmentId, Generation};

/// How long after a kill everything must be gone (TM-7).
const CLEAN_PATIENCE: Duration = Duration::from_secs(5);

/// Whose an environment is that a keeper has.
pub fn id_of(held: &Held) -> Option<EnvironmentId> {
    held.facts.bound.as_ref()?.environment.parse().ok()
}

/// What the keeper has under this name, as told last or, where there is nothing, as told now.
async fn find(keeper: &KeeperClient, id: &EnvironmentId) -> Result<Vec<Arc<Held>>, EnvironmentError> {
    let of_id = |all: Vec<Arc<Held>>| -> Vec<Arc<Held>> {
        all.into_iter().filter(|held| id_of(held).as_ref() == Some(id)).collect()
    };
    let told = of_id(keeper.held());
    if !told.is_empty() {
        return Ok(told);
    }
    let listed = keeper.list().await.map_err(|error| EnvironmentError::Unavailable(error.to_string()))?;
    Ok(of_id(listed))
}

/// Finds out what became of an environment.
pub async fn adopt(keeper: &Arc<KeeperClient>, adopt: Adopt) -> Result<Adopted, EnvironmentError> {
    let found = find(keeper, &adopt.id).await?;
    let generation = |held: &Held| held.facts.bound.as_ref().map_or(0, |bound| bound.generation);
    let stored = found.iter().find(|held| generation(held) == adopt.generation.0);
    let Some(held) = stored else {
        return Ok(lost(match found.first() {
            Some(other) => format!("it is there in generation {}, stored is {}", generation(other), adopt.generation),
            None => "nothing of it is there: no process, no files, no record".to_owned(),
        }));
    };
    if let Some(evidence) = &held.facts.evidence {
        return Ok(lost(evidence.clone()));
    }
    if let Some(end) = held.life.borrow().end() {
        return Ok(Adopted::Ended(end));
    }
    let Some(environment) = LinuxEnvironment::of_held(adopt.id.clone(), held, keeper.clone()) else {
        return Err(EnvironmentError::Unavailable("the keeper could not open its files".into()));
    };
    if let Some(found) = prove_process(held, &environment).await? {
        return Ok(found);
    }
    ask(environment, held.facts.deadline_boot_ms, &adopt).await
}

/// Whether the process is the one that was written down; what else it is, if it is not.
async fn prove_process(held: &Held, environment: &LinuxEnvironment) -> Result<Option<Adopted>, EnvironmentError> {
    let facts = &held.facts;
    let boot_id = process::boot_id()?;
    if facts.boot_id != boot_id {
        return Ok(Some(lost(format!("the host has booted since: {} then, {boot_id} now", facts.boot_id))));
    }
    if process::has_ended(environment.pidfd()) {
        // The keeper is about to say how.
        return Ok(Some(Adopted::Ended(environment.wait_end().await)));
    }
    let (pid, started) = (facts.berth.pid, facts.berth.started_ticks);
    match (process::pid_of(environment.pidfd()), process::identify(pid, started)) {
        (Some(named), Identity::Same(_)) if named == pid => Ok(None),
        (Some(named), _) if named != pid => Ok(Some(lost(format!("its descriptor names process {named}, not {pid}")))),
        (Some(_), Identity::Another(now)) => {
            Ok(Some(lost(format!("process {pid} started at tick {now}, its agent at tick {started}"))))
        }
        // It has ended just now.
        (Some(_) | None, Identity::Gone | Identity::Same(_)) | (None, Identity::Another(_)) => {
            Ok(Some(Adopted::Ended(environment.wait_end().await)))
        }
    }
}

/// Asks the agent to prove itself, unless it is frozen.
async fn ask(
    environment: LinuxEnvironment,
    deadline_boot_ms: Option<u64>,
    adopt: &Adopt,
) -> Result<Adopted, EnvironmentError> {
    if environment.is_frozen() {
        // Its deadline may have been moved while it could not hear.
        environment.deadline_is_untold(deadline_boot_ms);
        return Ok(Adopted::Frozen(Arc::new(environment)));
    }
    let error = match environment.connect_as(&adopt.id, adopt.generation, adopt.patience).await {
        Ok(_proven) => return Ok(Adopted::Alive(Arc::new(environment))),
        Err(error) => error,
    };
    match error {
        EnvironmentError::Agent(AgentError::WrongProof) => Ok(lost("its agent does not hold its key".into())),
        EnvironmentError::Agent(AgentError::WrongGeneration { expected, found }) => {
            Ok(lost(if found == Generation::UNBOUND {
                format!("its agent was never bound; stored is generation {expected}")
            } else {
                format!("its agent is in generation {found}, stored is {expected}")
            }))
        }
        _ if environment.life().borrow().end().is_some() || process::has_ended(environment.pidfd()) => {
            Ok(Adopted::Ended(environment.wait_end().await))
        }
        _ => Ok(Adopted::Silent(Arc::new(environment))),
    }
}

fn lost(evidence: String) -> Adopted {
    Adopted::Lost { evidence }
}

/// Takes down whatever there is under this name.
pub async fn discard(keeper: &KeeperClient, id: &EnvironmentId) -> Result<(), EnvironmentError> {
    let listed = keeper.list().await.map_err(|error| EnvironmentError::Unavailable(error.to_string()))?;
    for held in listed.iter().filter(|held| id_of(held).as_ref() == Some(id)) {
        let mut life = keeper.discard(&held.facts.berth.name).await?;
        let cleaned = life.wait_for(|life| matches!(life, Life::Cleaned(..)));
        match tokio::time::timeout(CLEAN_PATIENCE, cleaned).await {
            Ok(Ok(life)) => {
                if let Life::Cleaned(_, Some(problem)) = &*life {
                    return Err(EnvironmentError::Unavailable(format!("left over: {problem}")));
                }
            }
            Ok(Err(_)) => return Err(EnvironmentError::Unavailable("the keeper is gone".into())),
            Err(_elapsed) => return Err(EnvironmentError::Timeout),
        }
    }
    Ok(())
}
