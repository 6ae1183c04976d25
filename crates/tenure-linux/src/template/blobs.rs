//! The named pieces of an image: files of a layout directory, or entries of an archive.

use super::TemplateError;
use super::beneath::open_regular_in;
use super::stage::Bounds;
use super::stream::{Hashed, Meter, Metered, decompress};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Longest JSON document of an image.
const DOCUMENT_MAX: u64 = 4 * 1024 * 1024;
/// Most entries of an archive.
const ARCHIVE_ENTRIES_MAX: u64 = 100_000;

/// Where an image's pieces are.
pub(super) struct Blobs {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A layout directory. Links in it do not lead out of it.
    Directory(File),
    /// A plain tar, and where in it each file's content lies.
    Archive { file: File, members: HashMap<String, Member> },
}

enum Member {
    Content {
        at: u64,
        length: u64,
    },
    /// `docker save` once wrote a layer that two images share as a link.
    Link(String),
}

/// A part of a file.
pub(super) struct Section {
    file: File,
    at: u64,
    end: u64,
}

impl Section {
    fn length(&self) -> u64 {
        self.end - self.at
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.length()).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Blobs {
    /// The pieces of the layout in the directory `path`.
    pub(super) fn in_directory(path: &Path) -> Result<Self, TemplateError> {
        let dir = File::open(path).map_err(TemplateError::io("open", path))?;
        Ok(Self { path: path.to_owned(), place: Place::Directory(dir) })
    }

    /// The pieces in the archive `path`. If it is compressed, it is unpacked into a file in `scratch` first.
    pub(super) fn in_archive(path: &Path, scratch: &Path, bounds: Bounds) -> Result<Self, TemplateError> {
        let mut file = File::open(path).map_err(TemplateError::io("open", path))?;
        let meter = Meter::new(Bounds { entries: ARCHIVE_ENTRIES_MAX, ..bounds });
        let mut start = [0; 4];
        let length = file.read_at(&mut start, 0).map_err(TemplateError::io("read", path))?;
        if is_compressed(&start[..length]) {
            let copied = inflate(file, scratch, &meter);
            file = copied.map_err(|error| meter.refusal(error, TemplateError::io("unpack", path)))?;
        }
        let members = index(&file, &meter)?;
        Ok(Self { path: path.to_owned(), place: Place::Archive { file, members } })
    }

    /// Opens a piece by its name; `None` if there is none.
    pub(super) fn open(&self, name: &str) -> Result<Option<Section>, TemplateError> {
        let open = || match &self.place {
            Place::Directory(dir) => {
                let Some(file) = open_regular_in(dir, Path::new(name))? else {
                    return Ok(None);
                };
                let end = file.metadata()?.len();
                Ok(Some(Section { file, at: 0, end }))
            }
            Place::Archive { file, members } => {
                let member = match members.get(name) {
                    Some(Member::Link(target)) => members.get(target),
                    found => found,
                };
                let Some(Member::Content { at, length }) = member else {
                    return Ok(None);
                };
                Ok(Some(Section { file: file.try_clone()?, at: *at, end: at.saturating_add(*length) }))
            }
        };
        open().map_err(|error: io::Error| TemplateError::io("read", &self.path.join(name))(error))
    }

    /// Reads a small document; `None` if there is none.
    pub(super) fn document(&self, name: &str) -> Result<Option<Vec<u8>>, TemplateError> {
        let Some(section) = self.open(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        if section.length() > DOCUMENT_MAX {
            return Err(TemplateError::image(format!("{name} is longer than {DOCUMENT_MAX} bytes")));
        }
        section.take(DOCUMENT_MAX).read_to_end(&mut bytes).map_err(TemplateError::io("read", &self.path.join(name)))?;
        Ok(Some(bytes))
    }

    /// Opens a blob by its digest and size.
    pub(super) fn blob(&self, digest: &str, size: u64) -> Result<Section, TemplateError> {
        let name = blob_name(digest)?;
        let section = self.open(&name)?.ok_or_else(|| TemplateError::image(format!("the blob {digest} is missing")))?;
        if section.length() != size {
            let length = section.length();
            return Err(TemplateError::image(format!("the blob {digest} has {length} bytes instead of {size}")));
        }
        Ok(section)
    }

    /// Reads a document by its digest and size, and verifies it.
    pub(super) fn blob_document(&self, digest: &str, size: u64) -> Result<Vec<u8>, TemplateError> {
        if size > DOCUMENT_MAX {
            return Err(TemplateError::image(format!("the document {digest} is longer than {DOCUMENT_MAX} bytes")));
        }
        let mut bytes = Vec::new();
        let mut hashed = Hashed::new(self.blob(digest, size)?);
        let read = hashed.read_to_end(&mut bytes).and_then(|_| hashed.finish());
        let (found, _) = read.map_err(TemplateError::io("read", &self.path))?;
        if found != digest {
            return Err(TemplateError::image(format!("the blob {digest} has the digest {found}")));
        }
        Ok(bytes)
    }
}

/// `blobs/sha256/…`, if the digest is a proper one.
fn blob_name(digest: &str) -> Result<String, TemplateError> {
    let digits = digest.strip_prefix("sha256:").filter(|digits| is_sha256(digits));
    let digits = digits.ok_or_else(|| TemplateError::image(format!("{digest:?} is not a sha256 digest")))?;
    Ok(format!("blobs/sha256/{digits}"))
}

/// 64 hexadecimal digits, small ones.
pub(super) fn is_sha256(digits: &str) -> bool {
    digits.len() == 64 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b]) || start == [0x28, 0xb5, 0x2f, 0xfd]
}

fn inflate(archive: File, scratch: &Path, meter: &Meter) -> io::Result<File> {
    let mut plain = tempfile::tempfile_in(scratch)?;
    io::copy(&mut Metered { inner: decompress(archive)?, meter }, &mut plain)?;
    plain.rewind()?;
    Ok(plain)
}

/// Finds where each member of a plain tar lies. Contents are skipped, not read.
fn index(file: &File, meter: &Meter) -> Result<HashMap<String, Member>, TemplateError> {
    let damaged = |error: io::Error| {
        meter.refusal(error, |error| TemplateError::image(format!("the archive is not a sound tar: {error}")))
    };
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(Metered { inner: file, meter });
    let mut entries = archive.entries_with_seek().map_err(damaged)?;
    loop {
        meter.headers_begin();
        let Some(entry) = entries.next().transpose().map_err(damaged)? else {
            return Ok(members);
        };
        meter.entry()?;
        let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
            continue;
        };
        let member = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                Member::Content { at: entry.raw_file_position(), length: entry.size() }
            }
            tar::EntryType::Symlink | tar::EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                // `../<layer>/layer.tar`, from `<layer>/layer.tar`.
                Member::Link(String::from_utf8_lossy(&target).trim_start_matches("../").to_owned())
            }
            _ => continue,
        };
        members.insert(name.trim_start_matches("./").to_owned(), member);
    }
}
