//! Why something was not done: for the caller what happened and what to do, for the operator the whole chain.

use crate::code::Code;
use crate::host::LowMark;
use tenure_environment::protocol::FailureCode;
use tenure_environment::{AgentError, EnvironmentError};
use tenure_session::{
    End, ExecId, Failure, IllegalTransition, InvalidField, InvalidId, Lookup, Refusal, Session, SessionId, State,
    Timestamp,
};
use tenure_store::StoreError;

/// What was captured of a program before its session ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Its output, at most a mebibyte.
    pub stdout: Vec<u8>,
    /// Its error output, at most a mebibyte.
    pub stderr: Vec<u8>,
}

/// Why something was not done. `Display` is for the caller; [`EngineError::chain`] is for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The text is no such ID.
    #[error("{0}")]
    InvalidFormat(InvalidId),
    /// Something in the request cannot be so.
    #[error("{}", fields(missing, invalid))]
    Invalid {
        /// What is not there and must be.
        missing: Vec<String>,
        /// What is there and cannot be so.
        invalid: Vec<InvalidField>,
    },
    /// The request cannot be understood.
    #[error("{0}")]
    BadRequest(String),
    /// There is no such session, as far as this caller may know.
    #[error("there is no session {id} ({})", lookup_word(*lookup))]
    NoSession {
        /// What was asked for.
        id: String,
        /// What is known of it.
        lookup: Lookup,
    },
    /// The caller's role does not allow this.
    #[error("the credential does not allow this")]
    Denied,
    /// Something else that was named is not there; the code says what.
    #[error("{what}")]
    Missing {
        /// Which code.
        code: Code,
        /// What is not there.
        what: String,
    },
    /// The session has ended.
    #[error("the session ended at {} for the reason {}", end.at, end.reason)]
    Gone {
        /// Which.
        id: SessionId,
        /// In which state.
        state: State,
        /// How.
        end: Box<End>,
        /// What was captured until then.
        captured: Option<Captured>,
    },
    /// The session has ended, and was archived since: nothing of it changes any more.
    #[error("the session ended at {} for the reason {}, and was archived at {archived_at}", end.at, end.reason)]
    Archived {
        /// Which.
        id: SessionId,
        /// In which state.
        state: State,
        /// How.
        end: Box<End>,
        /// When it was archived.
        archived_at: Timestamp,
    },
    /// There is no such transition.
    #[error("{0}")]
    Transition(IllegalTransition),
    /// It conflicts with what is so; the code says with what.
    #[error("{what}")]
    Conflict {
        /// Which code.
        code: Code,
        /// With what.
        what: String,
    },
    /// The lease token is not the current one.
    #[error("the session's lease is held, and the request does not carry its current token")]
    StaleLease,
    /// It is larger than may be.
    #[error("{what} is {value}, the most is {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// How large it is, as far as it was looked at.
        value: u64,
        /// How large it may be.
        limit: u64,
    },
    /// The host does not enforce these limits.
    #[error("this host does not enforce: {}", .0.join(", "))]
    Unenforced(Vec<String>),
    /// As many execs run as may.
    #[error("{limit} execs may run at once, and do")]
    ExecLimit {
        /// How many may.
        limit: u32,
    },
    /// Nothing answers at a port.
    #[error("nothing answers at port {port}: {why}")]
    Unreachable {
        /// Which.
        port: u16,
        /// Why.
        why: String,
    },
    /// The environment has not answered since a restart.
    #[error("the session's environment has not answered since a restart")]
    Recovering,
    /// The environment could not be made.
    #[error("{}", failure.user_message)]
    Init {
        /// Of which session. It stays, as failed.
        id: SessionId,
        /// What failed.
        failure: Box<Failure>,
    },
    /// The disk limit of the session is reached.
    #[error("the session's disk is full")]
    DiskFull,
    /// The host has too little left for anything new.
    #[error("the host runs low: {} bytes are free, {} asks for {}", .0.value, .0.name, .0.limit)]
    HostLow(LowMark),
    /// It cannot be done now.
    #[error("{what}")]
    Unavailable {
        /// What, for the caller.
        what: &'static str,
        /// The whole chain, for the operator.
        chain: String,
    },
    /// A bug.
    #[error("something went wrong that should not")]
    Internal(String),
}

