//! Applies one layer of an image to a root.
//!
//! A layer is read twice. The first time its digests are verified and its whiteouts take away what earlier layers have brought;
//! the second time its entries are written. So a whiteout never touches what its own layer brings, in whatever order they stand,
//! without a list of the layer's paths in memory; and nothing is written from a layer whose digest is wrong.
//!
//! Owners, modes, times of files, hard links, long names and `user.*` attributes are kept; sparse files stay sparse. Device nodes,
//! FIFOs and other attributes are left out: `trusted.*` and `user.overlay.*` would speak to the overlay that is mounted on top.

use super::TemplateError;
use super::beneath::set_time;
use super::blobs::Section;
use super::stream::{Hashed, Meter, Metered, Padded, copy_sparse, decompress};
use super::tree::{Attributes, DEPTH_MAX, Tree};
use rustix::fs::Timespec;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use tar::EntryType;

const PATH_MAX: usize = 4095;
const NAME_MAX: usize = 255;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const XATTR: &str = "SCHILY.xattr.";

/// What a layer must turn out to be.
pub(super) struct Identity {
    /// Digest of the blob, as it lies there; not known for `docker save`'s archives.
    pub digest: Option<String>,
    /// Digest of the tar, after unpacking.
    pub diff_id: String,
}

/// Which of the two readings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Whiteouts,
    Entries,
}

/// Applies a layer, which `open` opens from its beginning, to the tree.
pub(super) fn apply(
    tree: &Tree,
    identity: &Identity,
    meters: &Meters,
    open: impl Fn() -> Result<Section, TemplateError>,
) -> Result<(), TemplateError> {
    read(tree, identity, &meters.whiteouts, open()?, Pass::Whiteouts)?;
    read(tree, identity, &meters.entries, open()?, Pass::Entries)
}

/// What all layers of one image may use, for each reading.
pub(super) struct Meters {
    /// Of the first reading.
    pub whiteouts: Meter,
    /// Of the second.
    pub entries: Meter,
}

fn read(tree: &Tree, identity: &Identity, meter: &Meter, blob: Section, pass: Pass) -> Result<(), TemplateError> {
    let damaged = |error: io::Error| {
        let name = identity.digest.as_ref().unwrap_or(&identity.diff_id);
        meter.refusal(error, |error| TemplateError::image(format!("the layer {name} cannot be read: {error}")))
    };
    let mut packed = Hashed::new(blob);
    let inner = decompress(&mut packed).map_err(damaged)?;
    let mut plain = Hashed::new(Metered { inner, meter });
    {
        let mut archive = tar::Archive::new(Padded::new(&mut plain, meter));
        let mut entries = archive.entries().map_err(damaged)?;
        loop {
            meter.headers_begin();
            let Some(mut entry) = entries.next().transpose().map_err(damaged)? else {
                break;
            };
            meter.headers_end();
            meter.entry()?;
            if pass == Pass::Whiteouts {
                // As large as it says it is, holes and all: even to skip those takes time.
                meter.wrote(entry.size()).map_err(damaged)?;
            }
            apply_entry(tree, &mut entry, meter, pass)?;
            io::copy(&mut entry, &mut io::sink()).map_err(damaged)?;
        }
    }
    meter.headers_end();
    let (diff_id, _) = plain.finish().map_err(damaged)?;
    let (digest, _) = packed.finish().map_err(damaged)?;
    for (wanted, found) in [(identity.digest.as_ref(), digest), (Some(&identity.diff_id), diff_id)] {
        if let Some(wanted) = wanted.filter(|wanted| **wanted != found) {
            return Err(TemplateError::image(format!("a layer has the digest {found} instead of {wanted}")));
        }
    }
    Ok(())
}

fn apply_entry<R: Read>(
    tree: &Tree,
    entry: &mut tar::Entry<'_, R>,
    meter: &Meter,
    pass: Pass,
) -> Result<(), TemplateError> {
    if entry.header().entry_type() == EntryType::XGlobalHeader {
        return Ok(());
    }
    let bytes = entry.path_bytes().into_owned();
    let path = clean(&bytes, &bytes)?;
    let name = path.file_name().map_or(&b""[..], OsStr::as_bytes);
    match (pass, name.starts_with(WHITEOUT)) {
        (Pass::Whiteouts, true) => apply_whiteout(tree, &path, name),
        (Pass::Entries, false) => write_entry(tree, entry, &path, meter),
        (Pass::Whiteouts, false) | (Pass::Entries, true) => Ok(()),
    }
}

fn apply_whiteout(tree: &Tree, path: &Path, name: &[u8]) -> Result<(), TemplateError> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if name == OPAQUE {
        return tree.clear(parent);
    }
    if name.starts_with(WHITEOUT_META) {
        return Ok(());
    }
    match &name[WHITEOUT.len()..] {
        b"" | b"." | b".." => Err(TemplateError::hostile("a whiteout of no name", path.as_os_str().as_bytes())),
        gone => tree.remove(&parent.join(OsStr::from_bytes(gone))),
    }
}

