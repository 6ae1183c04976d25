//! What a session's programs printed, once it is archived: the directory of its files as one compressed file (TR-6, EN-4).
//!
//! ```text
//!  <session>/x_….stdout, x_….stderr ─► <session>.tar.zst.partial ─► flushed, renamed to <session>.tar.zst
//!       └ removed once the session's row says that it is archived        └ removed once it says that it is purged
//! ```
//!
//! A crash leaves the files or the archive, or both; never neither. The archive is a tar file (ustar), its entries by name and without times, in one
//! Zstandard frame with its checksum: `tar --zstd -t` lists it. Its digest is that of the tar file. Everything here blocks.

use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tenure_digest::Sha256Digest;
use tenure_session::SessionId;
use tenure_store::ContentDigest;

/// How hard is compressed.
const LEVEL: i32 = 3;

/// The files of one session.
#[derive(Debug, Clone)]
pub(crate) struct OutputPlace {
    parent: PathBuf,
    session: SessionId,
}

impl OutputPlace {
    /// Of this session, below the directory of all output.
    pub fn new(parent: &Path, session: &SessionId) -> OutputPlace {
        OutputPlace { parent: parent.to_owned(), session: session.clone() }
    }

    fn files(&self) -> PathBuf {
        self.parent.join(self.session.as_str())
    }

    fn archive(&self) -> PathBuf {
        self.parent.join(format!("{}.tar.zst", self.session))
    }

    fn partial(&self) -> PathBuf {
        self.parent.join(format!("{}.tar.zst.partial", self.session))
    }

    /// Makes the archive of what is there, durable, and leaves the files where they are. `None` where nothing is there.
    pub fn pack(&self) -> io::Result<Option<ContentDigest>> {
        let Some(names) = self.names()? else { return Ok(None) };
        let partial = self.partial();
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        let mut encoder = zstd::Encoder::new(file, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut tar = tar::Builder::new(Counted { inner: encoder, hasher: Sha256::new(), bytes: 0 });
        for name in names {
            append(&mut tar, &self.files().join(&name), &name)?;
        }
        let counted = tar.into_inner()?;
        let digest = ContentDigest { sha256: Sha256Digest(counted.hasher.finalize().into()), bytes: counted.bytes };
        counted.inner.finish()?.sync_all()?;
        std::fs::rename(&partial, self.archive())?;
        File::open(&self.parent)?.sync_all()?;
        Ok(Some(digest))
    }

    /// The names of its files, in their order.
    fn names(&self) -> io::Result<Option<Vec<String>>> {
        let entries = match std::fs::read_dir(self.files()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            // We make regular files with plain names, and nothing else.
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(Some(names))
    }

    /// Removes the files, and what a crash left of making an archive.
    pub fn remove_files(&self) -> io::Result<()> {
        there_no_more(std::fs::remove_file(self.partial()))?;
        there_no_more(std::fs::remove_dir_all(self.files()))
    }

    /// Removes the archive.
    pub fn remove_archive(&self) -> io::Result<()> {
        there_no_more(std::fs::remove_file(self.archive()))
    }

    /// Whether all of these files are in their own place, and empty.
    pub fn are_empty(&self, names: &[String]) -> bool {
        let is_empty = |name: &String| std::fs::metadata(self.files().join(name)).is_ok_and(|meta| meta.len() == 0);
        names.iter().all(is_empty)
    }

    /// One file, at its beginning: from its own place, or out of the archive.
    pub fn open(&self, name: &str) -> io::Result<File> {
        match File::open(self.files().join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.open_archived(name),
            opened => opened,
        }
    }

    /// In a file that has no name and is gone when it is closed.
    fn open_archived(&self, name: &str) -> io::Result<File> {
        let mut tar = tar::Archive::new(zstd::Decoder::new(File::open(self.archive())?)?);
        for entry in tar.entries()? {
            let mut entry = entry?;
            if entry.path()?.as_os_str() == name {
                let mut file = tempfile::tempfile_in(&self.parent)?;
                io::copy(&mut entry, &mut file)?;
                file.seek(SeekFrom::Start(0))?;
                return Ok(file);
            }
        }
        Err(ErrorKind::NotFound.into())
    }
}

fn append(tar: &mut tar::Builder<impl Write>, path: &Path, name: &str) -> io::Result<()> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, file.take(bytes))
}

fn there_no_more(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Passes bytes on, and keeps their digest.
struct Counted<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
    use super::*;
    use std::fs::DirBuilder;

    fn place() -> (OutputPlace, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let place = OutputPlace::new(dir.path(), &"exec_20261121_020944_4ad060d9".parse().unwrap());
        (place, dir)
    }

    fn print(place: &OutputPlace, name: &str, bytes: &[u8]) {
        DirBuilder::new().recursive(true).create(place.files()).unwrap();
        std::fs::write(place.files().join(name), bytes).unwrap();
    }

    fn read(place: &OutputPlace, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        place.open_archived(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn left(dir: &tempfile::TempDir) -> Vec<String> {
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        left
    }

    /// TR-6, EN-4: every byte comes back, whatever it is, and reading leaves nothing.
    #[test]
    fn what_was_printed_comes_back_from_the_archive() {
        let (place, dir) = place();
        let long: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        print(&place, "x_1.stdout", &long);
        print(&place, "x_1.stderr", b"");
        print(&place, "x_2.stdout", b"words");
        let digest = place.pack().unwrap().unwrap();
        assert!(digest.bytes > 3_000_000);
        place.remove_files().unwrap();
        assert_eq!(left(&dir), ["exec_20261121_020944_4ad060d9.tar.zst"]);
        assert!(read(&place, "x_1.stdout").unwrap() == long);
        assert_eq!(read(&place, "x_1.stderr").unwrap(), b"");
        assert_eq!(read(&place, "x_2.stdout").unwrap(), b"words");
        assert_eq!(read(&place, "x_3.stdout").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(left(&dir).len(), 1);
        place.remove_archive().unwrap();
        place.remove_archive().unwrap();
        assert!(left(&dir).is_empty());
    }

    /// TR-6: the same files, the same digest; and what a crash left of an archive does not matter.
    #[test]
    fn an_archive_is_made_again_after_a_crash() {
        let (place, dir) = place();
        assert_eq!(place.pack().unwrap(), None);
        print(&place, "x_2.stdout", b"words");
        print(&place, "x_1.stdout", b"more words");
        let first = place.pack().unwrap();
        std::fs::write(place.partial(), b"torn").unwrap();
        assert_eq!(place.pack().unwrap(), first, "made whole, and not yet written down");
        std::fs::write(place.partial(), b"torn").unwrap();
        place.remove_files().unwrap();
        assert_eq!(left(&dir).len(), 1);
        assert_eq!(read(&place, "x_1.stdout").unwrap(), b"more words");
    }

    /// TR-6: a damaged archive is told from a whole one.
    #[test]
    fn a_damaged_archive_is_not_read() {
        let (place, _dir) = place();
        print(&place, "x_1.stdout", b"words that were printed");
        place.pack().unwrap();
        let mut bytes = std::fs::read(place.archive()).unwrap();
        let end = bytes.len();
        bytes[end - 6] ^= 0xff;
        std::fs::write(place.archive(), &bytes[..end - 5]).unwrap();
        assert!(read(&place, "x_2.stdout").is_err());
    }
}
