//! What a host can promise: walls, limits, and how durable its disk is.

use crate::Context;
use crate::command::doctor;
use crate::failure::{Code, Failure};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};
use tenure_environment::{HostReport, WallState};

/// How often a write is made durable to see how long that takes.
const SYNCS: usize = 40;
/// What `statfs` says of file systems in memory: tmpfs, ramfs.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// This host.
pub struct Host {
    report: HostReport,
    /// How long it takes to make a write durable, in microseconds: the median.
    pub fsync_us: u64,
    in_memory: bool,
}

impl Host {
    /// Looks at it; to be called while there is one thread.
    pub fn look(context: &Context) -> Result<Host, Failure> {
        let report = doctor::report(context)?;
        let in_memory =
            IN_MEMORY.contains(&rustix::fs::statfs(&context.data_dir).map_err(std::io::Error::from)?.f_type);
        Ok(Host { report, fsync_us: fsync_us(&context.data_dir)?, in_memory })
    }

    /// Whether environments can be made here at all.
    pub fn can_run(&self) -> bool {
        self.report.walls.iter().all(|wall| wall.state != WallState::Down)
    }

    /// Whether the kernel enforces every limit.
    pub fn enforces_all(&self) -> bool {
        self.report.enforced.missing().is_empty()
    }

    /// What it lacks of what is promised.
    pub fn lacks(&self) -> Vec<String> {
        let down = self.report.walls.iter().filter(|wall| wall.state == WallState::Down);
        let mut lacks: Vec<String> = down.map(|wall| format!("{} ({})", wall.name, wall.detail)).collect();
        let missing: Vec<String> = self.report.enforced.missing().iter().map(ToString::to_string).collect();
        if !missing.is_empty() {
            lacks.push(format!("limits that the kernel enforces: not {}", missing.join(", ")));
        }
        if self.in_memory {
            lacks.push("a data directory on a disk: what is in memory does not outlive the host".to_owned());
        }
        lacks
    }

    /// For programs.
    pub fn as_json(&self) -> Value {
        json!({ "walls": self.report.walls, "enforced": self.report.enforced, "notes": self.report.notes,
            "durable": !self.in_memory })
    }

    /// For people.
    pub fn in_words(&self) -> String {
        let groups = self.report.walls.iter().find(|wall| wall.name == "control groups");
        let groups = groups.map_or_else(|| "none".to_owned(), |wall| wall.detail.clone());
        let limits = if self.enforces_all() { "all enforced by the kernel" } else { "not all enforced by the kernel" };
        let store = if self.in_memory { "in memory" } else { "on a disk" };
        format!(
            "\nlimits          {limits}\ncontrol groups  {groups}\nstore           {store}; a durable write takes {} µs\n",
            self.fsync_us
        )
    }
}

fn fsync_us(dir: &Path) -> Result<u64, Failure> {
    use std::io::Write;
    let path = dir.join("fsync");
    let mut file = std::fs::File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[1; 4096])?;
        let before = Instant::now();
        file.sync_data()?;
        times.push(u64::try_from(before.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

/// A time that nobody can foresee.
pub fn chance_ms(range: Range<u64>) -> Result<Duration, Failure> {
    let chance = getrandom::u64().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    Ok(Duration::from_millis(range.start + chance % (range.end - range.start)))
}
