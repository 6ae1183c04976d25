//! Whose a volume is, said by the volume itself: what it holds can then be given back after the host has booted, also where a power cut took
//! everything that was written down elsewhere.
//!
//! ```text
//! <volume>/owner -> <environment>:<generation>:<boot id>      a symbolic link that leads nowhere
//! ```
//!
//! A link is whole or not there, and becomes durable with the files beside it, never after them. It lies beside the layers, where nothing inside can reach
//! it. It is written when an environment is bound, in each of its lives.

use rustix::fs::{AtFlags, readlinkat, renameat, symlinkat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::AsFd;

const OWNER: &str = "owner";
const UNFINISHED: &str = "owner.new";

/// The last life that wrote to a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Of which environment.
    pub environment: String,
    /// Which life of it.
    pub generation: u64,
    /// In which boot of the host.
    pub boot_id: String,
}

impl Owner {
    /// Of the volume in this directory; none where it is nobody's, or not there.
    pub fn read(volume: impl AsFd) -> Option<Owner> {
        let text = readlinkat(volume, OWNER, Vec::new()).ok()?.into_string().ok()?;
        let mut parts = text.splitn(3, ':');
        let (environment, generation, boot_id) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Owner {
            environment: environment.to_owned(),
            generation: generation.parse().ok()?,
            boot_id: boot_id.to_owned(),
        })
    }

    /// Puts it into the volume in this directory, in place of another.
    pub fn write(&self, volume: impl AsFd) -> io::Result<()> {
        let volume = volume.as_fd();
        match unlinkat(volume, UNFINISHED, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let text = format!("{}:{}:{}", self.environment, self.generation, self.boot_id);
        symlinkat(text, volume, UNFINISHED)?;
        Ok(renameat(volume, UNFINISHED, volume, OWNER)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn owner(generation: u64) -> Owner {
        Owner { environment: "env_0123456789abcdef".into(), generation, boot_id: "6c8ac8e1-9d07".into() }
    }

    /// EN-11
    #[test]
    fn a_volume_says_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let volume = File::open(dir.path()).unwrap();
        assert_eq!(Owner::read(&volume), None);
        for generation in [1, 2, 2] {
            owner(generation).write(&volume).unwrap();
            assert_eq!(Owner::read(&volume), Some(owner(generation)));
        }
        // A crash between the two steps.
        symlinkat("half", &volume, UNFINISHED).unwrap();
        owner(3).write(&volume).unwrap();
        assert_eq!(Owner::read(&volume), Some(owner(3)));
    }

    /// EN-11
    #[test]
    fn what_is_no_owner_is_none() {
        for text in ["", "env", "env:1", "env:x:boot", "env:-1:boot"] {
            let dir = tempfile::tempdir().unwrap();
            if !text.is_empty() {
                std::os::unix::fs::symlink(text, dir.path().join(OWNER)).unwrap();
            }
            assert_eq!(Owner::read(File::open(dir.path()).unwrap()), None, "{text}");
        }
    }
}
