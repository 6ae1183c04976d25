//! What is known of each environment: who it is, where it is, how to prove that it is the one, and how it ended.
//!
//! ```text
//! <instance>/facts/<berth>       mode 0600, JSON, at most FACTS_MAX bytes:
//!   { "format": 1, "boot_id", "berth": {pid, started_ticks, group, volume, socket_dir, …}, "key",
//!     "bound": {environment, generation}, "locks", "grace_ms", "deadline_boot_ms", "end": {exit_code, signal}, "evidence", "survived" }
//! ```
//!
//! The keeper has them in its memory; a lasting one's are in files as well, so that another keeper can go on where it was killed. A file is written when
//! an environment is bound, and whenever something in it changes; it goes when somebody has heard of the environment's end. It replaces the
//! one before by renaming and is not synced: the process that it describes does not outlive the host's boot any more than the page cache does, and a
//! file that a power cut has garbled counts as none. Whose the files are, which do outlive it, each volume says itself ([`crate::storage::Owner`]).

use super::berth::Berth;
use crate::process;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use tenure_environment::EnvironmentEnd;
use tenure_protocol::Key;

/// The format that is written, and the only one there is.
pub const FORMAT: u32 = 1;
/// Longest file in bytes.
const FACTS_MAX: u64 = 64 * 1024;

/// What is known of one environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// [`FORMAT`].
    pub format: u32,
    /// The boot of the host in which its agent was started.
    pub boot_id: String,
    /// Where it is.
    pub berth: Berth,
    /// What it shares with its manager.
    pub key: Key,
    /// Whose it is; one that is nobody's yet outlives no manager.
    #[serde(default)]
    pub bound: Option<Bound>,
    /// The files whose shared locks keep what it stands on, its template say.
    #[serde(default)]
    pub locks: Vec<PathBuf>,
    /// How long its agent takes about its end.
    #[serde(default)]
    pub grace_ms: u64,
    /// When it has to be gone.
    #[serde(default)]
    pub deadline_boot_ms: Option<u64>,
    /// How it ended.
    #[serde(default)]
    pub end: Option<End>,
    /// What proves that it cannot run any more, in words.
    #[serde(default)]
    pub evidence: Option<String>,
    /// Whether its files are there nevertheless: it can be made again over them.
    #[serde(default)]
    pub survived: bool,
}

/// Whose an environment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Its name.
    pub environment: String,
    /// Which life of it.
    pub generation: u64,
}

/// How an agent ended: neither where nobody could see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its exit code, where it exited.
    pub exit_code: Option<i32>,
    /// The signal that killed it, where one did.
    pub signal: Option<i32>,
}

impl From<End> for EnvironmentEnd {
    fn from(end: End) -> Self {
        match (end.exit_code, end.signal) {
            (Some(code), _) => EnvironmentEnd::Exited(code),
            (None, Some(signal)) => EnvironmentEnd::Killed(signal),
            (None, None) => EnvironmentEnd::Unknown,
        }
    }
}

impl Facts {
    /// Of an environment that has just been made and belongs to nobody.
    pub fn new(berth: Berth, key: Key, grace_ms: u64, held: &[OwnedFd]) -> io::Result<Facts> {
        let path_of = |lock: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", lock.as_raw_fd()));
        Ok(Facts {
            locks: held.iter().map(path_of).collect::<io::Result<_>>()?,
            format: FORMAT,
            boot_id: process::boot_id()?,
            berth,
            key,
            bound: None,
            grace_ms,
            deadline_boot_ms: None,
            end: None,
            evidence: None,
            survived: false,
        })
    }

    /// Takes its locks anew, which went with the keeper before. What was removed meanwhile cannot be held.
    pub fn hold_again(&self) -> Vec<OwnedFd> {
        let hold = |path: &PathBuf| {
            let lock = std::fs::File::open(path).ok()?;
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared).ok()?;
            Some(lock.into())
        };
        self.locks.iter().filter_map(hold).collect()
    }
}

/// Where facts are kept, if anywhere but in memory.
#[derive(Debug)]
pub struct FactsDir(Option<PathBuf>);

