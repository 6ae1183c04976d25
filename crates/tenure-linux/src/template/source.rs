//! Where a template comes from, and how that is written.

use super::{SourceKind, TemplateError};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a template comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A small synthetic root, with the host's own `/usr` bound into it. `host`.
    Host,
    /// A root tree, as `debootstrap` makes one. `dir:PATH`.
    Directory(PathBuf),
    /// An OCI image layout directory. `oci:PATH[:TAG]`.
    OciLayout {
        /// The directory with `oci-layout` and `index.json`.
        path: PathBuf,
        /// Which image, where there is more than one.
        tag: Option<String>,
    },
    /// A tar of an OCI image layout, or what `docker save` writes; may be compressed. `oci-archive:PATH[:TAG]`, `docker-archive:…`.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// Which image, where there is more than one.
        tag: Option<String>,
    },
}

impl Source {
    /// The kind, as the manifest has it.
    pub fn kind(&self) -> SourceKind {
        match self {
            Self::Host => SourceKind::Host,
            Self::Directory(_) => SourceKind::Directory,
            Self::OciLayout { .. } => SourceKind::OciLayout,
            Self::OciArchive { .. } => SourceKind::OciArchive,
        }
    }
}

impl FromStr for Source {
    type Err = TemplateError;

    fn from_str(given: &str) -> Result<Self, TemplateError> {
        let refused = || TemplateError::SourceForm { given: given.to_owned() };
        if given == "host" {
            return Ok(Self::Host);
        }
        let (kind, rest) = given.split_once(':').filter(|(_, rest)| !rest.is_empty()).ok_or_else(refused)?;
        match kind {
            "dir" => Ok(Self::Directory(rest.into())),
            "oci" => {
                let (path, tag) = split_tag(rest);
                Ok(Self::OciLayout { path, tag })
            }
            "oci-archive" | "docker-archive" => {
                let (path, tag) = split_tag(rest);
                Ok(Self::OciArchive { path, tag })
            }
            _ => Err(refused()),
        }
    }
}

/// `PATH[:TAG]`. A docker reference as tag has a colon of its own (`image.tar:name:latest`), and slashes: the path ends at the first
/// colon, unless a slash tells that the colon is part of a directory's name and what is before it does not exist.
fn split_tag(text: &str) -> (PathBuf, Option<String>) {
    for (at, _) in text.match_indices(':') {
        let (path, tag) = (&text[..at], &text[at + 1..]);
        let path_may_end_here = !tag.contains('/') || PathBuf::from(path).exists();
        if path_may_end_here && !tag.is_empty() {
            return (path.into(), Some(tag.to_owned()));
        }
    }
    (text.into(), None)
}

/// What is mounted on a template's `usr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostUsr {
    /// The host's `/usr`, read-only.
    Bind,
    /// Nothing: the root has its own.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, path: &str, tag: Option<&str>) {
        let wanted = Source::OciLayout { path: path.into(), tag: tag.map(str::to_owned) };
        assert_eq!(text.parse::<Source>().unwrap(), wanted);
    }

    #[test]
    fn a_source_is_read_from_its_text() {
        assert_eq!("host".parse::<Source>().unwrap(), Source::Host);
        assert_eq!("dir:/a:b".parse::<Source>().unwrap(), Source::Directory("/a:b".into()));
        check("oci:/images/x", "/images/x", None);
        check("oci:/images/x:latest", "/images/x", Some("latest"));
        check("oci:/images/x:name:latest", "/images/x", Some("name:latest"));
        check("oci:/nowhere:at/all", "/nowhere:at/all", None);
        check("oci:/:docker.io/library/x:1", "/", Some("docker.io/library/x:1"));
    }

    #[test]
    fn a_text_that_is_no_source_is_refused() {
        for text in ["", "dir:", "oci", "http://x", "/plain/path"] {
            assert!(matches!(text.parse::<Source>(), Err(TemplateError::SourceForm { .. })), "{text}");
        }
    }
}
