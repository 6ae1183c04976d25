//! Paths inside the environment: always opened through `openat2`, never through a magic link, never anything but what was asked for.

use crate::failure::Failure;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat as RawStat};
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use tenure_protocol::{FailureCode, FileKind, Stat};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;
/// How often something may be swapped under our hands before that is an answer of its own.
const SWAPS_MAX: usize = 8;

/// Opens with rights already taken on (see [`crate::credentials::Tenant::run`]).
pub fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    open_at(CWD, path, flags)
}

/// As [`open`], below an open directory.
pub fn open_at(directory: impl AsFd, path: impl rustix::path::Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    // Without a file to open there is no terminal to take, and openat2 refuses flags that mean nothing.
    let flags = flags | OFlags::CLOEXEC | if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NOCTTY };
    for _ in 0..SWAPS_MAX {
        let path = path.as_cow_c_str()?;
        // EAGAIN: the tree was moved about during the walk.
        match rustix::fs::openat2(&directory, &*path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::BUSY)
}

/// Opens a directory for the entries in it.
pub fn open_directory(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Splits off the last name. A path that ends in no name (`/`, `.`, `..`) cannot be made, moved or removed.
pub fn split(path: &str) -> Result<(&str, &str), Failure> {
    let trimmed = path.trim_end_matches('/');
    let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    if matches!(name, "" | "." | "..") {
        return Err(Failure::new(FailureCode::Invalid, format!("{path}: must end in a name")));
    }
    Ok((if parent.is_empty() { "/" } else { parent }, name))
}

/// The directory of a path, opened, and the last name.
pub fn open_parent(path: &str) -> Result<(OwnedFd, &str), Failure> {
    let (parent, name) = split(path)?;
    Ok((open_directory(parent).map_err(|errno| Failure::of(errno, parent))?, name))
}

/// Opens a regular file for reading. What it is gets known before it is opened, so that no device and no FIFO ever is.
pub fn open_regular(path: &str) -> Result<(OwnedFd, RawStat), Failure> {
    let failed = |errno| Failure::of(errno, path);
    for _ in 0..SWAPS_MAX {
        let probe = open(path, OFlags::PATH).map_err(failed)?;
        let found = rustix::fs::fstat(&probe).map_err(failed)?;
        if !FileType::from_raw_mode(found.st_mode).is_file() {
            return Err(Failure::new(FailureCode::NotAFile, format!("{path}: not a regular file")));
        }
        if belongs_to_agent(&probe) {
            return Err(Failure::of(Errno::ACCESS, path));
        }
        let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(failed)?;
        let opened = rustix::fs::fstat(&file).map_err(failed)?;
        if (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino) {
            return Ok((file, opened));
        }
    }
    Err(Failure::new(FailureCode::Io, format!("{path}: changes while it is being opened")))
}

/// Whether this is one of the agent's own files below `/proc`. The kernel lets a process read itself whatever its other walls say.
fn belongs_to_agent(probe: &OwnedFd) -> bool {
    let Ok(filesystem) = rustix::fs::fstatfs(probe) else { return true };
    if filesystem.f_type != PROC_SUPER_MAGIC {
        return false;
    }
    let link = format!("/proc/self/fd/{}", probe.as_raw_fd());
    let own = std::process::id().to_string();
    match std::fs::read_link(link) {
        Ok(target) => target.as_os_str().as_bytes().split(|byte| *byte == b'/').any(|part| part == own.as_bytes()),
        Err(_) => true,
    }
}

/// Reads a small regular file whole; one that is longer than `most` is refused.
pub fn read_small(path: &str, most: usize) -> Result<Vec<u8>, Failure> {
    let (file, _) = open_regular(path)?;
    let mut content = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        match rustix::io::read(&file, &mut chunk) {
            Ok(0) => return Ok(content),
            Ok(read) if content.len() + read <= most => content.extend_from_slice(&chunk[..read]),
            Ok(_) => return Err(Failure::new(FailureCode::Limit, format!("{path}: too long"))),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Failure::of(errno, path)),
        }
    }
}

/// What is at a path, links followed; `None` where nothing is.
pub fn stat(path: &str) -> Result<Option<Stat>, Failure> {
    match open(path, OFlags::PATH).and_then(rustix::fs::fstat) {
        Ok(found) => Ok(Some(describe(&found))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(Failure::of(errno, path)),
    }
}

/// What is at a name in a directory, links not followed.
pub fn stat_entry(directory: impl AsFd, name: impl rustix::path::Arg) -> Result<RawStat, Errno> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// As the manager is told.
pub fn describe(raw: &RawStat) -> Stat {
    let kind = match FileType::from_raw_mode(raw.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => {
            FileKind::Other
        }
    };
    let nanos = i64::try_from(raw.st_mtime_nsec).unwrap_or(0);
    Stat {
        kind,
        size: u64::try_from(raw.st_size).unwrap_or(0),
        mode: raw.st_mode & 0o7777,
        modified_ms: raw.st_mtime.saturating_mul(1000).saturating_add(nanos / 1_000_000),
    }
}

/// Makes a directory and those above it. Links on the way are followed, as `mkdir -p` does.
pub fn make_directories(path: &str) -> Result<OwnedFd, Failure> {
    let failed = |errno| match errno {
        Errno::EXIST => Failure::new(FailureCode::NotADirectory, format!("{path}: is in the way of a directory")),
        errno => Failure::of(errno, path),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut directory = open("/", flags).map_err(failed)?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        directory = match open_at(&directory, name, flags) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                open_at(&directory, name, flags).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
    }
    Ok(directory)
}

/// Moves a file or directory.
pub fn rename(from: &str, to: &str) -> Result<(), Failure> {
    let (from_directory, from_name) = open_parent(from)?;
    let (to_directory, to_name) = open_parent(to)?;
    rustix::fs::renameat(from_directory, from_name, to_directory, to_name)
        .map_err(|errno| Failure::of(errno, &format!("{from} to {to}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_splits_into_its_directory_and_its_last_name() {
        assert_eq!(split("/a/b").unwrap(), ("/a", "b"));
        assert_eq!(split("/a").unwrap(), ("/", "a"));
        assert_eq!(split("/a/b//").unwrap(), ("/a", "b"));
        for path in ["/", "///", "/a/..", "/a/.", "/.."] {
            assert_eq!(split(path).unwrap_err().code, FailureCode::Invalid, "{path}");
        }
    }

    #[test]
    fn the_agents_own_files_below_proc_are_refused() {
        for path in ["/proc/self/environ", "/proc/self/mem", "/proc/thread-self/maps"] {
            assert_eq!(open_regular(path).unwrap_err().code, FailureCode::Denied, "{path}");
        }
        assert!(open_regular("/proc/uptime").is_ok());
    }

    #[test]
    fn a_magic_link_leads_nowhere() {
        assert_eq!(stat("/proc/self/root/etc").unwrap_err().code, FailureCode::Denied);
    }
}