fn write_entry<R: Read>(
    tree: &Tree,
    entry: &mut tar::Entry<'_, R>,
    path: &Path,
    meter: &Meter,
) -> Result<(), TemplateError> {
    let shown = path.as_os_str().as_bytes();
    let kind = match entry.header().entry_type() {
        // As tar was before it had directories.
        EntryType::Regular if entry.path_bytes().ends_with(b"/") => EntryType::Directory,
        kind => kind,
    };
    if path.as_os_str().is_empty() && kind != EntryType::Directory {
        return Err(TemplateError::hostile("the root is not a directory", shown));
    }
    let attributes = attributes(entry.header(), shown)?;
    match kind {
        EntryType::Directory => {
            let dir = tree.dir(path, attributes)?;
            set_xattrs(&dir, &extensions(entry, shown)?);
            Ok(())
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            write_file(tree, entry, path, attributes, meter)
        }
        EntryType::Symlink => {
            let target = link_name(entry, shown)?;
            tree.symlink(path, &target, attributes.uid, attributes.gid)
        }
        EntryType::Link => {
            let target = link_name(entry, shown)?;
            // Some builders write the target from the root on, with its slash.
            tree.hard_link(path, &clean(target.strip_prefix(b"/").unwrap_or(&target), shown)?)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => Ok(()),
        _ => Err(TemplateError::image(format!("an entry of unknown kind: {}", path.display()))),
    }
}

fn write_file<R: Read>(
    tree: &Tree,
    entry: &mut tar::Entry<'_, R>,
    path: &Path,
    attributes: Attributes,
    meter: &Meter,
) -> Result<(), TemplateError> {
    let extensions = extensions(entry, path.as_os_str().as_bytes())?;
    if extensions.iter().any(|(key, _)| key.starts_with("GNU.sparse.")) {
        let shown = path.display();
        return Err(TemplateError::image(format!("{shown} is a sparse file in a form that images do not have")));
    }
    let size = entry.size();
    let time = entry.header().mtime().ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
    tree.file(path, attributes, |file| {
        let written = copy_sparse(entry, file, meter).map_err(|error| meter.refusal(error, tree.io("write", path)))?;
        if written != size {
            return Err(TemplateError::image(format!("{} ends early", path.display())));
        }
        set_xattrs(&*file, &extensions);
        set_time(&*file, Timespec { tv_sec: time, tv_nsec: 0 }).map_err(tree.io("set the time of", path))
    })
}

fn attributes(header: &tar::Header, shown: &[u8]) -> Result<Attributes, TemplateError> {
    let read = || Ok::<_, io::Error>((header.mode()?, header.uid()?, header.gid()?));
    let (mode, uid, gid) = read().map_err(|error| TemplateError::image(format!("a damaged header: {error}")))?;
    let number = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    let (Some(uid), Some(gid)) = (number(uid), number(gid)) else {
        return Err(TemplateError::hostile("an owner that no system knows", shown));
    };
    Ok(Attributes { mode, uid, gid })
}

/// The entry's extended header.
fn extensions<R: Read>(entry: &mut tar::Entry<'_, R>, shown: &[u8]) -> Result<Vec<(String, Vec<u8>)>, TemplateError> {
    let damaged = |_| TemplateError::hostile("a damaged extended header", shown);
    let mut found = Vec::new();
    if let Some(extensions) = entry.pax_extensions().map_err(damaged)? {
        for extension in extensions {
            let extension = extension.map_err(damaged)?;
            if let Ok(key) = extension.key() {
                found.push((key.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    Ok(found)
}

/// Sets the attributes that may be kept, as far as the file system has them.
fn set_xattrs<F: AsFd>(file: F, extensions: &[(String, Vec<u8>)]) {
    for (key, value) in extensions {
        if let Some(name) = key.strip_prefix(XATTR).filter(|name| is_kept_xattr(name)) {
            // A file system without attributes is no reason to refuse an image.
            let _ = rustix::fs::fsetxattr(&file, name, value, rustix::fs::XattrFlags::empty());
        }
    }
}

/// Whether an extended attribute goes into a template.
pub(super) fn is_kept_xattr(name: &str) -> bool {
    name.starts_with("user.") && !name.starts_with("user.overlay.")
}

fn link_name<R: Read>(entry: &tar::Entry<'_, R>, shown: &[u8]) -> Result<Vec<u8>, TemplateError> {
    let target = entry.link_name_bytes().unwrap_or_default().into_owned();
    if target.is_empty() || target.len() > PATH_MAX || target.contains(&0) {
        return Err(TemplateError::hostile("a link to no proper name", shown));
    }
    Ok(target)
}

/// The path of an entry, relative to the root and without detours. `entry` is for the refusal.
fn clean(bytes: &[u8], entry: &[u8]) -> Result<PathBuf, TemplateError> {
    let refused = |reason| Err(TemplateError::hostile(reason, entry));
    // Some builders call the root itself "/".
    if bytes.starts_with(b"/") && bytes.iter().any(|byte| *byte != b'/') {
        return refused("an absolute path");
    }
    if bytes.is_empty() || bytes.len() > PATH_MAX || bytes.contains(&0) {
        return refused("a path that is empty, too long, or holds a zero byte");
    }
    let mut path = PathBuf::new();
    let mut floors = 0;
    for name in bytes.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".") {
        if name == b".." {
            return refused("a path that leads upwards");
        }
        floors += 1;
        if name.len() > NAME_MAX || floors >= DEPTH_MAX {
            return refused("a path that is too deep, or a name that is too long");
        }
        path.push(OsStr::from_bytes(name));
    }
    Ok(path)
}
