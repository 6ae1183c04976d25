//! Faults of the host that have to be prepared before the first start: a disk to fill, a clock to move. What cannot be had here is said, not pretended.

use crate::clock::{Clock, TOLD_FROM_MS};
use crate::disk::Disk;
use crate::report::Report;
use crate::run::Plan;
use crate::schedule::Menu;
use crate::server::Server;
use std::ffi::OsString;

/// What a server says that found its wall clock elsewhere.
const JUMPED: &str = "the wall clock jumped";

/// The faults of one run.
pub struct Faults {
    /// What is left of what was asked for.
    pub menu: Menu,
    disk: Option<Disk>,
    clock: Option<Clock>,
    /// How much was logged when the wall clock went where it is now, while that was not looked for yet.
    jumped: Option<u64>,
}

impl Faults {
    /// Prepares what is on the menu.
    pub fn make(plan: &Plan, report: &mut Report) -> anyhow::Result<Faults> {
        let dir = plan.dir.parent().unwrap_or(&plan.dir);
        let mut faults = Faults { menu: plan.menu, disk: None, clock: None, jumped: None };
        let mut skip = |fault, why: anyhow::Error| report.skipped.insert(fault, format!("{why:#}"));
        if plan.menu.fill {
            match Disk::make(dir) {
                Ok(disk) => faults.disk = Some(disk),
                Err(why) => drop(skip("full disk", why)),
            }
        }
        if plan.menu.clock {
            match Clock::make(dir, &plan.program) {
                Ok(clock) => faults.clock = Some(clock),
                Err(why) => drop(skip("wall clock", why)),
            }
        }
        let traced = plan.menu.points || plan.menu.tear || plan.menu.fsync;
        if traced && let Err(why) = std::process::Command::new("strace").arg("--version").output() {
            skip("points, torn writes, failing syncs", anyhow::anyhow!("strace: {why}"));
            faults.menu = Menu { points: false, tear: false, fsync: false, ..faults.menu };
        }
        faults.menu = Menu { fill: faults.disk.is_some(), clock: faults.clock.is_some(), ..faults.menu };
        Ok(faults)
    }

    /// The disk that can be filled.
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref()
    }

    /// What servers are started with.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        self.clock.iter().flat_map(Clock::variables).collect()
    }

    /// Moves the wall clock.
    pub fn jump(&mut self, shift_ms: i64, server: &Server) -> std::io::Result<()> {
        let Some(clock) = &self.clock else { return Ok(()) };
        let logged = server.logged();
        clock.jump(shift_ms)?;
        self.jumped = (shift_ms.unsigned_abs() >= TOLD_FROM_MS).then_some(logged);
        Ok(())
    }

    /// Once after a jump, when the next server is ready: whether anybody noticed.
    pub fn jump_was_noticed(&mut self, server: &Server) -> Option<bool> {
        self.jumped.take().map(|from| server.logged_since(from, JUMPED))
    }
}
