//! Why an environment could not be made or reached, and why its agent did not do what was asked.

use crate::id::Generation;
use crate::limits::{InvalidLimit, Limit};
use std::io;
use tenure_protocol::{FailureCode, FrameError, Invalid};

/// Why something could not be done to an environment, or with its host.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The host cannot enforce these limits, and the spec does not allow to go without.
    #[error("this host does not enforce: {}", .0.iter().map(Limit::to_string).collect::<Vec<_>>().join(", "))]
    Unenforced(Vec<Limit>),
    /// No such base.
    #[error("there is no base called {name:?}")]
    UnknownBase {
        /// What was asked for.
        name: String,
    },
    /// The spec makes no sense.
    #[error("{field}: {problem}")]
    InvalidSpec {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It could not be built.
    #[error("the environment could not be made ({stage}): {detail}")]
    Init {
        /// How far it came, in the driver's words.
        stage: String,
        /// What stopped it, for the operator.
        detail: String,
    },
    /// It has ended.
    #[error("the environment is gone")]
    Gone,
    /// It did not answer in time. Says nothing about whether it lives.
    #[error("the environment did not answer in time")]
    Timeout,
    /// Its agent refused or failed.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The host refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The driver cannot work now; later it may.
    #[error("environments cannot be made now: {0}")]
    Unavailable(String),
}

impl From<InvalidLimit> for EnvironmentError {
    fn from(invalid: InvalidLimit) -> Self {
        EnvironmentError::InvalidSpec {
            field: invalid.key,
            problem: format!("is {}, allowed is {}", invalid.value, invalid.allowed),
        }
    }
}

/// Why an agent did not do what was asked. After [`Failed`](AgentError::Failed) and [`Invalid`](AgentError::Invalid) a client that is still at hand can be used
/// again; after any other it cannot.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent says no.
    #[error("{message} ({code:?})")]
    Failed {
        /// Which kind of failure.
        code: FailureCode,
        /// For people: at most 1024 bytes, no control characters. It comes from inside and may be a lie.
        message: String,
    },
    /// The request breaks a limit; nothing was sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What came from inside is no answer to what was asked.
    #[error("the agent broke the protocol: {0}")]
    Protocol(String),
    /// It speaks no version that is spoken here.
    #[error("the agent speaks version {0} of the protocol, which is not spoken here")]
    Version(u32),
    /// Whoever answers does not hold the environment's key, or is another environment.
    #[error("whoever answers is not the environment's agent")]
    WrongProof,
    /// It is the environment's agent, proven, in another life of it.
    #[error("the environment answers in generation {found}, expected was {expected}")]
    WrongGeneration {
        /// The generation that was asked for.
        expected: Generation,
        /// The one that answers.
        found: Generation,
    },
    /// The connection closed where an answer was due.
    #[error("the agent closed the connection")]
    Closed,
    /// An earlier operation on this client was abandoned midway; its answer may still come. Connect anew.
    #[error("an earlier operation on this connection was abandoned")]
    Abandoned,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<FrameError> for AgentError {
    fn from(error: FrameError) -> Self {
        AgentError::Protocol(error.to_string())
    }
}

impl From<AgentError> for io::Error {
    /// For byte streams, whose errors are of this kind.
    fn from(error: AgentError) -> Self {
        let kind = match &error {
            AgentError::Io(inner) => inner.kind(),
            AgentError::Closed => io::ErrorKind::UnexpectedEof,
            AgentError::Invalid(_) => io::ErrorKind::InvalidInput,
            AgentError::Protocol(_) | AgentError::Version(_) => io::ErrorKind::InvalidData,
            AgentError::WrongProof | AgentError::WrongGeneration { .. } => io::ErrorKind::PermissionDenied,
            AgentError::Abandoned => io::ErrorKind::BrokenPipe,
            AgentError::Failed { code, .. } => match code {
                FailureCode::NotFound => io::ErrorKind::NotFound,
                FailureCode::Denied => io::ErrorKind::PermissionDenied,
                FailureCode::DiskFull => io::ErrorKind::StorageFull,
                FailureCode::Exists => io::ErrorKind::AlreadyExists,
                FailureCode::Unreachable => io::ErrorKind::ConnectionRefused,
                FailureCode::Invalid
                | FailureCode::OutOfTurn
                | FailureCode::NoSuchExec
                | FailureCode::NoSuchUser
                | FailureCode::NotAFile
                | FailureCode::NotADirectory
                | FailureCode::ProcessLimit
                | FailureCode::Limit
                | FailureCode::Ending
                | FailureCode::Io => io::ErrorKind::Other,
            },
        };
        io::Error::new(kind, error)
    }
}