impl FactsDir {
    /// In files in this directory.
    pub fn at(dir: PathBuf) -> FactsDir {
        FactsDir(Some(dir))
    }

    /// In memory only.
    pub fn nowhere() -> FactsDir {
        FactsDir(None)
    }

    /// Writes one environment's facts down.
    pub fn write(&self, facts: &Facts) -> io::Result<()> {
        let Some(dir) = &self.0 else { return Ok(()) };
        let unfinished = dir.join(format!(".{}", facts.berth.name));
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(facts)?)?;
        std::fs::rename(unfinished, dir.join(&facts.berth.name))
    }

    /// Forgets one. One that is gone is no error.
    pub fn remove(&self, berth: &str) -> io::Result<()> {
        let Some(dir) = &self.0 else { return Ok(()) };
        match std::fs::remove_file(dir.join(berth)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// All that can be read, by berth. What cannot be read is removed: it proves nothing.
    pub fn read_all(&self) -> BTreeMap<String, Facts> {
        let Some(dir) = &self.0 else { return BTreeMap::new() };
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            match (name.to_str(), read(&path)) {
                (Some(name), Some(facts)) if facts.berth.name == name => drop(all.insert(name.to_owned(), facts)),
                _ => drop(std::fs::remove_file(path)),
            }
        }
        all
    }
}

fn read(path: &Path) -> Option<Facts> {
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(FACTS_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice::<Facts>(&text).ok().filter(|facts| facts.format == FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as format 1 has it.
    const SAMPLE: &str = r#"{"format":1,"boot_id":"6c8ac8e1-9d07-4c8f-8a39-6ab7c44a2a4b","berth":{"name":"b000007",
        "group":{"version":"V2","dirs":{"memory":"/sys/fs/cgroup/t/b000007","cpu":null,"pids":null,"freezer":null}},
        "volume":{"path":"/data/pool/u/b000007","limited":true},"socket_dir":"/data/instances/u/sockets/b000007",
        "pid":4711,"started_ticks":12345,"id_base":1879048192,
        "enforced":{"cpu":true,"memory":true,"pids":true,"disk":true}},
        "key":"0707070707070707070707070707070707070707070707070707070707070707",
        "bound":{"environment":"env_0123456789abcdef","generation":3}}"#;

    fn sample() -> Facts {
        serde_json::from_str(SAMPLE).unwrap()
    }

    /// EN-10: a keeper understands what an earlier one wrote, and what is missing in it has a meaning.
    #[test]
    fn a_file_of_format_1_reads_back() {
        let facts = sample();
        assert_eq!((facts.berth.pid, facts.berth.started_ticks, facts.end), (4711, 12345, None));
        assert_eq!(facts.bound, Some(Bound { environment: "env_0123456789abcdef".into(), generation: 3 }));
    }

    /// EN-10: only its owner reads the key; a garbled file is no proof of anything.
    #[test]
    fn facts_are_private_and_what_is_garbled_is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let facts_dir = FactsDir::at(dir.path().to_owned());
        facts_dir.write(&sample()).unwrap();
        let mode = dir.path().join("b000007").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(dir.path().join("b000008"), &SAMPLE[..100]).unwrap();
        std::fs::write(dir.path().join("b000009"), SAMPLE).unwrap();
        let all = facts_dir.read_all();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["b000007"], "the others are cut off, or another one's");
        assert!(!format!("{all:?}").contains("0707"), "a key is not printed");
        facts_dir.remove("b000007").unwrap();
        facts_dir.remove("b000007").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// EN-3
    #[test]
    fn an_end_that_nobody_saw_is_unknown() {
        assert_eq!(EnvironmentEnd::from(End::default()), EnvironmentEnd::Unknown);
        assert_eq!(EnvironmentEnd::from(End { exit_code: Some(0), signal: None }), EnvironmentEnd::Exited(0));
        assert_eq!(EnvironmentEnd::from(End { exit_code: None, signal: Some(9) }), EnvironmentEnd::Killed(9));
    }
}
