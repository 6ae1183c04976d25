//! What is free on the host, and a reserve of disk for the database, for the engine and the store (GV-5).
//!
//! ```text
//!  free < reserve / 8, or the database met a full disk ─► given: the database goes on in it
//!  free ≥ 2 × reserve, and not held                    ─► taken again
//! ```

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tenure_engine::{HostFree, HostGauge};

/// The reserve's file, below the data directory.
const RESERVE: &str = "reserve";

/// Reads the kernel's own accounts of the host.
pub struct KernelGauge {
    dir: PathBuf,
    reserve: std::sync::Arc<Reserve>,
}

impl KernelGauge {
    /// For the file system of this directory, with its reserve.
    pub fn new(dir: PathBuf, reserve: std::sync::Arc<Reserve>) -> KernelGauge {
        KernelGauge { dir, reserve }
    }
}

impl HostGauge for KernelGauge {
    fn free(&self) -> HostFree {
        // What gives or takes the reserve is what looks: whoever reads afterwards reads what is left then.
        self.reserve.look();
        HostFree {
            disk_bytes: free_bytes(&self.dir).ok(),
            memory_bytes: std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text)),
            reserve_bytes: self.reserve.held_bytes(),
        }
    }
}

/// What whoever has no special rights can still write here.
fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Memory that can be had without swapping, as the kernel estimates it.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// A file that takes room which nobody else then has. Given up when the database needs it.
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Whether it is there in full.
    held: Mutex<bool>,
}

impl Reserve {
    /// Takes so many bytes in this directory, where there is room for them; what an earlier start left is taken over, or given back.
    pub fn take(dir: &Path, bytes: u64) -> Reserve {
        let path = dir.join(RESERVE);
        let held = std::fs::metadata(&path).is_ok_and(|found| bytes > 0 && found.len() == bytes);
        let reserve = Reserve { path, bytes, held: Mutex::new(held) };
        if !held {
            // Of another size, or cut short by the end of an earlier start.
            let _ = std::fs::remove_file(&reserve.path);
        }
        reserve.look();
        reserve
    }

    /// Gives the room to whoever needs it now. Whether there was any to give.
    pub fn give(&self) -> bool {
        let mut held = self.lock();
        if !*held {
            return false;
        }
        match std::fs::remove_file(&self.path) {
            Ok(()) => {
                *held = false;
                tracing::warn!(bytes = self.bytes, "the disk is full: the reserve was given to the database");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the disk is full, and the reserve could not be given up");
                false
            }
        }
    }

    /// Gives the reserve where the database is about to need it, and takes it again where there is room.
    pub fn look(&self) {
        let Some(free) = self.path.parent().and_then(|dir| free_bytes(dir).ok()) else { return };
        let held = *self.lock();
        if held && free < self.bytes / 8 {
            self.give();
        } else if !held && self.bytes > 0 && free >= self.bytes.saturating_mul(2) {
            self.hold();
        }
    }

    /// How much is held back now.
    pub fn held_bytes(&self) -> u64 {
        if *self.lock() { self.bytes } else { 0 }
    }

    fn hold(&self) {
        let mut held = self.lock();
        if *held {
            return;
        }
        match self.fill() {
            Ok(()) => {
                *held = true;
                tracing::info!(bytes = self.bytes, "a reserve of disk is held back for the database");
            }
            Err(error) => {
                tracing::warn!(%error, "no reserve of disk could be held back for the database");
                let _ = std::fs::remove_file(&self.path);
            }
        }
    }

    fn fill(&self) -> io::Result<()> {
        let file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// GV-5
    #[test]
    fn a_reserve_takes_its_room_gives_it_once_and_takes_it_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(RESERVE);
        let reserve = Reserve::take(dir.path(), 1 << 20);
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.mode() & 0o777), (1 << 20, 0o600));
        assert!(found.blocks() * 512 >= 1 << 20, "its room is taken, not promised");
        assert!(reserve.give() && !reserve.give() && !path.exists());
        reserve.look();
        assert_eq!((reserve.held_bytes(), path.exists()), (1 << 20, true));
        assert_eq!(Reserve::take(dir.path(), 1 << 21).held_bytes(), 1 << 21, "another size");
        assert_eq!((Reserve::take(dir.path(), 0).held_bytes(), path.exists()), (0, false), "switched off");
        // More than there is anywhere.
        assert_eq!(Reserve::take(dir.path(), 1 << 60).held_bytes(), 0);
    }

    /// GV-5
    #[test]
    fn available_memory_is_read_from_the_kernels_own_words() {
        let text = "MemTotal:       16000000 kB\nMemFree:  5 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(available(text), Some(1 << 20));
        assert_eq!(available("MemFree: 5 kB\n"), None);
        assert!(available(&std::fs::read_to_string("/proc/meminfo").unwrap()).is_some());
    }
}
