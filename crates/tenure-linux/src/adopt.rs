//! Taking over environments that another manager had made: what proves that one is the one that was stored.
//!
//! ```text
//! the keeper has it?  ── no ──────────────────────────────────────────► lost: nothing of it is there
//!   └ same boot? ── no: a reboot left its files ───────────────────────► survived, in this life or the one before
//!                └─ no, and they are gone ─────────────────────────────► lost
//!   └ same process by ID and start, same generation? ── no ────────────► lost, with what was found
//!       └ frozen? ── yes ──────────────────────────────────────────────► frozen, not asked
//!           └ agent proves key and generation? ── wrong ──────────────► lost
//!                                              ── no answer in time ──► silent: it lives, and may answer yet
//!                                              ── yes ────────────────► alive
//! ```
//!
//! The process is looked at again after its descriptor was opened, so that an ID which passed to another process is seen.

use crate::environment::LinuxEnvironment;
use crate::keeper::{Held, KeeperClient, Life, Over};
use crate::process::{self, Identity};
use crate::storage::Owner;
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
    listed(keeper, id).await
}

/// What the keeper has under this name now.
async fn listed(keeper: &KeeperClient, id: &EnvironmentId) -> Result<Vec<Arc<Held>>, EnvironmentError> {
    let listed = keeper.list().await.map_err(|error| EnvironmentError::Unavailable(error.to_string()))?;
    Ok(listed.into_iter().filter(|held| id_of(held).as_ref() == Some(id)).collect())
}

/// Which life of it this is.
fn generation(held: &Held) -> Generation {
    held.facts.bound.as_ref().map_or(Generation::UNBOUND, |bound| Generation(bound.generation))
}

/// Finds out what became of an environment.
pub async fn adopt(keeper: &Arc<KeeperClient>, adopt: Adopt) -> Result<Adopted, EnvironmentError> {
    let found = find(keeper, &adopt.id).await?;
    let stored = |held: &&Arc<Held>| generation(held) == adopt.generation;
    // One of this boot comes before the files of another, which a life that was not finished may have left.
    let of_this_boot = found.iter().filter(stored).find(|held| held.facts.evidence.is_none());
    let Some(held) = of_this_boot else {
        return Ok(match found.iter().find(|held| held.facts.survived) {
            Some(survivor) if generation(survivor) <= adopt.generation => Adopted::Survived {
                generation: generation(survivor),
                evidence: survivor.facts.evidence.clone().unwrap_or_default(),
            },
            Some(newer) => {
                lost(format!("its files are of generation {}, stored is {}", generation(newer), adopt.generation))
            }
            None => nothing_lives(&found, adopt.generation),
        });
    };
    if let Some(end) = held.life.borrow().end() {
        return Ok(Adopted::Ended(end));
    }
    let Some(environment) = LinuxEnvironment::of_held(adopt.id.clone(), held, keeper.clone()) else {
        return Err(EnvironmentError::Unavailable("the keeper could not open its files".into()));
    };
    if let Some(found) = prove_process(held, &environment).await? {
        return Ok(found);
    }
    // A crash may have come between, and earlier versions wrote none. It is found all the same for as long as this boot lasts.
    let _ = environment.own_files();
    forget_others(keeper, &found, &held.facts.berth.name).await;
    ask(environment, held.facts.deadline_boot_ms, &adopt).await
}

/// What it is said of that has neither a process nor files.
fn nothing_lives(found: &[Arc<Held>], stored: Generation) -> Adopted {
    let of_stored = found.iter().find(|held| generation(held) == stored);
    lost(match (of_stored.and_then(|held| held.facts.evidence.clone()), found.first()) {
        (Some(evidence), _) => evidence,
        (None, Some(other)) => format!("it is there in generation {}, stored is {stored}", generation(other)),
        (None, None) => "nothing of it is there: no process, no files, no record".to_owned(),
    })
}

/// Forgets what earlier lives of it left, now that another one has their files.
async fn forget_others(keeper: &KeeperClient, found: &[Arc<Held>], berth: &str) {
    for other in found.iter().filter(|other| other.facts.berth.name != berth) {
        // What stays is told again, and goes with it.
        let _ = keeper.discard(&other.facts.berth.name).await;
    }
}

/// The files of an environment that another life of it can be made over: none where one lives or there are no files, or only those of this generation.
pub async fn survivor(
    keeper: &KeeperClient,
    id: &EnvironmentId,
    made: Generation,
) -> Result<Option<Over>, EnvironmentError> {
    let found = listed(keeper, id).await?;
    if found.iter().any(|held| held.facts.evidence.is_none()) {
        return Ok(None);
    }
    let survivor = found.iter().find(|held| held.facts.survived && generation(held) < made);
    Ok(survivor.map(|held| Over {
        owner: Owner {
            environment: id.to_string(),
            generation: generation(held).0,
            boot_id: held.facts.boot_id.clone(),
        },
        berth: held.facts.berth.name.clone(),
    }))
}

/// Another life of it was made in this berth: what is told of those before goes.
pub async fn supersede(keeper: &KeeperClient, id: &EnvironmentId, berth: &str) {
    if let Ok(found) = listed(keeper, id).await {
        forget_others(keeper, &found, berth).await;
    }
}

/// Whether the process is the one that was written down; what else it is, if it is not.
async fn prove_process(held: &Held, environment: &LinuxEnvironment) -> Result<Option<Adopted>, EnvironmentError> {
    let facts = &held.facts;
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
    for held in listed(keeper, id).await? {
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