impl EngineError {
    /// Its code.
    pub fn code(&self) -> Code {
        match self {
            EngineError::InvalidFormat(_) => Code::InvalidFormat,
            EngineError::Invalid { .. } => Code::Validation,
            EngineError::BadRequest(_) => Code::BadRequest,
            EngineError::NoSession { .. } => Code::NotFound,
            EngineError::Denied => Code::AccessDenied,
            EngineError::Missing { code, .. } | EngineError::Conflict { code, .. } => *code,
            EngineError::Gone { .. } | EngineError::Archived { .. } => Code::Gone,
            EngineError::Transition(_) => Code::InvalidTransition,
            EngineError::StaleLease => Code::StaleLease,
            EngineError::TooLarge { .. } => Code::TooLarge,
            EngineError::Unenforced(_) => Code::LimitUnenforced,
            EngineError::ExecLimit { .. } => Code::ExecLimit,
            EngineError::Unreachable { .. } => Code::PreviewUnreachable,
            EngineError::Recovering => Code::Recovering,
            EngineError::Init { .. } => Code::InitFailed,
            EngineError::DiskFull => Code::DiskFull,
            EngineError::HostLow(_) | EngineError::Unavailable { .. } => Code::Unavailable,
            EngineError::Internal(_) => Code::Internal,
        }
    }

    /// What the operator should read and the caller should not, where there is more than the caller is told.
    pub fn chain(&self) -> Option<&str> {
        match self {
            EngineError::Unavailable { chain, .. } | EngineError::Internal(chain) => Some(chain),
            EngineError::Init { failure, .. } => failure.technical_details.as_deref(),
            EngineError::InvalidFormat(_)
            | EngineError::Invalid { .. }
            | EngineError::BadRequest(_)
            | EngineError::NoSession { .. }
            | EngineError::Denied
            | EngineError::Missing { .. }
            | EngineError::Gone { .. }
            | EngineError::Archived { .. }
            | EngineError::Transition(_)
            | EngineError::Conflict { .. }
            | EngineError::StaleLease
            | EngineError::TooLarge { .. }
            | EngineError::Unenforced(_)
            | EngineError::ExecLimit { .. }
            | EngineError::Unreachable { .. }
            | EngineError::Recovering
            | EngineError::HostLow(_)
            | EngineError::DiskFull => None,
        }
    }

    /// One field is wrong.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> EngineError {
        EngineError::Invalid { missing: Vec::new(), invalid: vec![InvalidField::new(field, problem)] }
    }

    /// The session has no such exec.
    pub fn no_exec(id: &ExecId) -> EngineError {
        EngineError::Missing { code: Code::ExecNotFound, what: format!("the session has no exec {id}") }
    }

    /// The session was archived. What is not archived, or has no end, is not asked about here.
    pub(crate) fn archived(session: &Session) -> EngineError {
        match (&session.end, session.archived_at) {
            (Some(end), Some(archived_at)) => EngineError::Archived {
                id: session.id.clone(),
                state: session.state,
                end: Box::new(end.clone()),
                archived_at,
            },
            (_, _) => EngineError::Internal(format!("{} is not archived", session.id)),
        }
    }

    /// The law refused it.
    pub(crate) fn refused(id: &SessionId, state: State, refusal: Refusal) -> EngineError {
        let conflict = |code, what: &str| EngineError::Conflict { code, what: what.to_owned() };
        match refusal {
            Refusal::Gone(end) => EngineError::Gone { id: id.clone(), state, end: Box::new(end), captured: None },
            Refusal::StaleLease => EngineError::StaleLease,
            Refusal::NotReady(state) => conflict(Code::NotReady, &format!("the session is {state}")),
            Refusal::Paused => conflict(Code::SessionPaused, "the session is paused"),
            Refusal::NoEnvironment => conflict(Code::NoEnvironment, "the session was made without an environment"),
            Refusal::Recovering => EngineError::Recovering,
            Refusal::Transition(illegal) => EngineError::Transition(illegal),
            Refusal::ExecLimit { limit } => EngineError::ExecLimit { limit },
        }
    }
}

