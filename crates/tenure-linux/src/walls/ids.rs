//! User and group IDs: each environment has 65,536 of its own, which nobody else on the host has while it lives.
//!
//! A range is a locked file under `/run/tenure/ids`. The lock belongs to the open file, and the agent inherits it: it goes with the last process that
//! holds it, however that one ends. No file on disk carries these IDs (volumes are stored with the IDs seen inside, and mapped when mounted), so a range
//! is free again as soon as its lock is.

use rustix::fs::FlockOperation;
use std::fs::File;
use std::io;
use std::path::Path;

/// IDs in one range.
pub const RANGE: u32 = 1 << 16;
/// First ID of the first range: a part of the ID space that distributions leave unused.
const FIRST: u32 = 0x7000_0000;
const RANGES: u32 = 4096;
/// The agent's user and group inside, where more than one ID can be mapped.
pub const AGENT_ID: u32 = RANGE - 1;
/// The user that programs run as, inside.
pub const TENANT_ID: u32 = 1000;

/// What all keepers of root share on a host.
pub const RUN_DIR: &str = "/run/tenure";

/// A range of IDs, held for as long as the file is open anywhere.
#[derive(Debug)]
pub struct IdRange {
    /// The first ID, on the host.
    pub base: u32,
    /// Whose lock it is.
    pub lock: File,
}

impl IdRange {
    /// Takes a free range.
    pub fn take() -> io::Result<IdRange> {
        let directory = Path::new(RUN_DIR).join("ids");
        std::fs::create_dir_all(&directory)?;
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let start = u32::from_ne_bytes(random) % RANGES;
        for step in 0..RANGES {
            let slot = (start + step) % RANGES;
            let lock = File::create(directory.join(format!("{slot:04}")))?;
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(IdRange { base: FIRST + slot * RANGE, lock }),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other("all ID ranges of this host are taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-2: no two environments share an ID.
    #[test]
    fn a_range_is_nobody_elses_while_it_is_held() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: ID ranges need root");
            return;
        }
        let held: Vec<IdRange> = (0..50).map(|_| IdRange::take().unwrap()).collect();
        let mut bases: Vec<u32> = held.iter().map(|range| range.base).collect();
        bases.sort_unstable();
        bases.dedup();
        assert_eq!(bases.len(), 50);
        assert!(bases.iter().all(|base| base % RANGE == 0 && *base >= FIRST));
    }
}
