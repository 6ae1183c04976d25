//! How a command fails: the service's own table of codes, the few codes that only a command has, and the two forms in which a failure is told.

use serde_json::{Map, Value, json};
use std::fmt;
use std::process::ExitCode;
use tenure_environment::{AgentError, EnvironmentError};
use tenure_linux::template::TemplateError;
use tenure_protocol::FailureCode;

pub use tenure_engine::Code;

/// The exit code of `run`, `exec` and `attach` for failures that are not the program's.
pub const OURS: u8 = 125;

/// What fails in a command alone, and never in the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CliCode {
    /// The command line makes no sense.
    Usage,
    /// The program to run does not exist.
    CommandNotFound,
    /// The program to run cannot be run.
    CommandRefused,
    /// The audit is not as it was written.
    AuditDamaged,
    /// A server answered in a way that is not ours.
    NotOurs,
}

/// What a code is to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CliRow {
    /// The code, as it is written. Never changes.
    pub name: &'static str,
    /// The exit code.
    pub exit: u8,
    /// The exit code in `run` and `exec`.
    pub in_run: u8,
    /// What it is, in a few words.
    pub title: &'static str,
}

impl CliCode {
    /// All of them, for the reference.
    #[cfg(test)]
    pub const ALL: [CliCode; 5] =
        [CliCode::Usage, CliCode::CommandNotFound, CliCode::CommandRefused, CliCode::AuditDamaged, CliCode::NotOurs];

    /// Its row.
    pub const fn row(self) -> CliRow {
        let (name, exit, in_run, title) = match self {
            CliCode::Usage => ("USAGE", 2, OURS, "The command line makes no sense"),
            // As every shell, and env(1), says it.
            CliCode::CommandNotFound => ("COMMAND_NOT_FOUND", 4, 127, "The program to run does not exist"),
            CliCode::CommandRefused => ("COMMAND_REFUSED", 5, 126, "The program to run cannot be run"),
            CliCode::AuditDamaged => ("AUDIT_DAMAGED", 3, OURS, "The audit is not as it was written"),
            CliCode::NotOurs => ("NOT_OURS", 1, OURS, "What answered is no Tenure server, or a newer one"),
        };
        CliRow { name, exit, in_run, title }
    }
}

/// What kind of failure: its code and its exit codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    name: String,
    exit: u8,
    in_run: u8,
}

impl Kind {
    /// A code that a server gave, which may know more of them than we do.
    pub fn of_server(name: &str, status: u16) -> Kind {
        match Code::ALL.iter().find(|code| code.row().name == name) {
            Some(code) => (*code).into(),
            None => Kind { name: name.to_owned(), exit: exit_of_status(status), in_run: OURS },
        }
    }
}

/// The exit code that most codes of this status have.
fn exit_of_status(status: u16) -> u8 {
    match status {
        400 | 422 => 3,
        401 | 403 => 5,
        404 => 4,
        405 => 2,
        409 | 412 => 8,
        410 => 7,
        413 | 429 | 431 | 507 => 9,
        408 | 502 | 503 | 504 => 10,
        _ => 1,
    }
}

impl From<Code> for Kind {
    fn from(code: Code) -> Kind {
        Kind { name: code.row().name.to_owned(), exit: code.row().exit, in_run: OURS }
    }
}

impl From<CliCode> for Kind {
    fn from(code: CliCode) -> Kind {
        let CliRow { name, exit, in_run, .. } = code.row();
        Kind { name: name.to_owned(), exit, in_run }
    }
}

/// A failure, for whoever called.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    details: Value,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// What happened.
    pub fn new(kind: impl Into<Kind>, message: impl Into<String>) -> Failure {
        Failure { kind: kind.into(), message: message.into(), hint: None, details: json!({}) }
    }

    /// What to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// What a program wants to know about it.
    pub fn details(self, details: Value) -> Failure {
        Failure { details, ..self }
    }

    /// Whether it is of this kind.
    pub fn is(&self, code: impl Into<Kind>) -> bool {
        self.kind == code.into()
    }

    /// The form for programs.
    fn json(&self) -> Value {
        let mut details = self.details.as_object().cloned().unwrap_or_else(Map::new);
        if let Some(hint) = &self.hint {
            details.insert("hint".into(), hint.as_str().into());
        }
        json!({ "error": true, "code": self.kind.name, "message": self.message, "details": details })
    }

    /// Tells it on standard error and says how to exit.
    pub fn report(&self, json: bool, for_run: bool) -> ExitCode {
        if json {
            eprintln!("{}", self.json());
        } else {
            eprintln!("tenure: {}", self.message);
            if let Some(hint) = &self.hint {
                eprintln!("  hint: {hint}");
            }
        }
        ExitCode::from(if for_run { self.kind.in_run } else { self.kind.exit })
    }
}

