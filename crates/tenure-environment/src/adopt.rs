//! Taking over environments that outlived the manager that made them.

use crate::driver::Environment;
use crate::id::{EnvironmentId, Generation};
use crate::observe::EnvironmentEnd;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which environment is to be taken over, as it was stored by whoever had it made. The secrets of the proof are the driver's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopt {
    /// Its name.
    pub id: EnvironmentId,
    /// Which life of it was stored. Another one is proof that the stored one is lost.
    pub generation: Generation,
    /// How long its agent may take to prove itself; after that it is [`Adopted::Silent`], not lost.
    pub patience: Duration,
}

impl Adopt {
    /// As stored, with a patience that an idle agent on a busy host keeps.
    pub fn new(id: EnvironmentId, generation: Generation) -> Adopt {
        Adopt { id, generation, patience: Duration::from_secs(10) }
    }
}

/// What was found. Nothing in here is a guess: what cannot be proven is not said.
#[derive(Clone)]
pub enum Adopted {
    /// It lives, and its agent has proven the environment's key and generation.
    Alive(Arc<dyn Environment>),
    /// It lives by its process identity and stands frozen; it was not thawed to ask it.
    Frozen(Arc<dyn Environment>),
    /// It lives by its process identity, and its agent did not answer in the time given. It may still; [`Environment::destroy`] ends it for sure.
    Silent(Arc<dyn Environment>),
    /// It has ended.
    Ended(EnvironmentEnd),
    /// Its processes are proven gone, with the boot of the host that they ran in, and its files are there: [`Driver::remake`](crate::Driver::remake)
    /// makes it again over them.
    Survived {
        /// The last life that wrote them: the stored one, or an earlier one where a life was announced and never began.
        generation: Generation,
        /// The proof in words, for the operator.
        evidence: String,
    },
    /// It is lost: what runs under its name is proven to be something else, or it is proven that it cannot run any more.
    Lost {
        /// The proof in words, for the operator.
        evidence: String,
    },
}

impl fmt::Debug for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Adopted::Alive(environment) => write!(f, "Alive({})", environment.id()),
            Adopted::Frozen(environment) => write!(f, "Frozen({})", environment.id()),
            Adopted::Silent(environment) => write!(f, "Silent({})", environment.id()),
            Adopted::Ended(end) => write!(f, "Ended({end:?})"),
            Adopted::Survived { generation, evidence } => write!(f, "Survived({generation}, {evidence})"),
            Adopted::Lost { evidence } => write!(f, "Lost({evidence})"),
        }
    }
}

impl Adopted {
    /// The environment, where it lives.
    pub fn environment(&self) -> Option<&Arc<dyn Environment>> {
        match self {
            Adopted::Alive(environment) | Adopted::Frozen(environment) | Adopted::Silent(environment) => {
                Some(environment)
            }
            Adopted::Ended(_) | Adopted::Survived { .. } | Adopted::Lost { .. } => None,
        }
    }
}
