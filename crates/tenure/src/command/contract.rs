//! The contracts: small commands for programs, by subcommand and by the name that the binary is called with (CL-2).
//!
//! JSON on standard output; failures as JSON on standard error. Every part of an identity is given, or refused by name (ID-3).

use super::session::given;
use super::show::Show;
use crate::client::Client;
use crate::failure::{Code, Failure};
use serde_json::{Value, json};
use tenure_session::{
    FailureContext, FailureType, Identity, IdentityClaim, InvalidIdentity, SessionId, State, UserId, classify,
};

/// The names that the binary answers to, beside its own.
pub const NAMES: &[&str] = &[
    "session-identity",
    "session-lifecycle",
    "execution-environment",
    "environment-access",
    "session-status",
    "failure-classification",
    "cleanup-ttl",
    "audit",
];

/// Which session.
#[derive(Debug, clap::Args)]
pub struct OfSession {
    /// The session's ID
    #[arg(long, visible_alias = "session", value_name = "ID")]
    session_id: Option<String>,
}

/// `session-identity`.
#[derive(Debug, clap::Subcommand)]
pub enum SessionIdentity {
    /// Say whether an identity is complete and well formed; needs no server
    Validate {
        /// The user
        #[arg(long, value_name = "USER")]
        user_id: Option<String>,
        #[command(flatten)]
        session: OfSession,
        /// The environment, where it is claimed inside one
        #[arg(long, value_name = "ID")]
        environment_id: Option<String>,
    },
}

