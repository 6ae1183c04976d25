//! Who somebody is: a key, a token or a ticket, looked at before anything else of a request is (AU-1, AU-2).

use crate::host::same_origin;
use crate::problem::Problem;
use crate::state::DoorState;
use crate::terminal;
use crate::ticket::{Grant, Purpose, is_ticket};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::request::Parts;
use std::borrow::Cow;
use std::sync::Arc;
use tenure_session::{Caller, LeaseToken, Operation, Role, SessionId, Timestamp, Who};

/// What every key's secret begins with.
const KEY_PREFIX: &str = "tnr_";

/// Somebody whose credential was checked, and how long it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who it is.
    pub caller: Arc<Caller>,
    /// From when on it is good for nothing; what runs on it ends then.
    pub expires_at: Option<Timestamp>,
    /// The only session that it is good for, where it is a ticket.
    session: Option<SessionId>,
    /// Where it is a terminal's ticket, the token of the lease that it speaks for, if for any.
    lease: Option<Option<LeaseToken>>,
}

impl Credential {
    /// Whether it is good for this session.
    pub(crate) fn is_for(&self, session: &str) -> bool {
        self.session.as_ref().is_none_or(|own| own.as_str() == session)
    }

    /// The token of the lease that it speaks for, where it is a terminal's ticket.
    pub(crate) fn lease(&self) -> Option<Option<LeaseToken>> {
        self.lease
    }

    /// Waits until it is good for nothing any more.
    pub(crate) fn ended(&self, door: &DoorState) -> impl Future<Output = ()> + Send + 'static + use<> {
        door.engine.credential_ended(&self.caller, self.expires_at)
    }
}

/// Who asks for this.
pub(crate) fn credential(door: &DoorState, operation: Operation, parts: &Parts) -> Result<Credential, Problem> {
    let found = match bearer(parts) {
        Some(secret) if operation == Operation::MetricsGet => metrics(door, secret).or_else(|| by_secret(door, secret)),
        Some(secret) => by_secret(door, secret),
        None if takes_tickets(operation) => by_ticket(door, operation, parts),
        None => None,
    };
    found.ok_or_else(Problem::unauthenticated)
}

/// Who asks for what is on no route: whoever is nobody does not hear that either.
pub(crate) fn somebody(door: &DoorState, parts: &Parts) -> Result<Credential, Problem> {
    bearer(parts).and_then(|secret| by_secret(door, secret)).ok_or_else(Problem::unauthenticated)
}

/// Whether an operation is open to whoever reaches the door.
pub(crate) fn is_open(operation: Operation) -> bool {
    match operation.row().who {
        Who::Anyone => true,
        Who::User | Who::Owner | Who::Admin => false,
    }
}

/// The streams that a browser opens, which cannot send a header with them. Previews see to theirs on their own.
fn takes_tickets(operation: Operation) -> bool {
    matches!(operation, Operation::SessionEvents | Operation::FileWatch | Operation::Terminal)
}

/// What stands behind `Authorization: Bearer`.
pub(crate) fn bearer(parts: &Parts) -> Option<&str> {
    let mut all = parts.headers.get_all(AUTHORIZATION).iter();
    let (scheme, secret) = all.next()?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && all.next().is_none()).then(|| secret.trim())
}

/// Whose key or token this is.
pub(crate) fn by_secret(door: &DoorState, secret: &str) -> Option<Credential> {
    if secret.starts_with(KEY_PREFIX) {
        let key = door.engine.key_check(secret)?;
        let caller = Caller { user: key.user, role: key.role, credential: key.id.to_string() };
        return Some(Credential { caller: Arc::new(caller), expires_at: key.expires_at, session: None, lease: None });
    }
    match door.jwt.verify(secret, door.engine.now().as_ms() / 1000) {
        Ok(verified) => {
            let (caller, expires_at) = (Arc::new(verified.caller), Some(verified.expires_at));
            Some(Credential { caller, expires_at, session: None, lease: None })
        }
        Err(refused) => {
            tracing::debug!(%refused, "a token was not taken");
            None
        }
    }
}

fn by_ticket(door: &DoorState, operation: Operation, parts: &Parts) -> Option<Credential> {
    let query = parts.uri.query().unwrap_or_default();
    let in_query = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "ticket").map(|found| found.1);
    let in_protocol = || terminal::ticket(&parts.headers).filter(|_| operation == Operation::Terminal).map(Into::into);
    let ticket: Cow<'_, str> = in_query.or_else(in_protocol)?;
    // Looked at before the ticket is spent: a page of somebody else's must not spend it either.
    if !is_ticket(&ticket) || !same_origin(&parts.headers) {
        return None;
    }
    let grant = door.tickets.spend(&ticket, door.engine.now())?;
    match (grant.purpose, operation) {
        (Purpose::Terminal { lease }, Operation::Terminal) => {
            granted(door, grant).map(|credential| Credential { lease: Some(lease), ..credential })
        }
        (Purpose::Events, Operation::SessionEvents | Operation::FileWatch) => granted(door, grant),
        (Purpose::Events | Purpose::Terminal { .. } | Purpose::Preview { .. }, _) => None,
    }
}

/// What a grant is worth now: nothing, where the credential that it was given to is not.
pub(crate) fn granted(door: &DoorState, grant: Grant) -> Option<Credential> {
    let (caller, expires_at, session) = (grant.caller, grant.credential_expires_at, Some(grant.session));
    let credential = Credential { caller, expires_at, session, lease: None };
    credential.ended(door).now_or_never().is_none().then_some(credential)
}

/// The secret that reads metrics, and is good for nothing else.
fn metrics(door: &DoorState, secret: &str) -> Option<Credential> {
    let known = door.metrics_token.as_ref()?;
    // Digests are compared: how long that takes tells nothing about the secret.
    if tenure_digest::digest_bytes(secret.as_bytes()) != *known {
        return None;
    }
    let user = "metrics".parse().ok()?;
    let caller = Caller { user, role: Role::Admin, credential: "metrics_token".to_owned() };
    Some(Credential { caller: Arc::new(caller), expires_at: None, session: None, lease: None })
}
