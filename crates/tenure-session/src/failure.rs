//! What can go wrong with a session, and what whoever hears of it can do (FL-1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

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

/// One row of the table: message, user message, severity, what helps.
type Class = (&'static str, &'static str, Severity, RecoveryAction);

/// What a failure of this kind is. The table, cause by cause:
///
/// | type | cause | severity | action |
/// |---|---|---|---|
/// | init | `timeout` | high | retry |
/// | init | `unavailable`, `host_full` | high | wait |
/// | init | any other | high | create_new |
/// | runtime | `environment_died`, `oom_killed`, any other | high | create_new |
/// | runtime | `environment_lost` | high | create_new |
/// | access | any | low | none |
/// | infra | `disk_full` | critical | contact_admin |
/// | infra | `store_unavailable` | critical | wait |
/// | infra | any other | critical | contact_admin |
pub fn classify(kind: FailureType, context: &FailureContext) -> Failure {
    use RecoveryAction::*;
    use Severity::*;
    let (message, user_message, severity, recovery_action): Class = match (kind, context.cause.as_str()) {
        (FailureType::Init, "timeout") => {
            ("the environment was not ready in time", "The session took too long to start. Try again.", High, Retry)
        }
        (FailureType::Init, "unavailable" | "host_full") => (
            "the host cannot make environments now",
            "There is no room for the session at the moment. Try again later.",
            High,
            Wait,
        ),
        (FailureType::Init, _) => (
            "the environment could not be made",
            "The session could not be started. Create a new one.",
            High,
            CreateNew,
        ),
        (FailureType::Runtime, "environment_lost") => (
            "the environment was found dead after a restart",
            "The session did not survive a restart of its host. Create a new one.",
            High,
            CreateNew,
        ),
        (FailureType::Runtime, "oom_killed") => (
            "the environment's first process was killed for memory",
            "The session ran out of memory. Create a new one, with more memory if need be.",
            High,
            CreateNew,
        ),
        (FailureType::Runtime, _) => (
            "the environment died while it was in use",
            "The session stopped unexpectedly. Create a new one.",
            High,
            CreateNew,
        ),
        (FailureType::Access, _) => ("access was denied", "You do not have access to this session.", Low, None),
        (FailureType::Infra, "disk_full") => (
            "the host's disk is full",
            "The service cannot store anything at the moment. An administrator has to help.",
            Critical,
            ContactAdmin,
        ),
        (FailureType::Infra, "store_unavailable") => (
            "the store does not answer",
            "The service is not available at the moment. Try again later.",
            Critical,
            Wait,
        ),
        (FailureType::Infra, _) => (
            "the host failed",
            "The service has a problem that you cannot mend. An administrator has to help.",
            Critical,
            ContactAdmin,
        ),
    };
    Failure {
        kind,
        severity,
        message: message.to_owned(),
        user_message: user_message.to_owned(),
        technical_details: context.details.clone(),
        recoverable: recovery_action != None,
        recovery_action,
    }
}
