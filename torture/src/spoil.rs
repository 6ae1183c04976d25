//! What a bad server would do: done behind the model's back, so that a run has to find it. A harness that finds nothing proves nothing.

use crate::process;
use crate::server::Server;
use rustix::process::Signal;
use std::io;
use std::path::{Path, PathBuf};
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
}

/// In which round it is done, after the kill.
pub const ROUND: u64 = 4;

/// What has to be remembered to spoil something.
#[derive(Debug, Default)]
pub struct Spoiler {
    copy: Option<PathBuf>,
    left: Option<Child>,
}

impl Spoiler {
    /// After the kill of this round, with the manager dead.
    pub fn after_kill(&mut self, spoil: Spoil, round: u64, server: &Server) -> anyhow::Result<()> {
        let store = server.dir().join("store");
        match spoil {
            Spoil::Forget if round + 1 == ROUND => {
                let copy = server.dir().with_extension("copy");
                copy_all(&store, &copy)?;
                self.copy = Some(copy);
            }
            Spoil::Forget if round == ROUND => {
                if let Some(copy) = self.copy.take() {
                    std::fs::remove_dir_all(&store)?;
                    std::fs::rename(copy, &store)?;
                }
            }
            Spoil::DieTogether if round == ROUND => {
                server.agents().into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
            }
            Spoil::LoseOutput if round == ROUND => behead_all(&server.dir().join("output"))?,
            Spoil::LeaveProcess if round == ROUND => {
                let mut sleep = Command::new("sleep");
                self.left = Some(sleep.arg("300").env("TENURE_DATA_DIR", server.dir()).spawn()?);
            }
            Spoil::Forget | Spoil::DieTogether | Spoil::LoseOutput | Spoil::LeaveProcess => {}
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

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
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