/// A command line that was not understood, or a wish for help, among these words. Whether it was meant for `run` and its like is seen from the first of them.
pub fn usage(error: &clap::Error, words: &[String], json: bool) -> ExitCode {
    let is_help = !error.use_stderr();
    let before_program = || words.iter().take_while(|word| *word != "--");
    let first = before_program().find(|word| !word.starts_with('-'));
    let for_run = first.is_some_and(|word| ["run", "exec", "attach"].contains(&word.as_str()));
    if !is_help && (json || before_program().any(|word| word == "--json")) {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return Failure::new(CliCode::Usage, message).report(true, for_run);
    }
    // A closed pipe is no reason to say more.
    let _ = error.print();
    match (is_help, for_run) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(OURS),
        (false, false) => ExitCode::from(CliCode::Usage.row().exit),
    }
}

impl From<EnvironmentError> for Failure {
    fn from(error: EnvironmentError) -> Failure {
        let message = error.to_string();
        match error {
            EnvironmentError::Unenforced(limits) => {
                let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
                Failure::new(Code::LimitUnenforced, message)
                    .hint("`tenure doctor` says why; --allow-unenforced runs without these limits")
                    .details(json!({ "limits": limits }))
            }
            EnvironmentError::UnknownBase { name } => {
                Failure::new(Code::TemplateNotFound, format!("there is no template called {name:?}"))
                    .hint("`tenure template list` shows those there are")
            }
            EnvironmentError::InvalidSpec { field, .. } => {
                Failure::new(Code::Validation, message).details(json!({ "invalid_fields": [field] }))
            }
            EnvironmentError::Init { stage, .. } => Failure::new(Code::InitFailed, message)
                .hint("`tenure doctor` says what this host lacks")
                .details(json!({ "stage": stage })),
            EnvironmentError::Unavailable(_) => {
                Failure::new(Code::Unavailable, message).hint("`tenure doctor` says what this host lacks")
            }
            EnvironmentError::Agent(agent) => agent.into(),
            EnvironmentError::Gone | EnvironmentError::Timeout | EnvironmentError::Io(_) => {
                Failure::new(Code::Internal, message)
            }
        }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Failure {
        let message = error.to_string();
        match error {
            AgentError::Failed { code, message } => {
                let code = match code {
                    FailureCode::NotFound => Code::FileNotFound,
                    FailureCode::NoSuchUser | FailureCode::Invalid => Code::Validation,
                    FailureCode::NotAFile | FailureCode::NotADirectory | FailureCode::Exists => Code::FileConflict,
                    FailureCode::DiskFull => Code::DiskFull,
                    FailureCode::Denied
                    | FailureCode::NoSuchExec
                    | FailureCode::OutOfTurn
                    | FailureCode::ProcessLimit
                    | FailureCode::Limit
                    | FailureCode::Unreachable
                    | FailureCode::Ending
                    | FailureCode::Io => Code::Unavailable,
                };
                Failure::new(code, message)
            }
            AgentError::Invalid(invalid) => {
                Failure::new(Code::Validation, message).details(json!({ "invalid_fields": [invalid.field] }))
            }
            AgentError::Protocol(_)
            | AgentError::Version(_)
            | AgentError::WrongProof
            | AgentError::WrongGeneration { .. }
            | AgentError::Closed
            | AgentError::Abandoned
            | AgentError::Io(_) => Failure::new(Code::Internal, message),
        }
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Failure {
        let code = match &error {
            TemplateError::NotFound { .. } => Code::TemplateNotFound,
            TemplateError::InUse { .. } => Code::TemplateInUse,
            TemplateError::Io { .. } => Code::Unavailable,
            _ => Code::Validation,
        };
        Failure::new(code, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Code::Internal, error.to_string())
    }
}
