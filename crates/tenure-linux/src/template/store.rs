//! The store of templates: adding, finding, removing. See the module's drawing.

use super::lock::{self, LOCK};
use super::manifest::{Manifest, Settings, SourceKind};
use super::stage::{self, Options, ROOT, Workshop};
use super::tree::Tree;
use super::{HostUsr, Source, Template, TemplateError, host};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The built-in template's name.
pub const DEFAULT_TEMPLATE: &str = "default";
const MANIFEST: &str = "manifest.json";
const STORE_LOCK: &str = ".lock";
const NEXT: &str = "next";
const NAME_MAX: usize = 63;

/// All templates below one data directory. Several processes may use it at once.
#[derive(Clone, Debug)]
pub struct Templates {
    dir: PathBuf,
    options: Options,
}

impl Templates {
    /// Opens, and makes if need be, the templates below the data directory `dir`.
    pub fn open(dir: &Path) -> Result<Self, TemplateError> {
        Self::open_with(dir, Options::default())
    }

    /// As [`Templates::open`], with other bounds.
    pub fn open_with(dir: &Path, options: Options) -> Result<Self, TemplateError> {
        let dir = dir.join("templates");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(TemplateError::io("create", &dir))?;
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&dir, private).map_err(TemplateError::io("set the mode of", &dir))?;
        Ok(Self { dir, options })
    }

    /// Adds the next version of `name`. Takes as long as copying or unpacking the source; others go on meanwhile.
    pub fn add(&self, name: &str, source: &Source, settings: Settings) -> Result<Template, TemplateError> {
        check_name(name)?;
        if name == DEFAULT_TEMPLATE {
            return Err(TemplateError::Reserved { name: name.to_owned() });
        }
        self.build(name, source, settings, None)
    }

    /// The built-in template, as the host is now: the newest version if it still fits the host, else a new one.
    ///
    /// `created_at_ms` is now, in milliseconds of Unix time; it is used only where a version is made.
    pub fn default_template(&self, created_at_ms: u64) -> Result<Template, TemplateError> {
        let fingerprint = host::fingerprint(&self.options.host_root)?;
        let cache = self.dir.join(DEFAULT_TEMPLATE).join("fingerprint");
        let newest = match self.resolve(DEFAULT_TEMPLATE) {
            Ok(newest) => Some(newest),
            Err(TemplateError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let seen = fs::read_to_string(&cache).unwrap_or_default();
        match newest {
            Some(newest) if seen == format!("{fingerprint} {}\n", newest.manifest.version) => return Ok(newest),
            _ => {}
        }
        let settings = Settings { created_at_ms, ..Settings::default() };
        let template = self.build(DEFAULT_TEMPLATE, &Source::Host, settings, newest)?;
        self.replace(&cache, format!("{fingerprint} {}\n", template.manifest.version).as_bytes())?;
        Ok(template)
    }

    /// Every version of every template, by name and number.
    pub fn list(&self) -> Result<Vec<Template>, TemplateError> {
        let mut names = names_in(&self.dir)?;
        names.retain(|name| is_name(name));
        names.sort();
        let mut templates = Vec::new();
        for name in names {
            for version in self.versions(&name)? {
                match self.load(&name, version) {
                    Ok(template) => templates.push(template),
                    // Removed since the directory was read.
                    Err(TemplateError::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(templates)
    }

    /// What is known of `name` (its newest version) or `name@version`.
    pub fn show(&self, reference: &str) -> Result<Manifest, TemplateError> {
        self.resolve(reference).map(|template| template.manifest)
    }

    /// Finds `name` (its newest version) or `name@version`. The built-in one is found once it has been asked for
    /// ([`Templates::default_template`]).
    pub fn resolve(&self, reference: &str) -> Result<Template, TemplateError> {
        let not_found = || TemplateError::NotFound { reference: reference.to_owned() };
        let (name, version) = match reference.split_once('@') {
            Some((name, version)) => (name, Some(version.parse::<u32>().map_err(|_| not_found())?)),
            None => (reference, None),
        };
        check_name(name)?;
        let version = match version {
            Some(version) => version,
            None => self.versions(name)?.into_iter().max().ok_or_else(not_found)?,
        };
        self.load(name, version)
    }

    /// Removes one version, or all of them. Nothing is removed if one of them is in use.
    pub fn remove(&self, name: &str, version: Option<u32>) -> Result<(), TemplateError> {
        check_name(name)?;
        let store_lock = self.lock()?;
        let not_found = |version: Option<u32>| TemplateError::NotFound {
            reference: version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}")),
        };
        let mut going = self.versions(name)?;
        going.retain(|there| version.is_none_or(|wanted| wanted == *there));
        if going.is_empty() {
            return Err(not_found(version));
        }
        let mut locks = Vec::new();
        for version in &going {
            let lock = lock::try_exclusive(&self.version_dir(name, *version).join(LOCK))?;
            let in_use = || TemplateError::InUse { reference: format!("{name}@{version}") };
            locks.push(lock.ok_or_else(in_use)?);
        }
        let away = Workshop::open(&self.dir, ".old-")?;
        for version in going {
            let from = self.version_dir(name, version);
            fs::rename(&from, away.path().join(version.to_string())).map_err(TemplateError::io("remove", &from))?;
        }
        sync_dir(&self.dir.join(name))?;
        drop(store_lock);
        away.close()
    }

    /// Builds a version. `newest` is the one that serves as well, should the root turn out to be the same.
    fn build(
        &self,
        name: &str,
        source: &Source,
        settings: Settings,
        newest: Option<Template>,
    ) -> Result<Template, TemplateError> {
        let store_lock = self.lock()?;
        self.sweep()?;
        let workshop = Workshop::open(&self.dir, ".new-")?;
        drop(store_lock);
        let tree = workshop.tree()?;
        let manifest = stage::stage(&tree, name, source, settings, &workshop, &self.options)?;
        match newest.filter(|newest| newest.manifest.digest == manifest.digest) {
            Some(newest) => Ok(newest),
            None => self.publish(&workshop.version_dir(), manifest, &tree),
        }
    }

    /// Gives the built version its number and its place.
    fn publish(&self, from: &Path, mut manifest: Manifest, tree: &Tree) -> Result<Template, TemplateError> {
        let _store_lock = self.lock()?;
        let name = manifest.name.clone();
        let name_dir = self.dir.join(&name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&name_dir)
            .map_err(TemplateError::io("create", &name_dir))?;
        manifest.version = self.take_number(&name)?;
        write_new(&from.join(LOCK), b"")?;
        write_new(&from.join(MANIFEST), &manifest.to_bytes()?)?;
        tree.sync()?;
        let to = self.version_dir(&name, manifest.version);
        fs::rename(from, &to).map_err(TemplateError::io("put into place", &to))?;
        sync_dir(&name_dir)?;
        sync_dir(&self.dir)?;
        self.load(&name, manifest.version)
    }

    fn load(&self, name: &str, version: u32) -> Result<Template, TemplateError> {
        let dir = self.version_dir(name, version);
        if !dir.join(MANIFEST).exists() {
            return Err(TemplateError::NotFound { reference: format!("{name}@{version}") });
        }
        let manifest = Manifest::read(&dir.join(MANIFEST))?;
        let usr = match manifest.source {
            SourceKind::Host => HostUsr::Bind,
            SourceKind::Directory | SourceKind::OciLayout | SourceKind::OciArchive => HostUsr::None,
        };
        Ok(Template { manifest, root: dir.join(ROOT), usr, dir })
    }

    /// The versions of `name`, ascending; none if there is no such template.
    fn versions(&self, name: &str) -> Result<Vec<u32>, TemplateError> {
        let mut versions: Vec<u32> =
            names_in(&self.dir.join(name))?.iter().filter_map(|entry| entry.parse().ok()).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// Takes the next version number of `name`. It is spent even if what follows fails.
    fn take_number(&self, name: &str) -> Result<u32, TemplateError> {
        let path = self.dir.join(name).join(NEXT);
        let stored = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<u32>().ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(1),
            Err(error) => return Err(TemplateError::io("read", &path)(error)),
        };
        let reason = || "is not a version number".to_owned();
        let number = stored.ok_or_else(|| TemplateError::Stored { path: path.clone(), reason: reason() })?;
        let newest = self.versions(name)?.into_iter().max().unwrap_or(0);
        let number = number.max(newest + 1);
        self.replace(&path, format!("{}\n", number + 1).as_bytes())?;
        Ok(number)
    }

    /// Removes what crashes have left. Under the store's lock, under which such directories get their own lock.
    fn sweep(&self) -> Result<(), TemplateError> {
        for name in names_in(&self.dir)? {
            let leftover = self.dir.join(&name);
            if !name.starts_with(".new-") && !name.starts_with(".old-") {
                continue;
            }
            let lock = leftover.join(LOCK);
            let dead = !lock.exists() || lock::try_exclusive(&lock)?.is_some();
            if dead {
                match fs::remove_dir_all(&leftover) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(TemplateError::io("remove", &leftover)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn lock(&self) -> Result<File, TemplateError> {
        lock::exclusive(&self.dir.join(STORE_LOCK))
    }

    fn version_dir(&self, name: &str, version: u32) -> PathBuf {
        self.dir.join(name).join(version.to_string())
    }

    /// Replaces a small file as a whole.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), TemplateError> {
        let write = || {
            let mut file = tempfile::NamedTempFile::with_prefix_in(".new-file-", path.parent().unwrap_or(&self.dir))?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map(drop).map_err(std::io::Error::from)
        };
        write().map_err(TemplateError::io("write", path))
    }
}

fn check_name(name: &str) -> Result<(), TemplateError> {
    if is_name(name) { Ok(()) } else { Err(TemplateError::Name { name: name.to_owned() }) }
}

/// `[a-z0-9][a-z0-9._-]{0,62}`.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.len() <= NAME_MAX
        && bytes.first().is_some_and(|first| plain(*first))
        && bytes.iter().all(|byte| plain(*byte) || b"._-".contains(byte))
}

fn names_in(dir: &Path) -> Result<Vec<String>, TemplateError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TemplateError::io("read", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(TemplateError::io("read", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), TemplateError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(TemplateError::io("write", path))
}

fn sync_dir(dir: &Path) -> Result<(), TemplateError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(TemplateError::io("write to disk", dir))
}
