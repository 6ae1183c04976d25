//! The port to whatever keeps the roots that templates start from.

use async_trait::async_trait;
use std::path::PathBuf;

/// Where a root comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseSource {
    /// Something on the server's host: a directory, an OCI layout or an archive, written `kind:path` or as a path alone.
    Path(String),
    /// An archive that was uploaded to this file.
    Archive(PathBuf),
}

/// Why a root could not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// What was given is no root, or cannot be one.
    #[error("{0}")]
    Invalid(String),
    /// There is no such root, or nothing at that path.
    #[error("{0}")]
    NotFound(String),
    /// Environments use it.
    #[error("{0}")]
    InUse(String),
    /// It cannot be kept now.
    #[error("{0}")]
    Unavailable(String),
}

/// Keeps roots, each under a name and a version of its own.
#[async_trait]
pub trait Bases: Send + Sync {
    /// Keeps a root under this name, and says what the driver calls that version of it.
    async fn base_add(&self, name: &str, source: BaseSource) -> Result<String, BaseError>;

    /// Whether the driver can start from this.
    async fn base_exists(&self, base: &str) -> bool;

    /// Lets go of a version that `base_add` gave. One that is gone is no error.
    async fn base_remove(&self, base: &str) -> Result<(), BaseError>;
}
