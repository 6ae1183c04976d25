//! A btrfs file system in a file, mounted: the candidate that the storage trial looks at most closely.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::loopdev::{Io, LoopDevice};
use super::{Mounted, btrfs, preallocate};

/// A btrfs pool in a file, mounted.
#[derive(Debug)]
pub struct Pool {
    /// The mount.
    pub mount: Mounted,
    /// The file below it.
    pub file: PathBuf,
}

impl Pool {
    /// A pool with classic quotas; see [`Pool::with_quota`].
    ///
    /// # Errors
    /// As there.
    pub fn new(dir: &Path, size: u64, preallocated: bool, options: &str, io: Io) -> io::Result<Self> {
        Self::with_quota(dir, size, preallocated, options, io, btrfs::Quota::Classic)
    }

    /// Makes the file `dir/pool` of `size` bytes, reserved on disk or sparse, and mounts it at `dir/mnt`.
    ///
    /// # Errors
    /// Those of the file system, the loop device and btrfs.
    pub fn with_quota(
        dir: &Path,
        size: u64,
        preallocated: bool,
        options: &str,
        io: Io,
        quota: btrfs::Quota,
    ) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let file = dir.join("pool");
        let made = File::create(&file)?;
        made.set_len(size)?;
        if preallocated {
            preallocate(&made, size)?;
        }
        btrfs::make(&file)?;
        let device = LoopDevice::attach(&file, io)?;
        let mount = Mounted::new(device.path(), &dir.join("mnt"), "btrfs", options)?;
        btrfs::quota_enable(mount.path(), quota)?;
        Ok(Self { mount, file })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Makes an empty subvolume that may refer to `bytes`.
    ///
    /// # Errors
    /// Those of btrfs.
    pub fn subvolume(&self, name: &str, bytes: u64) -> io::Result<PathBuf> {
        btrfs::subvolume_create(self.path(), name)?;
        let path = self.path().join(name);
        btrfs::limit(&path, bytes)?;
        Ok(path)
    }
}
