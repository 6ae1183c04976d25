//! Where an environment's own files live: one volume each, with a limit that the kernel enforces where the host can.
//!
//! A volume is a directory with two directories in it, the upper and the work layer of an overlay; the template is the layer below. In a
//! [`pool`] it is a btrfs subvolume with a quota of its own. Elsewhere it is a plain directory, and the disk limit is not enforced. Beside the two a
//! link says whose it is: see [`Owner`].

pub mod btrfs;
pub mod loopdev;
mod owner;
pub mod pool;
mod tree;

pub use owner::Owner;

use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The layer that takes an environment's writes.
pub const UPPER: &str = "upper";
/// The layer that overlayfs keeps for itself.
pub const WORK: &str = "work";

/// The volumes of one instance.
#[derive(Debug)]
pub enum Volumes {
    /// Subvolumes of a pool, in this directory.
    Pool(PathBuf),
    /// Plain directories, in this directory.
    Plain(PathBuf),
}

/// One environment's volume.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    /// Where it is, in the keeper's mount namespace.
    pub path: PathBuf,
    /// Whether the kernel enforces its limit.
    pub limited: bool,
}

impl Volumes {
    /// Makes the directory for an instance's volumes.
    pub fn open(self) -> io::Result<Volumes> {
        std::fs::create_dir_all(self.dir())?;
        Ok(self)
    }

    /// The directory they are in.
    pub fn dir(&self) -> &Path {
        match self {
            Volumes::Pool(dir) | Volumes::Plain(dir) => dir,
        }
    }

    /// Whether the kernel enforces limits here.
    pub fn limited(&self) -> bool {
        match self {
            Volumes::Pool(_) => true,
            Volumes::Plain(_) => false,
        }
    }

    /// Makes an empty volume.
    pub fn create(&self, name: &str) -> io::Result<Volume> {
        let path = self.dir().join(name);
        match self {
            Volumes::Pool(dir) => {
                pool::refuse_when_full(dir)?;
                btrfs::subvolume_create(dir, name)?;
            }
            Volumes::Plain(_) => std::fs::create_dir(&path)?,
        }
        for layer in [UPPER, WORK] {
            std::fs::create_dir(path.join(layer))?;
        }
        Ok(Volume { path, limited: self.limited() })
    }

    /// Whose a volume is; none where it is nobody's, or not there.
    pub fn owner(&self, name: &str) -> Option<Owner> {
        Owner::read(std::fs::File::open(self.dir().join(name)).ok()?)
    }

    /// Whether there is a volume of this name.
    pub fn exists(&self, name: &str) -> bool {
        self.dir().join(name).symlink_metadata().is_ok()
    }

    /// Gives a volume another name, in place of an empty one that may have it.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<Volume> {
        self.remove(to)?;
        let path = self.dir().join(to);
        std::fs::rename(self.dir().join(from), &path)?;
        Ok(Volume { path, limited: self.limited() })
    }

    /// The names of the volumes that are there.
    pub fn existing(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Removes a volume with all it holds. One that is gone is no error.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.dir().join(name);
        let result = match self {
            Volumes::Pool(dir) => btrfs::subvolume_remove(dir, name),
            Volumes::Plain(_) => tree::remove(&path),
        };
        result.or_else(|error| if path.exists() { Err(error) } else { Ok(()) })
    }

    /// Gets the space of removed volumes back, as far as that can be done in this time.
    pub fn settle(&self, patience: Duration) -> io::Result<()> {
        match self {
            Volumes::Pool(dir) => pool::settle(dir.parent().unwrap_or(dir), patience),
            // There it is back at once.
            Volumes::Plain(_) => Ok(()),
        }
    }

    /// Whether there is too little left for another volume.
    pub fn is_full(&self) -> bool {
        match self {
            Volumes::Pool(dir) => pool::refuse_when_full(dir.parent().unwrap_or(dir)).is_err(),
            Volumes::Plain(_) => false,
        }
    }

    /// As [`Volumes::settle`], and waits for what others are at as well.
    pub fn settle_all(&self, patience: Duration) -> io::Result<()> {
        match self {
            Volumes::Pool(dir) => pool::settle_all(dir.parent().unwrap_or(dir), patience),
            Volumes::Plain(_) => Ok(()),
        }
    }

    /// Removes all volumes and the directory they are in.
    pub fn remove_all(&self) -> io::Result<()> {
        self.existing().iter().try_for_each(|name| self.remove(name))?;
        match std::fs::remove_dir(self.dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

impl Volume {
    /// Sets how many bytes it may hold. Without effect where [`Volume::limited`] is false.
    pub fn set_limit(&self, bytes: u64) -> io::Result<()> {
        if self.limited { btrfs::set_limit(&std::fs::File::open(&self.path)?, bytes) } else { Ok(()) }
    }
}
