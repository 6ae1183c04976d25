//! The configuration: as written in a file, in variables and in flags, resolved once into [`Config`], and passed on (CF-1).
//!
//! ```text
//!  defaults ◄ file ◄ TENURE_… ◄ flags     layer.rs: each value with the place where it was written; unknown keys are refused
//!                    │
//!                    ▼
//!               resolve.rs                checked as a whole; every problem is told at once
//!                    │
//!                    ▼
//!                 Config                  plain, and nothing in it is looked up again
//! ```

pub mod flags;
pub mod jwt;
pub mod key;
mod layer;
mod resolve;
mod shown;
#[cfg(test)]
mod tests;
mod value;

pub use flags::Flags;
pub use jwt::JwtKey;
pub use layer::Flag;
pub use shown::Shown;

use crate::failure::{Code, Failure};
use layer::Written;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tenure_session::{LimitPolicy, Range};

/// What holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where everything is kept. Not made yet.
    pub data_dir: PathBuf,
    /// Where the server listens.
    pub listen: SocketAddr,
    /// Names by which the server may be called, beside its own.
    pub allowed_hosts: Vec<String>,
    /// The domain of previews' host names.
    pub preview_domain: Option<String>,
    /// Whether browsers reach previews' host names over HTTPS.
    pub preview_https: bool,
    /// The port at which browsers reach previews' host names, where it is not the server's.
    pub preview_port: Option<u16>,
    /// A file with the secret that reads the metrics.
    pub metrics_token_file: Option<PathBuf>,
    /// Connections that are served at once.
    pub max_connections: u32,
    /// How long requests in progress have to end after SIGTERM.
    pub drain_timeout_ms: u64,
    /// What is logged.
    pub log: String,
    /// Whether sessions may go without limits that this host does not enforce.
    pub allow_unenforced: bool,
    /// The template of a session that names none.
    pub default_template: String,
    /// How long making an environment may take.
    pub init_timeout_ms: u64,
    /// How long programs have between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// How long an environment may be silent after a restart.
    pub recover_timeout_ms: u64,
    /// The size of the storage pool, where it is made first.
    pub pool_bytes: Option<u64>,
    /// How much of the host stays free.
    pub host: Host,
    /// Environments per template that are made ahead of time.
    pub pool_ready: usize,
    /// Defaults and bounds of what a session may do and use.
    pub limits: LimitPolicy,
    /// Leases.
    pub lease: Lease,
    /// Programs.
    pub exec: Exec,
    /// The sweeper.
    pub sweeper: Sweeper,
    /// How long things are kept.
    pub retention: Retention,
    /// The keys whose tokens are taken.
    pub jwt: Vec<JwtKey>,
}

/// How much of the host stays free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// With less disk free no new session is made.
    pub min_free_disk_bytes: u64,
    /// With less memory free no new session is made.
    pub min_free_memory_bytes: u64,
    /// Disk that is held back for the database.
    pub reserve_bytes: u64,
}

/// Leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Bounds of their TTL.
    pub ttl_ms: Range,
    /// The TTL of one that asks for none.
    pub default_ttl_ms: u64,
    /// The heartbeat interval of one that asks for none.
    pub default_heartbeat_interval_ms: u64,
}

/// Programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exec {
    /// How long one may run where its request does not say.
    pub default_timeout_ms: u64,
    /// Most bytes kept of its output, of both streams together.
    pub output_cap_bytes: u64,
    /// Most bytes of each stream in an answer.
    pub inline_output_bytes: u64,
}

/// The sweeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweeper {
    /// Whether there is one.
    pub enabled: bool,
    /// How often it looks.
    pub interval_ms: u64,
}

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Whether anything is archived and purged.
    pub enabled: bool,
    /// How often is looked for it.
    pub interval_ms: u64,
    /// How long after its end a session is archived.
    pub archive_after_ms: u64,
    /// How long after its end a session is purged.
    pub purge_after_ms: u64,
    /// For how long a deleted session can be brought back.
    pub undelete_days: u32,
}

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Which setting.
    pub key: String,
    /// Where it was written: a file, a variable, a flag.
    pub source: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Where settings can be written, and what is written there.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, and whether it must be there.
    pub file: Option<(PathBuf, bool)>,
    /// All variables.
    pub variables: Vec<(String, String)>,
    /// All flags.
    pub flags: Vec<Flag>,
    /// The data directory where nobody names one.
    pub default_data_dir: Option<PathBuf>,
}