fn lookup_word(lookup: Lookup) -> &'static str {
    match lookup {
        Lookup::Ok => "ok",
        Lookup::InvalidFormat => "invalid_format",
        Lookup::NeverExisted => "never_existed",
        Lookup::Deleted => "deleted",
        Lookup::Archived => "archived",
    }
}

fn fields(missing: &[String], invalid: &[InvalidField]) -> String {
    let missing = missing.iter().map(|field| format!("{field} is missing"));
    let invalid = invalid.iter().map(InvalidField::to_string);
    missing.chain(invalid).collect::<Vec<_>>().join("; ")
}

impl From<InvalidId> for EngineError {
    fn from(error: InvalidId) -> Self {
        EngineError::InvalidFormat(error)
    }
}

impl From<Vec<InvalidField>> for EngineError {
    fn from(invalid: Vec<InvalidField>) -> Self {
        EngineError::Invalid { missing: Vec::new(), invalid }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        let chain = error.to_string();
        let what = match error {
            StoreError::Unavailable(_) => "the store does not answer",
            StoreError::Full(_) => "the store has no room",
            StoreError::Unknown(_) => "whether this was done is not known: the store failed while it made it durable",
            StoreError::Corrupt(_) => return EngineError::Internal(chain),
            StoreError::Cursor(_) => return EngineError::field("cursor", "is none that a page before gave"),
        };
        EngineError::Unavailable { what, chain }
    }
}

impl From<EnvironmentError> for EngineError {
    /// For what is asked of an environment that is there; one that is gone is the session's matter, and looked at there.
    fn from(error: EnvironmentError) -> Self {
        let chain = error.to_string();
        let unavailable = |what| EngineError::Unavailable { what, chain: chain.clone() };
        match error {
            EnvironmentError::Unenforced(limits) => {
                EngineError::Unenforced(limits.iter().map(ToString::to_string).collect())
            }
            EnvironmentError::UnknownBase { name } => {
                EngineError::Missing { code: Code::TemplateNotFound, what: format!("there is no base called {name:?}") }
            }
            EnvironmentError::InvalidSpec { field, problem } => EngineError::field(field, problem),
            EnvironmentError::Agent(agent) => agent.into(),
            EnvironmentError::Gone => unavailable("the session's environment is gone"),
            EnvironmentError::Timeout => unavailable("the session's environment did not answer in time"),
            EnvironmentError::Init { .. } | EnvironmentError::Io(_) | EnvironmentError::Unavailable(_) => {
                unavailable("the host cannot do this now")
            }
        }
    }
}

impl From<AgentError> for EngineError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Failed { code, message } => from_inside(code, message),
            AgentError::Invalid(invalid) => EngineError::field(invalid.field, invalid.problem),
            AgentError::Protocol(_)
            | AgentError::Version(_)
            | AgentError::WrongProof
            | AgentError::WrongGeneration { .. }
            | AgentError::Closed
            | AgentError::Abandoned
            | AgentError::Io(_) => EngineError::Unavailable {
                what: "the session's environment does not answer as it should",
                chain: error.to_string(),
            },
        }
    }
}

/// What the agent says no to. Its words come from inside, and are bounded and free of control characters already.
fn from_inside(code: FailureCode, what: String) -> EngineError {
    let conflict = |code, what| EngineError::Conflict { code, what };
    let missing = |code, what| EngineError::Missing { code, what };
    match code {
        FailureCode::Invalid | FailureCode::NoSuchUser | FailureCode::OutOfTurn => EngineError::field("request", what),
        FailureCode::NotFound => missing(Code::FileNotFound, what),
        FailureCode::NoSuchExec => missing(Code::ExecNotFound, what),
        FailureCode::Denied | FailureCode::NotAFile | FailureCode::NotADirectory | FailureCode::Exists => {
            conflict(Code::FileConflict, what)
        }
        FailureCode::DiskFull => EngineError::DiskFull,
        FailureCode::ProcessLimit | FailureCode::Limit => {
            EngineError::Unavailable { what: "a limit inside the session is reached", chain: what }
        }
        FailureCode::Unreachable => EngineError::Unavailable { what: "nothing listens there", chain: what },
        FailureCode::Ending => EngineError::Unavailable { what: "the session is ending", chain: what },
        FailureCode::Io => EngineError::Unavailable { what: "the session's environment failed at this", chain: what },
    }
}
