//! The building of one version, in a directory of its own, before it gets its place.

use super::fit::{self, Outcome};
use super::lock::{self, LOCK};
use super::manifest::{MANIFEST_FORMAT, Manifest, Settings};
use super::tree::Tree;
use super::{Source, TemplateError, directory, host, oci};
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The root's directory in a version.
pub(super) const ROOT: &str = "root";

/// How large a source may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most files, directories and links, over all layers.
    pub entries: u64,
    /// Most bytes, unpacked, over all layers.
    pub bytes: u64,
    /// Most layers.
    pub layers: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 2_000_000, bytes: 64 << 30, layers: 512 }
    }
}

/// How a store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How large a source may be.
    pub bounds: Bounds,
    /// Where the host's files are: `/`, but for tests.
    pub host_root: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { bounds: Bounds::default(), host_root: "/".into() }
    }
}

/// A temporary directory of the store. Its lock tells others that somebody is at work in it.
#[derive(Debug)]
pub(super) struct Workshop {
    // In this order: nobody else shall find it unlocked while it is being removed.
    dir: tempfile::TempDir,
    _lock: File,
}

impl Workshop {
    /// Opens one in the store `store`, whose lock the caller holds.
    pub(super) fn open(store: &Path, prefix: &str) -> Result<Self, TemplateError> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(store);
        let dir = made.map_err(TemplateError::io("create a directory in", store))?;
        let lock = lock::exclusive(&dir.path().join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The directory that becomes the version's.
    pub(super) fn version_dir(&self) -> PathBuf {
        self.path().join("version")
    }

    /// Makes the version's directory, with an empty root.
    pub(super) fn tree(&self) -> Result<Tree, TemplateError> {
        let dir = self.version_dir();
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(TemplateError::io("create", &dir))?;
        Tree::create(&dir.join(ROOT))
    }

    /// Removes it and all in it, and says if that does not work.
    pub(super) fn close(self) -> Result<(), TemplateError> {
        let path = self.dir.path().to_owned();
        self.dir.close().map_err(TemplateError::io("remove", &path))
    }
}

/// Fills `tree` from its source. The manifest that comes of it has no number yet.
pub(super) fn stage(
    tree: &Tree,
    name: &str,
    source: &Source,
    settings: Settings,
    workshop: &Workshop,
    options: &Options,
) -> Result<Manifest, TemplateError> {
    check_settings(&settings)?;
    let outcome = match source {
        Source::Host => host::build(tree, &options.host_root)?,
        Source::Directory(path) => directory::copy(tree, path, workshop.path(), options.bounds)?,
        Source::OciLayout { path, tag } => oci::unpack_layout(tree, path, tag.as_deref(), options.bounds)?,
        Source::OciArchive { path, tag } => {
            oci::unpack_archive(tree, path, tag.as_deref(), options.bounds, workshop.path())?
        }
    };
    fit::fit(tree)?;
    manifest(name, source, settings, tree, outcome)
}

fn check_settings(settings: &Settings) -> Result<(), TemplateError> {
    let refused = |reason: &str| Err(TemplateError::Setting { reason: reason.to_owned() });
    if settings.cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/')) {
        return refused("the working directory is not an absolute path");
    }
    if settings.start.as_ref().is_some_and(|start| start.first().is_none_or(String::is_empty)) {
        return refused("the start command is empty");
    }
    if settings.env.keys().any(|name| name.is_empty() || name.contains('=') || name.contains('\0')) {
        return refused("a variable's name is empty or has '=' in it");
    }
    Ok(())
}

fn manifest(
    name: &str,
    source: &Source,
    settings: Settings,
    tree: &Tree,
    outcome: Outcome,
) -> Result<Manifest, TemplateError> {
    let run_as = fit::run_as(tree, settings.user.as_deref().or(outcome.user.as_deref()))?;
    let mut env = outcome.env;
    env.extend(settings.env);
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        name: name.to_owned(),
        version: 0,
        source: source.kind(),
        digest: outcome.digest,
        created_at_ms: settings.created_at_ms,
        run_as,
        cwd: settings.cwd.or(outcome.cwd).unwrap_or_else(|| "/workspace".to_owned()),
        profile: settings.profile,
        env,
        start: settings.start,
        idle_timeout: settings.idle_timeout,
        limits: settings.limits,
        lease: settings.lease,
        default_cmd: outcome.default_cmd,
        labels: outcome.labels,
    })
}
