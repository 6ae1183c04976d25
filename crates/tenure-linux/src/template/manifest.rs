//! What is stored about a template's version: `manifest.json`, and the settings that the administrator gives for it.
//!
//! ```json
//! {"format": 1, "name": "python", "version": 3, "source": "oci-archive", "digest": "sha256:…", "created_at_ms": 1700000000000,
//!  "run_as": {"uid": 1000, "gid": 1000, "name": "user", "home": "/home/user"}, "cwd": "/workspace",
//!  "profile": "plain", "env": {"LANG": "C.UTF-8"}, "start": ["/bin/server"], "idle_timeout_ms": null,
//!  "limits": {"memory_bytes": 536870912}, "lease": {"ttl_ms": 60000}, "default_cmd": ["python3"], "labels": {}}
//! ```

use super::TemplateError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// The format that is written. A manifest with a greater one is refused.
pub const MANIFEST_FORMAT: u32 = 1;
/// Longest manifest in bytes.
const MANIFEST_MAX: u64 = 1024 * 1024;

/// What the administrator decides about a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Now, in milliseconds of Unix time: the library reads no clock.
    pub created_at_ms: u64,
    /// Limits; what is not given comes from the configuration.
    pub limits: LimitDefaults,
    /// Lease; what is not given comes from the configuration.
    pub lease: Option<LeaseDefaults>,
    /// When a session without work ends.
    pub idle_timeout: IdleTimeout,
    /// Variables, over those of the image.
    pub env: BTreeMap<String, String>,
    /// The command that is started with each session.
    pub start: Option<Vec<String>>,
    /// What kind of session.
    pub profile: Profile,
    /// Who runs things: a name or a number of the root's `passwd`, with `:group` if wanted. Else the image's, else the tenant.
    pub user: Option<String>,
    /// Where things run. Else the image's, else `/workspace`.
    pub cwd: Option<String>,
}

/// A template's version, as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The template's name.
    pub name: String,
    /// From 1, never given twice for one name.
    pub version: u32,
    /// Where it came from.
    pub source: SourceKind,
    /// `sha256:` and 64 hexadecimal digits: of the image's manifest, or of the tree.
    pub digest: String,
    /// When it was added, in milliseconds of Unix time.
    pub created_at_ms: u64,
    /// Who runs things.
    pub run_as: RunAs,
    /// Where things run: an absolute path inside.
    pub cwd: String,
    /// What kind of session.
    pub profile: Profile,
    /// Variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The command that is started with each session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Vec<String>>,
    /// When a session without work ends.
    #[serde(default, rename = "idle_timeout_ms", skip_serializing_if = "IdleTimeout::is_unset")]
    pub idle_timeout: IdleTimeout,
    /// Limits that differ from the configuration's.
    #[serde(default, skip_serializing_if = "LimitDefaults::is_empty")]
    pub limits: LimitDefaults,
    /// Lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseDefaults>,
    /// The image's own entry point and command. Never run by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_cmd: Vec<String>,
    /// The image's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Where a template came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The host.
    Host,
    /// A root tree.
    Directory,
    /// An OCI image layout.
    OciLayout,
    /// An archive of an image.
    OciArchive,
}

/// What kind of session a template is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Commands, files and terminals.
    #[default]
    Plain,
    /// Turns over a state document.
    Adventure,
}

/// Who runs things inside, looked up in the root's `passwd` when the template is added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAs {
    /// User number inside.
    pub uid: u32,
    /// Group number inside.
    pub gid: u32,
    /// The name, if `passwd` has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The home directory.
    pub home: String,
}

/// Limits that a template chooses. What is `None` comes from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitDefaults {
    /// Thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// Disk in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Commands at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_execs: Option<u32>,
    /// Longest life in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime_ms: Option<u64>,
}

impl LimitDefaults {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The lease that a template chooses. What is `None` comes from the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseDefaults {
    /// How long a lease lasts after a heartbeat, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How often the holder beats, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval_ms: Option<u64>,
}

/// When a session without work ends. In JSON: absent, `null`, or a number of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdleTimeout {
    /// As the configuration says.
    #[default]
    Unset,
    /// Never.
    Off,
    /// After so many milliseconds.
    Ms(u64),
}

impl IdleTimeout {
    fn is_unset(&self) -> bool {
        *self == Self::Unset
    }
}

impl Serialize for IdleTimeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unset | Self::Off => serializer.serialize_none(),
            Self::Ms(ms) => serializer.serialize_some(ms),
        }
    }
}

impl<'de> Deserialize<'de> for IdleTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map_or(Self::Off, Self::Ms))
    }
}

/// Only the format: read first, so that a newer manifest is named as such.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Manifest {
    /// Reads `manifest.json`.
    pub(super) fn read(path: &Path) -> Result<Self, TemplateError> {
        let stored = |reason: String| TemplateError::Stored { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MANIFEST_MAX + 1).read_to_end(&mut bytes))
            .map_err(TemplateError::io("read", path))?;
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(stored(format!("longer than {MANIFEST_MAX} bytes")));
        }
        let Format { format } = serde_json::from_slice(&bytes).map_err(|error| stored(error.to_string()))?;
        if format != MANIFEST_FORMAT {
            return Err(stored(format!("has format {format}; this version reads format {MANIFEST_FORMAT}")));
        }
        serde_json::from_slice(&bytes).map_err(|error| stored(error.to_string()))
    }

    /// The bytes of `manifest.json`. Fails where settings or labels make it longer than can be read back.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, TemplateError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| TemplateError::Stored { path: "manifest.json".into(), reason: error.to_string() })?;
        bytes.push(b'\n');
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(TemplateError::TooLarge { limit: MANIFEST_MAX, unit: "bytes of settings and labels" });
        }
        Ok(bytes)
    }
}