impl Sources {
    fn written(&self) -> Result<Written, Failure> {
        let mut written = Written::defaults();
        if let Some((path, must_exist)) = &self.file {
            match std::fs::read_to_string(path) {
                Ok(text) => written.file(path, &text),
                // What nobody named need not be there, nor be there for us.
                Err(error) if !must_exist && is_out_of_reach(&error) => {}
                Err(error) => {
                    let message = format!("cannot read the configuration {}: {error}", path.display());
                    return Err(Failure::new(Code::Validation, message));
                }
            }
        }
        written.variables(self.variables.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        written.flags(&self.flags);
        Ok(written)
    }

    /// What holds, or a failure that names everything that is wrong.
    pub fn resolve(&self) -> Result<Config, Failure> {
        resolve::resolve(&self.written()?, self.default_data_dir.clone()).map_err(|problems| refused(&problems))
    }

    /// Every setting with its value and the place where it was written.
    pub fn shown(&self) -> Result<Vec<Shown>, Failure> {
        let written = self.written()?;
        resolve::resolve(&written, self.default_data_dir.clone()).map_err(|problems| refused(&problems))?;
        Ok(shown::all(&written, self.default_data_dir.as_deref()))
    }
}

fn refused(problems: &[Problem]) -> Failure {
    let line = |problem: &Problem| {
        let Problem { key, source, problem } = problem;
        if key.is_empty() || key == source {
            format!("{source}: {problem}")
        } else {
            format!("{source}: {key}: {problem}")
        }
    };
    let message = match problems {
        [only] => format!("the configuration is refused: {}", line(only)),
        many => {
            let lines: Vec<String> = many.iter().map(|problem| format!("\n  {}", line(problem))).collect();
            format!("the configuration is refused:{}", lines.concat())
        }
    };
    Failure::new(Code::Validation, message)
        .hint(
            "docs/configuration.md lists every setting; `tenure config show` says what holds and where it was written",
        )
        .details(json!({ "problems": problems }))
}

impl Config {
    /// What the engine is told.
    pub fn engine_settings(&self, output_dir: PathBuf) -> tenure_engine::Settings {
        tenure_engine::Settings {
            limits: self.limits.clone(),
            lease_ttl_ms: self.lease.ttl_ms,
            lease_default_ttl_ms: self.lease.default_ttl_ms,
            lease_default_heartbeat_interval_ms: self.lease.default_heartbeat_interval_ms,
            init_timeout_ms: self.init_timeout_ms,
            recover_timeout_ms: self.recover_timeout_ms,
            min_free_disk_bytes: self.host.min_free_disk_bytes,
            min_free_memory_bytes: self.host.min_free_memory_bytes,
            grace_ms: self.grace_ms,
            exec_default_timeout_ms: self.exec.default_timeout_ms,
            exec_output_cap_bytes: self.exec.output_cap_bytes,
            exec_inline_bytes: self.exec.inline_output_bytes,
            undelete_window_ms: u64::from(self.retention.undelete_days) * 24 * 3_600_000,
            archive_after_ms: self.retention.archive_after_ms,
            purge_after_ms: self.retention.purge_after_ms,
            allow_unenforced: self.allow_unenforced,
            default_template: self.default_template.clone(),
            ..tenure_engine::Settings::new(output_dir)
        }
    }
}

/// The file that is read where nobody names one.
pub fn default_file(is_root: bool, config_home: Option<&Path>) -> Option<PathBuf> {
    if is_root { Some("/etc/tenure/tenure.toml".into()) } else { Some(config_home?.join("tenure/tenure.toml")) }
}

fn is_out_of_reach(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied)
}
