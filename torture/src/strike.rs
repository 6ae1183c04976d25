//! The moment of a kill: waited for, with whatever is to go wrong before it.

use crate::client::Weather;
use crate::fault::Faults;
use crate::process;
use crate::random::Random;
use crate::schedule::Kill;
use crate::server::Server;
use crate::tracer::Tracer;
use rustix::process::Signal;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a point is waited for.
const POINT_PATIENCE: Duration = Duration::from_millis(1500);
/// How long there is load on a disk before it is full.
const BEFORE_FULL: Duration = Duration::from_millis(100);

/// Whom a kill has to do with.
pub struct Strike<'a> {
    /// Who is killed.
    pub server: &'a mut Server,
    /// What clients are told.
    pub weather: &'a Weather,
    /// Which agents.
    pub random: &'a mut Random,
    /// What else can go wrong.
    pub faults: &'a mut Faults,
}

impl Strike<'_> {
    /// Waits for the moment, and kills. What kind of kill it was in the end.
    pub fn at(mut self, kill: &Kill, tracer: Option<&Tracer>) -> anyhow::Result<String> {
        let is_reached = || tracer.is_some_and(|tracer| tracer.wait(POINT_PATIENCE));
        let mut kind = kill.kind();
        match kill {
            Kill::Random(after) | Kill::Starting(after) => std::thread::sleep(*after),
            Kill::Tear(..) => kind += if is_reached() { "" } else { " (not reached)" },
            Kill::Point(point) => {
                kind += if is_reached() { "" } else { " (not reached)" };
                if point.with_keeper {
                    self.keeper();
                }
            }
            Kill::Unsyncable(after, ..) => {
                kind += if is_reached() { "" } else { " (not reached)" };
                std::thread::sleep(*after);
            }
            Kill::WithKeeper(after, apart) => {
                std::thread::sleep(*after);
                self.keeper();
                std::thread::sleep(*apart);
            }
            Kill::WithAgents(after, count) => {
                std::thread::sleep(*after);
                self.agents(*count);
            }
            Kill::Full(after, left, released) => self.full(*after, *left, *released)?,
            Kill::Jump(after, shift_ms) => {
                std::thread::sleep(BEFORE_FULL);
                self.faults.jump(*shift_ms, self.server)?;
                std::thread::sleep(*after);
            }
        }
        self.server.kill()?;
        if let (Kill::Full(_, _, released), Some(disk)) = (kill, self.faults.disk()) {
            if !released {
                self.server.starts_or_says()?;
            }
            disk.release()?;
        }
        Ok(kind)
    }

    /// A child of the server's, or of nobody: it does not end by itself while there are environments.
    fn keeper(&mut self) {
        self.weather.keeper.store(true, Ordering::Relaxed);
        self.server.keeper().into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
    }

    fn agents(&mut self, count: usize) {
        self.weather.agents.store(true, Ordering::Relaxed);
        let mut agents = self.server.agents();
        for _ in 0..count {
            if !agents.is_empty() {
                process::signal(agents.swap_remove(self.random.below(agents.len() as u64) as usize), Signal::KILL);
                self.weather.agents_killed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn full(&mut self, after: Duration, left: u64, released: bool) -> anyhow::Result<()> {
        let Some(disk) = self.faults.disk() else { return Ok(()) };
        std::thread::sleep(BEFORE_FULL);
        self.weather.full.store(true, Ordering::Relaxed);
        self.weather.trouble.store(true, Ordering::Relaxed);
        disk.fill(left)?;
        std::thread::sleep(after);
        if released {
            disk.release()?;
            std::thread::sleep(after / 2);
        }
        Ok(())
    }
}