/// `session-lifecycle`.
#[derive(Debug, clap::Subcommand)]
pub enum SessionLifecycle {
    /// Move a session to another state
    Transition {
        #[command(flatten)]
        session: OfSession,
        /// The state
        #[arg(long, value_name = "STATE")]
        to: Option<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Say in which state a session is, and where it can go
    Status(OfSession),
}

/// `execution-environment`.
#[derive(Debug, clap::Subcommand)]
pub enum ExecutionEnvironment {
    /// Make the environment of a session that has none
    Create(OfSession),
    /// Say what is known of it
    Status(OfSession),
    /// End it, and with it the session
    Destroy(OfSession),
}

/// `environment-access`.
#[derive(Debug, clap::Subcommand)]
pub enum EnvironmentAccess {
    /// Say whether a user may use a session's environment
    Authorize {
        #[command(flatten)]
        session: OfSession,
        /// The user
        #[arg(long, value_name = "USER")]
        user_id: Option<String>,
    },
    /// Deny access, and record why
    Deny {
        /// Why: for the audit, and for nobody else
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        session: OfSession,
        /// The user
        #[arg(long, value_name = "USER")]
        user_id: Option<String>,
    },
}

/// `session-status`.
#[derive(Debug, clap::Subcommand)]
pub enum SessionStatus {
    /// Say what the session's user sees of it
    Get(OfSession),
}

/// `failure-classification`.
#[derive(Debug, clap::Subcommand)]
pub enum FailureClassification {
    /// Say how bad a failure is and what helps; needs no server
    Classify {
        /// init, runtime, access or infra
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// What is known of it: an object, with a cause where there is one
        #[arg(long, value_name = "JSON")]
        context: Option<String>,
    },
}

/// `cleanup-ttl`.
#[derive(Debug, clap::Subcommand)]
pub enum CleanupTtl {
    /// Say whether a sweep would clean a session up, why, and how long it has; changes nothing
    Check(OfSession),
    /// End every session whose time has come, and take down what is left of environments
    Sweep {
        /// Say what would be done, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
}

const SHOW: Show = Show { json: true };

fn refused(missing: &[&str], invalid: &[&str]) -> Failure {
    let told =
        |word: &str, fields: &[&str]| fields.iter().map(|field| format!("{field} is {word}")).collect::<Vec<_>>();
    let message = [told("missing", missing), told("invalid", invalid)].concat().join("; ");
    Failure::new(Code::Validation, message).details(json!({ "missing_fields": missing, "invalid_fields": invalid }))
}

impl OfSession {
    /// The ID, which must be given and be one.
    fn id(&self) -> Result<&str, Failure> {
        let id = self.session_id.as_deref().filter(|id| !id.is_empty()).ok_or_else(|| refused(&["session_id"], &[]))?;
        match id.parse::<SessionId>() {
            Ok(_) => Ok(id),
            Err(error) => Err(Failure::new(Code::InvalidFormat, error.to_string())
                .details(json!({ "missing_fields": [], "invalid_fields": ["session_id"] }))),
        }
    }
}

/// `session-identity`.
pub fn session_identity(command: &SessionIdentity) -> Result<u8, Failure> {
    let SessionIdentity::Validate { user_id, session, environment_id } = command;
    let claim = IdentityClaim {
        user_id: user_id.as_deref(),
        session_id: session.session_id.as_deref(),
        environment_id: environment_id.as_deref(),
    };
    match Identity::check(&claim, false) {
        Ok(identity) => {
            SHOW.raw(&json!(identity))?;
            Ok(0)
        }
        Err(InvalidIdentity { missing_fields, invalid_fields }) => {
            let missing: Vec<&str> = missing_fields.iter().map(String::as_str).collect();
            let invalid: Vec<&str> = invalid_fields.iter().map(String::as_str).collect();
            Err(refused(&missing, &invalid))
        }
    }
}

/// `failure-classification`.
pub fn failure_classification(command: &FailureClassification) -> Result<u8, Failure> {
    let FailureClassification::Classify { kind, context } = command;
    let (mut missing, mut invalid) = (Vec::new(), Vec::new());
    let kind = match kind.as_deref().filter(|kind| !kind.is_empty()) {
        None => {
            missing.push("type");
            None
        }
        Some(kind) => kind.parse::<FailureType>().map_err(|_| invalid.push("type")).ok(),
    };
    let context = match context.as_deref() {
        None => Some(json!({})),
        Some(text) => {
            let object = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
            if object.is_none() {
                invalid.push("context");
            }
            object
        }
    };
    match (kind, context) {
        (Some(kind), Some(context)) => {
            SHOW.raw(&json!(classify(kind, &FailureContext::from_json(&context))))?;
            Ok(0)
        }
        _ => Err(refused(&missing, &invalid)),
    }
}

/// `session-lifecycle`.
pub async fn session_lifecycle(
    client: impl FnOnce() -> Result<Client, Failure>,
    command: &SessionLifecycle,
) -> Result<u8, Failure> {
    match command {
        SessionLifecycle::Transition { session, to, reason } => {
            let id = session.id()?;
            let to = to.as_deref().filter(|to| !to.is_empty()).ok_or_else(|| refused(&["to"], &[]))?;
            to.parse::<State>().map_err(|_| refused(&[], &["to"]))?;
            let body = given(json!({ "to": to, "reason": reason }));
            SHOW.raw(&client()?.post(&["sessions", id, "transition"], &body).await?)?;
        }
        SessionLifecycle::Status(session) => {
            let id = session.id()?;
            let found = client()?.get(&["sessions", id], &[]).await?;
            let state = found["state"].as_str().and_then(|state| state.parse::<State>().ok());
            let allowed: Vec<&str> =
                state.map(State::allowed).unwrap_or_default().iter().map(|state| state.as_str()).collect();
            SHOW.raw(&json!({
                "session_id": found["id"],
                "state": found["state"],
                "phase": found["phase"],
                "allowed_transitions": allowed,
                "updated_at": found["updated_at"],
                "terminated_at": found["terminated_at"],
                "termination_reason": found["termination_reason"],
                "failure": found["failure"],
            }))?;
        }
    }
    Ok(0)
}

/// `execution-environment`.
pub async fn execution_environment(
    client: impl FnOnce() -> Result<Client, Failure>,
    command: &ExecutionEnvironment,
) -> Result<u8, Failure> {
    let answer = match command {
        ExecutionEnvironment::Create(session) => {
            let id = session.id()?;
            client()?.post(&["sessions", id, "environment"], &Value::Null).await?
        }
        ExecutionEnvironment::Status(session) => {
            let id = session.id()?;
            client()?.get(&["sessions", id, "environment"], &[]).await?
        }
        ExecutionEnvironment::Destroy(session) => {
            let id = session.id()?;
            let answer = client()?.delete(&["sessions", id, "environment"], &[]).await?;
            if answer.is_null() { json!({ "session_id": id, "destroyed": true }) } else { answer }
        }
    };
    SHOW.raw(&answer)?;
    Ok(0)
}

/// `environment-access`.
pub async fn environment_access(
    client: impl FnOnce() -> Result<Client, Failure>,
    command: &EnvironmentAccess,
) -> Result<u8, Failure> {
    match command {
        EnvironmentAccess::Authorize { session, user_id } => {
            let (id, user) = (session.id(), user(user_id.as_deref()));
            if let (None, None) = (&session.session_id, user_id) {
                return Err(refused(&["session_id", "user_id"], &[]));
            }
            let body = json!({ "session_id": id?, "user_id": user? });
            SHOW.raw(&client()?.post(&["access", "authorize"], &body).await?)?;
            Ok(0)
        }
        EnvironmentAccess::Deny { reason, session, user_id } => {
            let reason =
                reason.as_deref().filter(|reason| !reason.is_empty()).ok_or_else(|| refused(&["reason"], &[]))?;
            let id = session.session_id.is_some().then(|| session.id()).transpose()?;
            let user = user_id.is_some().then(|| user(user_id.as_deref())).transpose()?;
            let body = given(json!({ "reason": reason, "session_id": id, "user_id": user }));
            client()?.post(&["access", "deny"], &body).await?;
            // Recorded. Whoever is denied learns that, and nothing else.
            Err(Failure::new(Code::AccessDenied, "access is denied"))
        }
    }
}

fn user(given: Option<&str>) -> Result<&str, Failure> {
    let user = given.filter(|user| !user.is_empty()).ok_or_else(|| refused(&["user_id"], &[]))?;
    match user.parse::<UserId>() {
        Ok(_) => Ok(user),
        Err(_) => Err(refused(&[], &["user_id"])),
    }
}

/// `session-status`.
pub async fn session_status(
    client: impl FnOnce() -> Result<Client, Failure>,
    command: &SessionStatus,
) -> Result<u8, Failure> {
    let SessionStatus::Get(session) = command;
    let id = session.id()?;
    SHOW.raw(&client()?.get(&["sessions", id, "status"], &[]).await?)?;
    Ok(0)
}

/// `cleanup-ttl`.
pub async fn cleanup_ttl(
    client: impl FnOnce() -> Result<Client, Failure>,
    command: &CleanupTtl,
) -> Result<u8, Failure> {
    let answer = match command {
        CleanupTtl::Check(session) => {
            let id = session.id()?;
            client()?.get(&["admin", "check", id], &[("include_deleted", "true")]).await?
        }
        CleanupTtl::Sweep { dry_run } => {
            let dry_run = if *dry_run { "true" } else { "false" };
            client()?.post_to(&["admin", "sweep"], &[("dry_run", dry_run)]).await?
        }
    };
    SHOW.raw(&answer)?;
    Ok(0)
}
