//! How a command fails: one table from code to exit code, and the two forms in which a failure is told.

use serde_json::{Value, json};
use std::process::ExitCode;
use tenure_environment::{AgentError, EnvironmentError};
use tenure_linux::template::TemplateError;
use tenure_protocol::FailureCode;

/// What kind of failure. The name is stable, and so is the exit code behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Anything without a kind of its own.
    Internal,
    /// The command line makes no sense.
    Usage,
    /// A value is refused.
    Validation,
    /// This host does not enforce a limit that was asked for.
    LimitUnenforced,
    /// There is no such thing.
    NotFound,
    /// It is in use, or there already.
    Conflict,
    /// It cannot be done now, or on this host.
    Unavailable,
    /// An environment could not be made.
    InitFailed,
    /// The program to run does not exist.
    CommandNotFound,
    /// The program to run cannot be run.
    CommandRefused,
}

impl Code {
    /// The stable name, and the exit code outside and inside `run`, where 125 is ours and all others the program's.
    fn row(self) -> (&'static str, u8, u8) {
        match self {
            Code::Internal => ("INTERNAL", 1, 125),
            Code::Usage => ("USAGE", 2, 125),
            Code::Validation => ("VALIDATION", 3, 125),
            Code::LimitUnenforced => ("LIMIT_UNENFORCED", 3, 125),
            Code::NotFound => ("NOT_FOUND", 4, 125),
            Code::Conflict => ("CONFLICT", 8, 125),
            Code::Unavailable => ("UNAVAILABLE", 10, 125),
            Code::InitFailed => ("INIT_FAILED", 10, 125),
            // As every shell, and env(1), says it.
            Code::CommandNotFound => ("COMMAND_NOT_FOUND", 4, 127),
            Code::CommandRefused => ("COMMAND_REFUSED", 5, 126),
        }
    }
}

/// A failure, for whoever called.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
    hint: Option<String>,
    details: Value,
}

impl Failure {
    /// What happened.
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: None, details: json!({}) }
    }

    /// What to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// What a program wants to know about it.
    pub fn details(self, details: Value) -> Failure {
        Failure { details, ..self }
    }

    /// Tells it on standard error and says how to exit.
    pub fn report(&self, json: bool, for_run: bool) -> ExitCode {
        let (name, plain, run) = self.code.row();
        if json {
            let mut details = self.details.clone();
            if let (Some(details), Some(hint)) = (details.as_object_mut(), &self.hint) {
                details.insert("hint".into(), hint.as_str().into());
            }
            eprintln!("{}", json!({ "error": true, "code": name, "message": self.message, "details": details }));
        } else {
            eprintln!("tenure: {}", self.message);
            if let Some(hint) = &self.hint {
                eprintln!("  hint: {hint}");
            }
        }
        ExitCode::from(if for_run { run } else { plain })
    }
}

/// A command line that was not understood, or a wish for help. Whether it was meant for `run` is seen from its first words.
pub fn usage(error: &clap::Error) -> ExitCode {
    let is_help = !error.use_stderr();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let before_program = || words.iter().take_while(|word| *word != "--");
    let for_run = before_program().find(|word| !word.starts_with('-')).is_some_and(|word| word == "run");
    if !is_help && before_program().any(|word| word == "--json") {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return Failure::new(Code::Usage, message).report(true, for_run);
    }
    // A closed pipe is no reason to say more.
    let _ = error.print();
    match (is_help, for_run) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(125),
        (false, false) => ExitCode::from(2),
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
                Failure::new(Code::NotFound, format!("there is no template called {name:?}"))
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
                let kind = match code {
                    FailureCode::NotFound | FailureCode::NoSuchUser => Code::NotFound,
                    FailureCode::Invalid | FailureCode::NotAFile | FailureCode::NotADirectory => Code::Validation,
                    FailureCode::Exists => Code::Conflict,
                    _ => Code::Unavailable,
                };
                Failure::new(kind, message)
            }
            AgentError::Invalid(invalid) => {
                Failure::new(Code::Validation, message).details(json!({ "invalid_fields": [invalid.field] }))
            }
            _ => Failure::new(Code::Internal, message),
        }
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Failure {
        let code = match &error {
            TemplateError::NotFound { .. } => Code::NotFound,
            TemplateError::InUse { .. } => Code::Conflict,
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
