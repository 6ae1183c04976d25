//! Control groups version 1: each controller has a tree of its own.

use super::discover::V1Layout;
use super::{AGENT_PIDS, Dirs, PATIENCE, named_below_top, read_keyed, read_number, write};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tenure_environment::{Observation, ResourceLimits};

const CPU_PERIOD_US: u64 = 100_000;

/// Makes the instance's group in every tree that lets us.
pub fn create_parent(layout: &V1Layout, name: &str) -> Dirs {
    let make = |own: &Option<PathBuf>| {
        let dir = own.as_ref()?.join(name);
        match std::fs::create_dir(&dir) {
            Ok(()) => Some(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(dir),
            Err(_) => None,
        }
    };
    Dirs {
        memory: make(&layout.memory),
        cpu: make(&layout.cpu),
        pids: make(&layout.pids),
        freezer: make(&layout.freezer),
    }
}

/// The groups of instances that are there. Each controller's group may hang somewhere else in its tree.
pub fn instances(layout: &V1Layout, prefix: &str) -> Vec<(String, Dirs)> {
    let mut found: BTreeMap<String, Dirs> = BTreeMap::new();
    let mut take = |tree: &Option<PathBuf>, place: fn(&mut Dirs) -> &mut Option<PathBuf>| {
        for dir in tree.iter().flat_map(|own| named_below_top(own, prefix)) {
            let Some(name) = dir.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            *place(found.entry(name).or_default()) = Some(dir);
        }
    };
    take(&layout.memory, |dirs| &mut dirs.memory);
    take(&layout.cpu, |dirs| &mut dirs.cpu);
    take(&layout.pids, |dirs| &mut dirs.pids);
    take(&layout.freezer, |dirs| &mut dirs.freezer);
    found.into_iter().collect()
}

pub fn set_limits(dirs: &Dirs, limits: &ResourceLimits) -> io::Result<()> {
    if let Some(dir) = &dirs.memory {
        set_memory(dir, limits.memory_bytes)?;
    }
    if let Some(dir) = &dirs.cpu {
        write(&dir.join("cpu.cfs_period_us"), &CPU_PERIOD_US.to_string())?;
        write(&dir.join("cpu.cfs_quota_us"), &(u64::from(limits.cpu_millis) * CPU_PERIOD_US / 1000).to_string())?;
    }
    if let Some(dir) = &dirs.pids {
        write(&dir.join("pids.max"), &(u64::from(limits.pids) + AGENT_PIDS).to_string())?;
    }
    Ok(())
}

/// Memory and memory with swap are two files, and the second may never be below the first: which one goes first depends on the direction.
fn set_memory(dir: &Path, bytes: u64) -> io::Result<()> {
    let (memory, with_swap) = (dir.join("memory.limit_in_bytes"), dir.join("memory.memsw.limit_in_bytes"));
    let value = bytes.to_string();
    if !with_swap.exists() {
        return write(&memory, &value);
    }
    if read_number(&memory).is_some_and(|now| now < bytes) {
        write(&with_swap, &value)?;
        write(&memory, &value)
    } else {
        write(&memory, &value)?;
        write(&with_swap, &value)
    }
}

pub fn set_frozen(dir: &Path, frozen: bool) -> io::Result<()> {
    let file = dir.join("freezer.state");
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let until = Instant::now() + PATIENCE;
    loop {
        // Writing again lets the kernel take in processes that were born meanwhile.
        write(&file, wanted)?;
        if std::fs::read_to_string(&file)?.trim() == wanted {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn observe(dirs: &Dirs) -> Observation {
    let memory = |name: &str| dirs.memory.as_ref().and_then(|dir| read_number(&dir.join(name)));
    let throttled_ns = dirs.cpu.as_ref().and_then(|dir| read_keyed(&dir.join("cpu.stat"), "throttled_time"));
    let used_ns = dirs.cpu.as_ref().and_then(|dir| read_number(&dir.join("cpuacct.usage")));
    Observation {
        memory_bytes: memory("memory.usage_in_bytes"),
        memory_peak_bytes: memory("memory.max_usage_in_bytes"),
        memory_limit_hits: memory("memory.failcnt"),
        oom_kills: dirs.memory.as_ref().and_then(|dir| read_keyed(&dir.join("memory.oom_control"), "oom_kill")),
        pids: dirs
            .pids
            .as_ref()
            .and_then(|dir| read_number(&dir.join("pids.current")))
            .map(|n| n.saturating_sub(AGENT_PIDS)),
        pids_refused: dirs.pids.as_ref().and_then(|dir| read_keyed(&dir.join("pids.events"), "max")),
        cpu_ms: used_ns.map(|ns| ns / 1_000_000),
        cpu_throttled_ms: throttled_ns.map(|ns| ns / 1_000_000),
        frozen: dirs
            .freezer
            .as_ref()
            .and_then(|dir| std::fs::read_to_string(dir.join("freezer.state")).ok())
            .is_some_and(|state| state.trim() != "THAWED"),
        ..Observation::default()
    }
}
