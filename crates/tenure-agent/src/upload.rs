//! Writing files: into a temporary file beside the target, which takes the target's place once it is whole.
//!
//! A manager that is refused may already be sending: what it still sends is passed over, up to its next request.

use crate::credentials::Tenant;
use crate::failure::Failure;
use crate::path;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat as RawStat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use tenure_protocol::{FailureCode, Reply};

/// How temporary files begin; watches do not speak of them.
pub const TEMPORARY_PREFIX: &str = ".tenure-upload-";
const LINKS_MAX: usize = 16;
const MODE_DEFAULT: u32 = 0o644;
/// Permission bits without set-user-ID and set-group-ID.
const MODE_MASK: u32 = 0o1777;

/// A file being written. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    path: String,
    tenant: Tenant,
    target: Target,
    temporary: OsString,
    file: OwnedFd,
    mode: u32,
    size: u64,
    committed: bool,
}

/// Where the file goes: its directory, opened, its name there, and what is there now.
#[derive(Debug)]
struct Target {
    directory: OwnedFd,
    name: OsString,
    existing: Option<RawStat>,
}

impl Upload {
    /// Makes the temporary file.
    pub fn begin(path: String, mode: Option<u32>, tenant: &Tenant) -> Result<Upload, Failure> {
        tenant.run(|| {
            let target = find_target(&path)?;
            let temporary = temporary_name().map_err(|errno| Failure::of(errno, &path))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&target.directory, &temporary, flags, Mode::from_raw_mode(0o600))
                .map_err(|errno| Failure::of(errno, &path))?;
            let mode = target.existing.map_or(mode.unwrap_or(MODE_DEFAULT), |existing| existing.st_mode) & MODE_MASK;
            Ok(Upload { path: path.clone(), tenant: *tenant, target, temporary, file, mode, size: 0, committed: false })
        })
    }

    /// Appends bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.tenant.run(|| rustix::io::write(&self.file, bytes)) {
                Ok(0) => return Err(Failure::of(Errno::NOSPC, &self.path)),
                Ok(written) => {
                    self.size += written as u64;
                    bytes = &bytes[written..];
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Failure::of(errno, &self.path)),
            }
        }
        Ok(())
    }

    /// Puts the whole file in the target's place.
    pub fn commit(&mut self) -> Result<Reply, Failure> {
        let Target { directory, name, .. } = &self.target;
        let put = || {
            rustix::fs::fchmod(&self.file, Mode::from_raw_mode(self.mode))?;
            rustix::fs::renameat(directory, &self.temporary, directory, name)
        };
        self.tenant.run(put).map_err(|errno| Failure::of(errno, &self.path))?;
        self.committed = true;
        Ok(Reply::Written { size: self.size })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.committed {
            let remove = || rustix::fs::unlinkat(&self.target.directory, &self.temporary, AtFlags::empty());
            let _ = self.tenant.run(remove);
        }
    }
}

fn temporary_name() -> Result<OsString, Errno> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{TEMPORARY_PREFIX}{:016x}", u64::from_ne_bytes(random)).into())
}

/// Follows the links that the target itself may be; makes the directories above the path as it was given.
fn find_target(path: &str) -> Result<Target, Failure> {
    let failed = |errno| Failure::of(errno, path);
    let not_a_file = || Failure::new(FailureCode::NotAFile, format!("{path}: not a regular file"));
    if path.ends_with('/') {
        return Err(not_a_file());
    }
    let (parent, name) = path::split(path)?;
    let mut directory = path::make_directories(parent)?;
    let mut name = OsString::from(name);
    for _ in 0..LINKS_MAX {
        let existing = match path::stat_entry(&directory, &name) {
            Ok(existing) => existing,
            Err(Errno::NOENT) => return Ok(Target { directory, name, existing: None }),
            Err(errno) => return Err(failed(errno)),
        };
        match FileType::from_raw_mode(existing.st_mode) {
            FileType::RegularFile => return Ok(Target { directory, name, existing: Some(existing) }),
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(&directory, &name, Vec::new()).map_err(failed)?.into_bytes();
                let (parent, last) = split_link(&link).ok_or_else(not_a_file)?;
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                directory = path::open_at(&directory, OsStr::from_bytes(parent), flags).map_err(failed)?;
                name = OsString::from_vec(last.to_vec());
            }
            _ => return Err(not_a_file()),
        }
    }
    Err(failed(Errno::LOOP))
}

/// A link's directory and last name; `None` where it can only lead to a directory.
fn split_link(link: &[u8]) -> Option<(&[u8], &[u8])> {
    let (parent, last): (&[u8], &[u8]) = match link.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (b"/", &link[1..]),
        Some(at) => (&link[..at], &link[at + 1..]),
        None => (b".", link),
    };
    (!matches!(last, b"" | b"." | b"..")).then_some((parent, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(link: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(parent, last)| (parent.as_bytes(), last.as_bytes()));
        assert_eq!(split_link(link.as_bytes()), expected, "{link}");
    }

    #[test]
    fn a_link_splits_into_its_directory_and_its_last_name() {
        check("a", Some((".", "a")));
        check("/a", Some(("/", "a")));
        check("../b/a", Some(("../b", "a")));
        for link in ["a/", "..", "a/..", "", "/"] {
            check(link, None);
        }
    }
}
