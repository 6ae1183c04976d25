//! What can go wrong with a session, and what whoever hears of it can do (FL-1).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;

/// What kind of thing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureType {
    /// The environment could not be made.
    Init,
    /// The environment died while it was used.
    Runtime,
    /// Somebody asked for what is not theirs.
    Access,
    /// The host or the service failed.
    Infra,
}

impl FailureType {
    /// All of them.
    pub const ALL: [FailureType; 4] =
        [FailureType::Init, FailureType::Runtime, FailureType::Access, FailureType::Infra];

    /// Its name, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureType::Init => "init",
            FailureType::Runtime => "runtime",
            FailureType::Access => "access",
            FailureType::Infra => "infra",
        }
    }
}

/// The text names no type of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failures are init, runtime, access, infra")]
pub struct NotAFailureType;

impl FromStr for FailureType {
    type Err = NotAFailureType;

    fn from_str(text: &str) -> Result<FailureType, NotAFailureType> {
        FailureType::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(NotAFailureType)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing was lost.
    Low,
    /// One call failed.
    Medium,
    /// The session failed.
    High,
    /// More than one session is concerned.
    Critical,
}

impl Severity {
    /// Its name, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// What helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryAction {
    /// The same again.
    Retry,
    /// A new session.
    CreateNew,
    /// The same again, later.
    Wait,
    /// Only an administrator can help.
    ContactAdmin,
    /// Nothing.
    None,
}

impl RecoveryAction {
    /// Its name, as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            RecoveryAction::Retry => "retry",
            RecoveryAction::CreateNew => "create_new",
            RecoveryAction::Wait => "wait",
            RecoveryAction::ContactAdmin => "contact_admin",
            RecoveryAction::None => "none",
        }
    }
}

/// What failed, in words for its user and for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of thing.
    #[serde(rename = "type")]
    pub kind: FailureType,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, for whoever reads logs.
    pub message: String,
    /// What happened, for whoever used the session.
    pub user_message: String,
    /// The whole chain, for the operator. Never shown to users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technical_details: Option<String>,
    /// Whether anything helps.
    pub recoverable: bool,
    /// What.
    pub recovery_action: RecoveryAction,
}

/// What is known of a failure when it is classified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureContext {
    /// What happened, in one of the words of the table; others are understood as the type's own row.
    pub cause: String,
    /// The whole chain.
    pub details: Option<String>,
}

impl FailureContext {
    /// From a JSON object with `cause` (or `reason`, `error`) and whatever else; that becomes the details.
    pub fn from_json(value: &Value) -> FailureContext {
        let word = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let cause = ["cause", "reason", "error"].into_iter().find_map(word).unwrap_or_default();
        let details = value.as_object().filter(|object| !object.is_empty()).map(|_| value.to_string());
        FailureContext { cause, details }
    }
}

/// One row of the table of failures: what a cause means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureClass {
    /// What kind of thing failed.
    pub kind: FailureType,
    /// The word for what happened; none in the row for every other word.
    pub cause: Option<&'static str>,
    /// How bad it is.
    pub severity: Severity,
    /// What helps.
    pub recovery_action: RecoveryAction,
    /// For whoever reads logs.
    pub message: &'static str,
    /// For whoever used the session.
    pub user_message: &'static str,
}

const fn class(
    kind: FailureType,
    cause: Option<&'static str>,
    (severity, recovery_action): (Severity, RecoveryAction),
    message: &'static str,
    user_message: &'static str,
) -> FailureClass {
    FailureClass { kind, cause, severity, recovery_action, message, user_message }
}

/// The causes that are known by name, in the order of the types.
const NAMED: [FailureClass; 9] = [
    class(
        FailureType::Init,
        Some("timeout"),
        (Severity::High, RecoveryAction::Retry),
        "the environment was not ready in time",
        "The session took too long to start. Try again.",
    ),
    class(
        FailureType::Init,
        Some("unavailable"),
        (Severity::High, RecoveryAction::Wait),
        "the host cannot make environments now",
        "There is no room for the session at the moment. Try again later.",
    ),
    class(
        FailureType::Init,
        Some("host_full"),
        (Severity::High, RecoveryAction::Wait),
        "the host has no room for another environment",
        "There is no room for the session at the moment. Try again later.",
    ),
    class(
        FailureType::Runtime,
        Some("environment_died"),
        (Severity::High, RecoveryAction::CreateNew),
        "the environment died while it was in use",
        "The session stopped unexpectedly. Create a new one.",
    ),
    class(
        FailureType::Runtime,
        Some("environment_lost"),
        (Severity::High, RecoveryAction::CreateNew),
        "the environment was found dead after a restart",
        "The session did not survive a restart of its host. Create a new one.",
    ),
    class(
        FailureType::Runtime,
        Some("oom_killed"),
        (Severity::High, RecoveryAction::CreateNew),
        "the environment's first process was killed for memory",
        "The session ran out of memory. Create a new one, with more memory if need be.",
    ),
    class(
        FailureType::Infra,
        Some("disk_full"),
        (Severity::Critical, RecoveryAction::ContactAdmin),
        "the host's disk is full",
        "The service cannot store anything at the moment. An administrator has to help.",
    ),
    class(
        FailureType::Infra,
        Some("host_unavailable"),
        (Severity::Critical, RecoveryAction::Wait),
        "the host has no room for an environment, or nothing there makes them",
        "There is no room for the session at the moment. Try again later.",
    ),
    class(
        FailureType::Infra,
        Some("store_unavailable"),
        (Severity::Critical, RecoveryAction::Wait),
        "the store does not answer",
        "The service is not available at the moment. Try again later.",
    ),
];

/// What is known where no named cause is: by type alone.
const fn unnamed(kind: FailureType) -> FailureClass {
    match kind {
        FailureType::Init => class(
            kind,
            None,
            (Severity::High, RecoveryAction::CreateNew),
            "the environment could not be made",
            "The session could not be started. Create a new one.",
        ),
        FailureType::Runtime => class(
            kind,
            None,
            (Severity::High, RecoveryAction::CreateNew),
            "the environment failed while it was in use",
            "The session stopped unexpectedly. Create a new one.",
        ),
        FailureType::Access => class(
            kind,
            None,
            (Severity::Low, RecoveryAction::None),
            "access was denied",
            "You do not have access to this session.",
        ),
        FailureType::Infra => class(
            kind,
            None,
            (Severity::Critical, RecoveryAction::ContactAdmin),
            "the host failed",
            "The service has a problem that you cannot mend. An administrator has to help.",
        ),
    }
}

/// The whole table: every named cause, then each type's row for all others.
pub const FAILURES: [FailureClass; 13] = {
    let mut all = [unnamed(FailureType::Init); NAMED.len() + FailureType::ALL.len()];
    let mut row = 0;
    while row < all.len() {
        all[row] = if row < NAMED.len() { NAMED[row] } else { unnamed(FailureType::ALL[row - NAMED.len()]) };
        row += 1;
    }
    all
};

/// What a failure of this type is, from the table [`FAILURES`].
pub fn classify(kind: FailureType, context: &FailureContext) -> Failure {
    let named = NAMED.into_iter().find(|class| class.kind == kind && class.cause == Some(context.cause.as_str()));
    let class = named.unwrap_or(unnamed(kind));
    Failure {
        kind,
        severity: class.severity,
        message: class.message.to_owned(),
        user_message: class.user_message.to_owned(),
        technical_details: context.details.clone(),
        recoverable: class.recovery_action != RecoveryAction::None,
        recovery_action: class.recovery_action,
    }
}
