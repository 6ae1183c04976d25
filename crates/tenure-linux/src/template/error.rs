//! What can go wrong with a template, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a template could not be added, found, held or removed. [`TemplateError::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The name does not follow the rule.
    #[error("{name:?} is not a template name")]
    Name {
        /// The name as given.
        name: String,
    },
    /// The built-in template cannot be added by hand.
    #[error("the template name {name:?} is taken by the built-in template")]
    Reserved {
        /// The name as given.
        name: String,
    },
    /// No such template, or no such version of it.
    #[error("there is no template {reference:?}")]
    NotFound {
        /// The name, or `name@version`, as given.
        reference: String,
    },
    /// A session, or somebody else, holds the version.
    #[error("the template {reference:?} is in use")]
    InUse {
        /// `name@version`.
        reference: String,
    },
    /// The source cannot be understood.
    #[error("{given:?} is not a template source")]
    SourceForm {
        /// The text as given.
        given: String,
    },
    /// The host keeps programs outside of `/usr`.
    #[error(
        "this host has a real /{dir} directory: its programs are not all in /usr, which is what the built-in template shares"
    )]
    NotMergedUsr {
        /// The directory, without its slash.
        dir: String,
    },
    /// A setting that does not go with this root.
    #[error("{reason}")]
    Setting {
        /// What does not fit.
        reason: String,
    },
    /// The tree to be copied holds the place that it would be copied to.
    #[error("{} holds the data directory: it would be copied into itself", path.display())]
    IntoItself {
        /// The tree.
        path: PathBuf,
    },
    /// The image cannot be used: it is damaged, or not what this can read.
    #[error("the image cannot be used: {reason}")]
    Image {
        /// What is wrong, and where.
        reason: String,
    },
    /// The image has nothing for this name or this machine, or more than one.
    #[error("{reason}")]
    Choice {
        /// What was looked for and what there is.
        reason: String,
    },
    /// A layer tries something that no honest image does.
    #[error("the image is refused: {reason} (entry {entry:?})")]
    Hostile {
        /// What the entry tries.
        reason: &'static str,
        /// The entry's path, shortened.
        entry: String,
    },
    /// More than the bounds allow.
    #[error("the source is too large: more than {limit} {unit}")]
    TooLarge {
        /// The bound that was reached.
        limit: u64,
        /// What it counts.
        unit: &'static str,
    },
    /// Something stored is damaged, or from a newer version.
    #[error("{}: {reason}", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TemplateError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Name { .. } => "Use 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit.",
            Self::Reserved { .. } => "Add it under another name; sessions choose a template by name.",
            Self::NotFound { .. } => "List the templates to see which names and versions there are.",
            Self::InUse { .. } => "End the sessions that use it, or remove only the versions that are free.",
            Self::SourceForm { .. } => {
                "Give host, dir:PATH, oci:PATH[:TAG], oci-archive:PATH[:TAG] or docker-archive:PATH[:TAG]."
            }
            Self::NotMergedUsr { .. } => {
                "Add a template from a directory or an image, and name it when creating sessions."
            }
            Self::Setting { .. } => {
                "Give a user and a group that the root's passwd and group have, and an absolute directory."
            }
            Self::IntoItself { .. } => "Give a directory that does not lie above the data directory.",
            Self::Image { .. } => "Fetch or build the image again; `skopeo inspect` tells whether it is sound.",
            Self::Choice { .. } => {
                "Name the image with a tag, as in oci:PATH:TAG, or fetch it for this machine's architecture."
            }
            Self::Hostile { .. } => "Do not use this image unless you know who made it and why it is so.",
            Self::TooLarge { .. } => "Use a smaller source, or raise the bounds for templates in the configuration.",
            Self::Stored { .. } => "Remove that version and add it again.",
            Self::Io { .. } => "See that the path exists, that you may use it, and that the disk has room.",
        }
    }

    /// For `map_err`: says what was tried, and on what.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { action, path: path.to_owned(), source: error.into() }
    }

    /// An image that cannot be used.
    pub(super) fn image(reason: impl Into<String>) -> Self {
        Self::Image { reason: reason.into() }
    }

    /// A layer that is refused.
    pub(super) fn hostile(reason: &'static str, entry: &[u8]) -> Self {
        let shown = &entry[..entry.len().min(200)];
        Self::Hostile { reason, entry: String::from_utf8_lossy(shown).into_owned() }
    }
}
