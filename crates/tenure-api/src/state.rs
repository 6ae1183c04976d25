//! What every request to the door needs: the engine, and whoever can tell who somebody is.

use crate::host::Hosts;
use crate::jwt::Jwt;
use crate::meters::HttpMeters;
use crate::pass::RequestIds;
use crate::ticket::Tickets;
use ed25519_dalek::VerifyingKey;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tenure_digest::Sha256Digest;
use tenure_engine::{Engine, SignedHead};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Most viewers of terminals at once.
const TERMINALS_MAX: usize = 4096;

/// What a door is made of.
pub struct DoorParts {
    /// What does everything.
    pub engine: Engine,
    /// Who checks tokens.
    pub jwt: Jwt,
    /// Who makes and takes tickets.
    pub tickets: Tickets,
    /// How previews are reached from outside.
    pub previews: PreviewSettings,
    /// Host names that the service answers to, beside the loopback's. Without a port.
    pub allowed_hosts: Vec<String>,
    /// Addresses that it listens on. Where one of them is the unspecified address, every address will do as a host name.
    pub listen: Vec<IpAddr>,
    /// Meters of requests, registered where the engine's are.
    pub meters: HttpMeters,
    /// A secret that reads metrics and nothing else, for whoever collects them.
    pub metrics_token: Option<String>,
    /// What the audit is checked against.
    pub audit: AuditProof,
    /// Where uploaded archives are kept while a template is made of them.
    pub upload_dir: PathBuf,
}

/// What the audit is checked against, from outside the store.
#[derive(Clone)]
pub struct AuditProof {
    /// The public key that heads are signed with; without one signatures are not looked at.
    pub key: Option<VerifyingKey>,
    /// Reads the heads that were written outside the store. May block.
    pub heads: Arc<HeadsReader>,
}

/// Reads the heads that were written outside the store; or says, for the operator, why it cannot.
pub type HeadsReader = dyn Fn() -> Result<Vec<SignedHead>, String> + Send + Sync;

impl Default for AuditProof {
    fn default() -> AuditProof {
        AuditProof { key: None, heads: Arc::new(|| Ok(Vec::new())) }
    }
}

/// How previews are reached from outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreviewSettings {
    /// The domain below which each preview has a host name of its own: `{port}-{compact session ID}.{domain}`. Without one, previews are reached by path only.
    pub domain: Option<String>,
    /// Whether such a host name is reached over HTTPS.
    pub https: bool,
    /// At which port, where it is not the scheme's own.
    pub port: Option<u16>,
}

/// What every request needs. One for each door, shared by all its requests.
pub struct DoorState {
    /// What does everything.
    pub engine: Engine,
    /// Who checks tokens.
    pub jwt: Jwt,
    /// Who makes and takes tickets.
    pub tickets: Tickets,
    /// How previews are reached from outside.
    pub previews: PreviewSettings,
    /// Cancelled when the door closes: long streams end then.
    pub closing: CancellationToken,
    /// Room for viewers of terminals.
    pub(crate) terminals: Arc<Semaphore>,
    pub(crate) hosts: Hosts,
    pub(crate) meters: HttpMeters,
    pub(crate) request_ids: RequestIds,
    pub(crate) audit: AuditProof,
    pub(crate) upload_dir: PathBuf,
    pub(crate) metrics_token: Option<Sha256Digest>,
}

impl DoorState {
    /// From its parts.
    pub fn new(parts: DoorParts) -> DoorState {
        let hosts = Hosts::new(parts.allowed_hosts, parts.listen, parts.previews.domain.as_deref());
        DoorState {
            engine: parts.engine,
            jwt: parts.jwt,
            tickets: parts.tickets,
            previews: parts.previews,
            closing: CancellationToken::new(),
            terminals: Arc::new(Semaphore::new(TERMINALS_MAX)),
            hosts,
            meters: parts.meters,
            request_ids: RequestIds::new(),
            audit: parts.audit,
            upload_dir: parts.upload_dir,
            metrics_token: parts.metrics_token.map(|token| tenure_digest::digest_bytes(token.as_bytes())),
        }
    }
}
