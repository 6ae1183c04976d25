//! Reading files and listing directories: a piece per turn, as fast as the connection takes it.

use crate::connection::OutBuffer;
use crate::failure::Failure;
use crate::path;
use crate::request::Step;
use rustix::fd::OwnedFd;
use rustix::fs::{Dir, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use tenure_protocol::{DATA_MAX, ENTRIES_MAX, Entry, Reply, Stream};

/// About how many bytes of entries go into one message.
const ENTRIES_BYTES: usize = 128 * 1024;

/// A file being read.
#[derive(Debug)]
pub struct FileRead {
    path: String,
    file: OwnedFd,
    offset: u64,
    left: u64,
}

impl FileRead {
    /// Opens the file; its bytes follow step by step.
    pub fn begin(path: String, offset: u64, length: Option<u64>) -> Result<(FileRead, Reply), Failure> {
        let (file, found) = path::open_regular(&path)?;
        let stat = path::describe(&found);
        Ok((FileRead { path, file, offset, left: length.unwrap_or(u64::MAX) }, Reply::File { stat }))
    }

    /// Sends one piece. A file that shrinks meanwhile just ends.
    pub fn step(&mut self, out: &mut OutBuffer, scratch: &mut [u8]) -> Step {
        if !out.has_room() {
            return Step::Waiting;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(scratch.len()).min(DATA_MAX);
        // An offset that no file reaches is past the end of this one.
        let within = i64::try_from(self.offset).is_ok_and(|offset| offset.checked_add(most as i64).is_some());
        match if within { rustix::io::pread(&self.file, &mut scratch[..most], self.offset) } else { Ok(0) } {
            Ok(0) => out.reply(&Reply::Done),
            Ok(read) => {
                out.data(Stream::Output, &scratch[..read]);
                self.offset += read as u64;
                self.left -= read as u64;
                return Step::Again;
            }
            Err(Errno::INTR | Errno::AGAIN) => return Step::Again,
            Err(errno) => out.reply(&Failure::of(errno, &self.path).reply()),
        }
        Step::Finished
    }
}

/// A directory being listed.
#[derive(Debug)]
pub struct List {
    path: String,
    directory: Dir,
}

impl List {
    pub fn begin(path: String) -> Result<List, Failure> {
        let directory = path::open(&path, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(Dir::new)
            .map_err(|errno| Failure::of(errno, &path))?;
        Ok(List { path, directory })
    }

    /// Sends one message of entries.
    pub fn step(&mut self, out: &mut OutBuffer) -> Step {
        if !out.has_room_for_an_answer() {
            return Step::Waiting;
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let end = loop {
            if entries.len() == ENTRIES_MAX || bytes >= ENTRIES_BYTES {
                break None;
            }
            match self.next_entry() {
                Some(Ok(entry)) => {
                    bytes += serde_json::to_vec(&entry).map_or(ENTRIES_BYTES, |text| text.len() + 1);
                    entries.push(entry);
                }
                Some(Err(errno)) => break Some(Failure::of(errno, &self.path).reply()),
                None => break Some(Reply::Done),
            }
        };
        if !entries.is_empty() {
            out.reply(&Reply::Entries { entries });
        }
        match end {
            Some(reply) => {
                out.reply(&reply);
                Step::Finished
            }
            None => Step::Again,
        }
    }

    /// The next entry that still exists.
    fn next_entry(&mut self) -> Option<Result<Entry, Errno>> {
        loop {
            let entry = match self.directory.read()? {
                Ok(entry) => entry,
                Err(errno) => return Some(Err(errno)),
            };
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            match self.directory.fd().and_then(|directory| path::stat_entry(directory, name)) {
                Ok(found) => {
                    let name = name.to_string_lossy().into_owned();
                    return Some(Ok(Entry { name, stat: path::describe(&found) }));
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Some(Err(errno)),
            }
        }
    }
}

/// The names of the directory itself and of the one above.
pub fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}
