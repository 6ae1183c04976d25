//! One owner's part of a data directory: a server's, or that of one command line.
//!
//! ```text
//! <data dir>/instances/<uuid>.lock   locked while a manager or its keeper lives; unlocked, what is left may be taken down
//! <data dir>/instances/<uuid>/
//!   sockets/     a directory per berth, with its agent's socket
//!   stage/       where layers and roots are attached, in private mount namespaces only; for root that is /run/tenure/stage
//!   volumes/     plain volumes, where there is no pool
//!   lasting      there where the instance outlives its manager and its keeper: a server's
//!   facts/       a lasting instance's: what is known of each environment, see `keeper::facts`
//!   keeper       a lasting instance's: the socket at which its keeper waits for the next manager
//! ```
//!
//! A lasting instance is dead to nobody but the next start of its own server: its environments may live although nobody holds its lock.
//!
//! The lock file is made first and removed last, so that nothing is ever there without one. The UUID is part of the name of everything that the kernel lists: control groups, arguments of agents, volumes.

use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// An instance that this process owns.
#[derive(Debug)]
pub struct Instance {
    /// Its name: 32 hex digits.
    pub uuid: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Keep it open for as long as anything of the instance lives.
    pub lock: File,
}

const DIRECTORY: &str = "instances";
const LASTING: &str = "lasting";
const LOCK_SUFFIX: &str = ".lock";

/// The name of an instance's control group.
pub fn group_name(uuid: &str) -> String {
    format!("tenure-{uuid}")
}

impl Instance {
    /// Makes a new one.
    pub fn create(data_dir: &Path) -> io::Result<Instance> {
        let all = data_dir.join(DIRECTORY);
        private_dir().create(&all)?;
        let (uuid, lock) = new_lock(&all)?;
        let instance = Instance { dir: all.join(&uuid), uuid, lock };
        for dir in [instance.sockets(), instance.volumes()] {
            private_dir().create(dir)?;
        }
        Ok(instance)
    }

    /// Makes a new one that outlives whoever owns it.
    pub fn create_lasting(data_dir: &Path) -> io::Result<Instance> {
        let instance = Instance::create(data_dir)?;
        private_dir().create(instance.facts())?;
        File::create(instance.dir.join(LASTING))?;
        // A power cut must not take what files are found by after a boot.
        for dir in [&instance.dir, &data_dir.join(DIRECTORY), data_dir] {
            File::open(dir)?.sync_all()?;
        }
        Ok(instance)
    }

    /// The lasting ones, by name, whether they are owned or not.
    pub fn lasting(data_dir: &Path) -> io::Result<Vec<String>> {
        let Ok(entries) = std::fs::read_dir(data_dir.join(DIRECTORY)) else { return Ok(Vec::new()) };
        let mut found: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join(LASTING).exists())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        found.sort();
        Ok(found)
    }

    /// Takes over one of this name, if nobody owns it.
    pub fn take(data_dir: &Path, uuid: &str) -> io::Result<Option<Instance>> {
        let all = data_dir.join(DIRECTORY);
        let path = all.join(format!("{uuid}{LOCK_SUFFIX}"));
        let lock = File::open(&path)?;
        let ours = is_locked_now(&lock, &path);
        Ok(ours.then(|| Instance { uuid: uuid.to_owned(), dir: all.join(uuid), lock }))
    }

    /// Where an instance of this name has its directory.
    pub fn dir_of(data_dir: &Path, uuid: &str) -> PathBuf {
        data_dir.join(DIRECTORY).join(uuid)
    }

    /// Those that nobody owns any more, each taken over by this call.
    pub fn dead(data_dir: &Path) -> io::Result<Vec<Instance>> {
        let all = data_dir.join(DIRECTORY);
        let Ok(entries) = std::fs::read_dir(&all) else { return Ok(Vec::new()) };
        let mut dead = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(uuid) = name.to_str().and_then(|name| name.strip_suffix(LOCK_SUFFIX)) else { continue };
            if all.join(uuid).join(LASTING).exists() {
                continue;
            }
            // Whoever owned it may be removing it just now.
            let Ok(lock) = File::open(entry.path()) else { continue };
            if is_locked_now(&lock, &entry.path()) {
                dead.push(Instance { uuid: uuid.to_owned(), dir: all.join(uuid), lock });
            }
        }
        Ok(dead)
    }

    /// Where agents' sockets are.
    pub fn sockets(&self) -> PathBuf {
        self.dir.join("sockets")
    }

    /// Where an ordinary user's layers and roots are attached.
    pub fn stage(&self) -> PathBuf {
        self.dir.join("stage")
    }

    /// Where plain volumes are.
    pub fn volumes(&self) -> PathBuf {
        self.dir.join("volumes")
    }

    /// Where a lasting one keeps what it knows of its environments.
    pub fn facts(&self) -> PathBuf {
        self.dir.join("facts")
    }

    /// Removes its directory and then its lock.
    pub fn remove(&self) -> io::Result<()> {
        let gone = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        gone(std::fs::remove_dir_all(&self.dir))?;
        gone(std::fs::remove_file(self.dir.with_extension(&LOCK_SUFFIX[1..])))
    }
}

/// Makes a lock file that is nobody else's. A sweeper can be faster than us with a file it takes for a dead one's: then another name is tried.
fn new_lock(all: &Path) -> io::Result<(String, File)> {
    loop {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let uuid = hex::encode(random);
        let path = all.join(format!("{uuid}{LOCK_SUFFIX}"));
        let lock = File::create_new(&path)?;
        if is_locked_now(&lock, &path) {
            return Ok((uuid, lock));
        }
    }
}

/// Whether the lock was free and is ours now, and the file is still the one at that path.
fn is_locked_now(lock: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let locked = rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    let inode = |meta: io::Result<std::fs::Metadata>| meta.map(|meta| (meta.dev(), meta.ino())).ok();
    locked && inode(lock.metadata()).is_some_and(|own| inode(std::fs::metadata(path)) == Some(own))
}

fn private_dir() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TM-8: a start takes down what the dead left, and nothing that is alive.
    #[test]
    fn only_an_unlocked_instance_is_dead() {
        let dir = tempfile::tempdir().unwrap();
        let alive = Instance::create(dir.path()).unwrap();
        let uuid = Instance::create(dir.path()).unwrap().uuid;
        let dead: Vec<Instance> = Instance::dead(dir.path()).unwrap();
        assert_eq!(dead.iter().map(|instance| &instance.uuid).collect::<Vec<_>>(), [&uuid]);
        assert!(Instance::dead(dir.path()).unwrap().is_empty(), "taken over already");
        dead[0].remove().unwrap();
        drop((alive, dead));
        assert_eq!(Instance::dead(dir.path()).unwrap().len(), 1);
    }

    /// EN-10: what outlives its owner is taken over, never taken down.
    #[test]
    fn a_lasting_instance_is_never_dead() {
        let dir = tempfile::tempdir().unwrap();
        let lasting = Instance::create_lasting(dir.path()).unwrap();
        assert_eq!(Instance::lasting(dir.path()).unwrap(), std::slice::from_ref(&lasting.uuid));
        assert!(Instance::take(dir.path(), &lasting.uuid).unwrap().is_none(), "it is owned");
        let uuid = lasting.uuid.clone();
        drop(lasting);
        assert!(Instance::dead(dir.path()).unwrap().is_empty());
        let taken = Instance::take(dir.path(), &uuid).unwrap().expect("nobody owns it");
        taken.remove().unwrap();
        assert!(Instance::lasting(dir.path()).unwrap().is_empty());
    }
}
