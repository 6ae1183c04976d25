//! Templates: named base roots, with the settings that a session made from one begins with.
//!
//! On disk, below the data directory:
//!
//! ```text
//! <data-dir>/templates/          mode 0700: roots may hold setuid programs, which no local user shall reach
//!   .lock                        held (exclusive) for the short moments in which versions appear and go
//!   .new-XXXXXX/                 a version being built; its `lock` is held by the builder, so a leftover shows itself
//!   .old-XXXXXX/                 removed versions on their way out; likewise
//!   <name>/
//!     next                       the next version number; numbers are never given twice, not even after a removal
//!     fingerprint                only of the built-in template: the host's files as last seen, and the version they made
//!     <version>/
//!       lock                     shared lock = in use (`Template::hold`)
//!       manifest.json            see `manifest::Manifest`
//!       root/                    the read-only base: the lower layer of each session's overlay
//! ```
//!
//! A version is built in a directory beside, synced, and renamed into place: it is there as a whole or not at all, and never
//! changes afterwards. Roots keep the owners of their source, unshifted (0 is root, 1000 the tenant), when root adds them; where an
//! ordinary user adds them, everything is that user's, and readable and searchable by that user.
//!
//! The sources:
//!
//! | source | module | comes from |
//! |---|---|---|
//! | [`Source::Host`] | `host` | a small synthetic root; the host's own `/usr` is bound into it, read-only |
//! | [`Source::Directory`] | `directory` | a root tree, copied |
//! | [`Source::OciLayout`], [`Source::OciArchive`] | `oci`, `layer` | an image: verified blob by blob, unpacked layer by layer |

mod beneath;
mod blobs;
mod directory;
mod error;
mod fit;
mod host;
mod layer;
mod lock;
mod manifest;
mod oci;
mod source;
mod stage;
mod store;
mod stream;
mod tree;

pub use error::TemplateError;
pub use lock::Hold;
pub use manifest::{
    IdleTimeout, LeaseDefaults, LimitDefaults, MANIFEST_FORMAT, Manifest, Profile, RunAs, Settings, SourceKind,
};
pub use source::{HostUsr, Source};
pub use stage::{Bounds, Options};
pub use store::{DEFAULT_TEMPLATE, Templates};

use std::path::PathBuf;

/// One version of a template, as stored.
#[derive(Clone, Debug)]
pub struct Template {
    /// What is known of it: name, version, digest, settings.
    pub manifest: Manifest,
    /// The read-only base root.
    pub root: PathBuf,
    /// What is mounted on the root's `usr`.
    pub usr: HostUsr,
    /// `<data-dir>/templates/<name>/<version>`.
    dir: PathBuf,
}

impl Template {
    /// `name@version`, which [`Templates::resolve`] takes.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.manifest.name, self.manifest.version)
    }

    /// Keeps this version from being removed for as long as the answer, or its descriptor, or a copy of that, stays open.
    ///
    /// Fails with [`TemplateError::NotFound`] when the version has gone, or is just being removed.
    pub fn hold(&self) -> Result<Hold, TemplateError> {
        lock::hold(&self.dir, &self.reference())
    }
}
