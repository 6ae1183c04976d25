//! Files to measure with: trees of a known size, copies, and writing until something says no.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

/// How many files [`write_tree`] makes.
pub const TREE_FILES: usize = 1000;
const FILES_PER_DIR: usize = 100;

/// Bytes that do not compress and differ with `seed`.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Writes 1,000 files of together `total` bytes below `dir`, without flushing them.
///
/// # Errors
/// Those of the file system.
pub fn write_tree(dir: &Path, total: usize) -> io::Result<()> {
    let content = noise(total / TREE_FILES, 7);
    for index in 0..TREE_FILES {
        let parent = dir.join(format!("d{}", index / FILES_PER_DIR));
        if index % FILES_PER_DIR == 0 {
            fs::create_dir_all(&parent)?;
        }
        fs::write(parent.join(format!("f{index}")), &content)?;
    }
    Ok(())
}

/// Copies a tree of directories and regular files.
///
/// # Errors
/// Those of the file system.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What came of [`fill`].
#[derive(Debug)]
pub struct Filled {
    /// Bytes that `write` accepted.
    pub bytes: u64,
    /// The error of `write`, if one came before the bound.
    pub write: Option<io::Error>,
    /// The error of `fsync`.
    pub fsync: Option<io::Error>,
}

impl std::fmt::Display for Filled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |e: &Option<io::Error>| e.as_ref().map_or("ok".to_owned(), errno_name);
        let mib = self.bytes as f64 / 1048576.0;
        write!(f, "write {} after {mib:.1} MiB, fsync {}", name(&self.write), name(&self.fsync))
    }
}

/// The symbolic name of the errors that a full or limited disk gives.
pub fn errno_name(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::EDQUOT) => "EDQUOT",
        Some(libc::ENOSPC) => "ENOSPC",
        Some(libc::EIO) => "EIO",
        Some(libc::EROFS) => "EROFS",
        Some(libc::ECHILD) => "ECHILD",
        Some(libc::ESRCH) => "ESRCH",
        Some(libc::EINVAL) => "EINVAL",
        Some(libc::EOPNOTSUPP) => "EOPNOTSUPP",
        _ => return error.to_string(),
    };
    name.to_owned()
}

/// Appends to a new file until an error or `bound` bytes, then flushes it.
///
/// # Errors
/// Only when the file cannot be made.
pub fn fill(path: &Path, bound: u64) -> io::Result<Filled> {
    let mut file = File::create(path)?;
    let chunk = noise(64 << 10, 11);
    let mut done = Filled { bytes: 0, write: None, fsync: None };
    while done.bytes < bound && done.write.is_none() {
        match file.write(&chunk) {
            Ok(some) => done.bytes += some as u64,
            Err(error) => done.write = Some(error),
        }
    }
    done.fsync = file.sync_all().err();
    Ok(done)
}

/// Copies only the parts of `from` that hold data, so that a sparse file stays sparse.
///
/// # Errors
/// Those of the file system.
#[allow(unsafe_code)] // lseek with SEEK_DATA and copy_file_range have no counterpart in std
pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (File::open(from)?, File::create(to)?);
    let size = source.metadata()?.len();
    target.set_len(size)?;
    let seek = |at: i64, whence: i32| {
        // SAFETY: plain call on an open descriptor, no memory involved.
        unsafe { libc::lseek(source.as_raw_fd(), at, whence) }
    };
    let mut at: i64 = 0;
    loop {
        let start = seek(at, libc::SEEK_DATA);
        if start < 0 {
            return Ok(()); // ENXIO: no more data
        }
        at = seek(start, libc::SEEK_HOLE);
        let (mut input, mut output) = (start, start);
        while input < at {
            // SAFETY: both descriptors are open and both offsets point to live variables.
            let copied = unsafe {
                let rest = (at - input) as usize;
                libc::copy_file_range(source.as_raw_fd(), &mut input, target.as_raw_fd(), &mut output, rest, 0)
            };
            if copied <= 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
}
