//! What a bad server would do: done behind the model's back, so that a run has to find it. A harness that finds nothing proves nothing.

use crate::process;
use crate::server::Server;
use crate::tear;
use rustix::process::Signal;
use std::io;
use std::path::Path;
use std::process::{Child, Command};

/// What is spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// The database is as it was a kill ago: what was acknowledged since is forgotten.
    Forget,
    /// Agents die with the manager, which environments should outlive.
    DieTogether,
    /// The first line of every program's output is gone.
    LoseOutput,
    /// A process stays behind.
    LeaveProcess,
    /// What was acknowledged last was never made durable, as by a server that takes no notice of a failed sync and then loses power.
    Unsynced,
    /// Lease tokens begin again below those that were given.
    TokenTwice,
}

/// How many of the log's commits a power cut takes that were acknowledged.
const COMMITS_LOST: usize = 40;

/// The database's log, below the data directory.
const LOG: &str = "store/tenure.db-wal";

/// From which round on it is done, after a kill under load.
const ROUND: u64 = 4;

/// What has to be remembered to spoil something.
#[derive(Debug, Default)]
pub struct Spoiler {
    done: bool,
    left: Option<Child>,
}

impl Spoiler {
    /// After the kill of this round, with the manager dead.
    pub fn after_kill(&mut self, spoil: Spoil, round: u64, loaded: bool, server: &Server) -> anyhow::Result<()> {
        let (store, copy) = (server.dir().join("store"), server.dir().with_extension("copy"));
        if self.done || !loaded || round < ROUND {
            if spoil == Spoil::Forget && !self.done {
                copy_all(&store, &copy)?;
            }
            return Ok(());
        }
        self.done = true;
        match spoil {
            Spoil::Forget => {
                std::fs::remove_dir_all(&store)?;
                std::fs::rename(copy, &store)?;
            }
            Spoil::DieTogether => server.agents().into_iter().for_each(|pid| process::signal(pid, Signal::KILL)),
            Spoil::LoseOutput => behead_all(&server.dir().join("output"))?,
            Spoil::Unsynced => tear::lose(&server.dir().join(LOG), COMMITS_LOST)?,
            Spoil::TokenTwice => tokens_again(&store)?,
            Spoil::LeaveProcess => {
                let mut sleep = Command::new("sleep");
                self.left = Some(sleep.arg("300").env("TENURE_DATA_DIR", server.dir()).spawn()?);
            }
        }
        Ok(())
    }
}

impl Drop for Spoiler {
    fn drop(&mut self) {
        if let Some(left) = &mut self.left {
            let _ = left.kill();
            let _ = left.wait();
        }
    }
}

/// Takes the guard away, and forgets how far the tokens were.
fn tokens_again(store: &Path) -> anyhow::Result<()> {
    let database = rusqlite::Connection::open(store.join("tenure.db"))?;
    database.execute_batch(
        "DROP TRIGGER sessions_lease_token_grows; DROP TRIGGER sessions_lease_token_is_remembered;
         UPDATE sessions SET lease_token_last = 0 WHERE terminated_at IS NULL;",
    )?;
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    // What was there before would be taken for a part of it.
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Whoever still writes appends, so that only what was there is lost.
fn behead_all(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            behead_all(&path)?;
        } else {
            let text = std::fs::read(&path)?;
            let first = text.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            std::fs::write(&path, &text[first..])?;
        }
    }
    Ok(())
}
