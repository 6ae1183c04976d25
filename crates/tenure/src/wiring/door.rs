//! The door: the API on a listener, with what it checks tokens and the audit against.

use crate::config::Config;
use crate::config::jwt::{Algorithm, JwtKey as Configured, UserClaim as ConfiguredClaim};
use crate::failure::{Code, Failure};
use crate::wiring::{secrets, store};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tenure_api::jwt::{Jwt, JwtKey, KeyMaterial, RoleClaim, UserClaim};
use tenure_api::ticket::Tickets;
use tenure_api::{AuditProof, Door, DoorParts, HttpMeters, PreviewSettings, ServeSettings};
use tenure_engine::Engine;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Fewest characters of the secret that reads the metrics.
const METRICS_TOKEN_MIN: usize = 16;

/// An open door.
pub struct Open {
    /// Where it is.
    pub address: SocketAddr,
    close: CancellationToken,
    served: JoinHandle<()>,
}

impl Open {
    /// Lets nobody in any more, and returns when those inside have left or their time is over.
    pub async fn close(self) {
        self.close.cancel();
        if let Err(error) = self.served.await {
            tracing::error!(%error, "the door did not close as it should");
        }
    }
}

/// Opens the door on this listener.
pub fn open(
    dir: &Path,
    config: &Config,
    engine: Engine,
    meters: HttpMeters,
    listener: std::net::TcpListener,
) -> Result<Open, Failure> {
    let address = listener.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let upload_dir = dir.join("uploads");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&upload_dir)?;
    let door = Door::new(DoorParts {
        engine,
        jwt: jwt(config)?,
        tickets: Tickets::default(),
        previews: previews(config, address.port()),
        allowed_hosts: config.allowed_hosts.clone(),
        listen: vec![address.ip()],
        meters,
        metrics_token: config.metrics_token_file.as_deref().map(metrics_token).transpose()?,
        audit: audit_proof(dir)?,
        upload_dir,
    });
    let settings = ServeSettings {
        max_connections: config.max_connections as usize,
        drain: Duration::from_millis(config.drain_timeout_ms),
        ..ServeSettings::default()
    };
    let close = CancellationToken::new();
    let closed = close.clone().cancelled_owned();
    let served = tokio::spawn(async move { door.serve(listener, settings, closed).await });
    Ok(Open { address, close, served })
}

fn audit_proof(dir: &Path) -> Result<AuditProof, Failure> {
    let key = secrets::audit_key(dir)?.verifying_key();
    let file = store::heads_file(dir);
    let heads = move || {
        let file = std::fs::File::open(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let read = tenure_store::audit::log::read_heads(std::io::BufReader::new(file));
        read.map(|found| found.heads).map_err(|error| error.to_string())
    };
    Ok(AuditProof { key: Some(key), heads: Arc::new(heads) })
}

/// Where browsers find previews by host name: at the server itself, or at a proxy in front of it.
fn previews(config: &Config, own_port: u16) -> PreviewSettings {
    let port = config.preview_port.or(if config.preview_https { None } else { Some(own_port) });
    PreviewSettings { domain: config.preview_domain.clone(), https: config.preview_https, port }
}

/// The secret in this file.
fn metrics_token(file: &Path) -> Result<String, Failure> {
    let refused = |problem: &str| {
        Failure::new(Code::Validation, format!("metrics_token_file: {}: {problem}", file.display()))
            .hint("it holds one secret of 16 characters or more, alone on one line")
    };
    let text = std::fs::read_to_string(file).map_err(|error| refused(&error.to_string()))?;
    let token = text.trim();
    let is_one = token.len() >= METRICS_TOKEN_MIN && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one { Ok(token.to_owned()) } else { Err(refused("it holds no secret")) }
}

fn jwt(config: &Config) -> Result<Jwt, Failure> {
    let keys = config.jwt.iter().map(jwt_key).collect::<Result<Vec<_>, Failure>>()?;
    Jwt::new(keys).map_err(|error| Failure::new(Code::Validation, error.to_string()))
}

fn jwt_key(key: &Configured) -> Result<JwtKey, Failure> {
    let file = key.file();
    let unreadable = |error: std::io::Error| {
        Failure::new(Code::Validation, format!("jwt {:?}: {}: {error}", key.name, file.display()))
    };
    let bytes = std::fs::read(file).map_err(unreadable)?;
    let pem = || String::from_utf8(bytes.clone()).map_err(|error| unreadable(std::io::Error::other(error)));
    let material = match key.algorithm {
        Algorithm::HS256 => KeyMaterial::Hs256(bytes.trim_ascii().to_vec()),
        Algorithm::RS256 => KeyMaterial::Rs256(pem()?),
        Algorithm::EdDSA => KeyMaterial::EdDsa(pem()?),
    };
    Ok(JwtKey {
        name: key.name.clone(),
        kid: key.kid.clone(),
        material,
        issuer: key.issuer.clone(),
        audience: key.audience.clone(),
        user_claim: match key.user_claim {
            ConfiguredClaim::Sub => UserClaim::Sub,
            ConfiguredClaim::UserId => UserClaim::UserId,
        },
        role_claim: key.admin_claim.clone().map(|claim| RoleClaim { claim, admin: key.admin_value.clone() }),
    })
}
