//! What an environment may use of its host, and which of it the host enforces (GV-1, GV-4).

use serde::{Deserialize, Serialize};
use std::fmt;

const MIB: u64 = 1024 * 1024;

/// What an environment may use. The host's kernel holds it to these; [`Enforced`] says which of them this host can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceLimits {
    /// Processor time in thousandths of a core: 10 to 1 024 000.
    pub cpu_millis: u32,
    /// Memory in bytes, page cache of its own files included: at least 8 MiB.
    pub memory_bytes: u64,
    /// Processes and threads, the agent's own included: 4 to 1 000 000.
    pub pids: u32,
    /// Bytes of its writable files: at least 1 MiB.
    pub disk_bytes: u64,
}

impl Default for ResourceLimits {
    /// One core, 512 MiB, 256 processes, 2 GiB.
    fn default() -> Self {
        ResourceLimits { cpu_millis: 1000, memory_bytes: 512 * MIB, pids: 256, disk_bytes: 2048 * MIB }
    }
}

/// A limit has a value that no environment can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}, allowed is {allowed}")]
pub struct InvalidLimit {
    /// The limit's key, as it is written.
    pub key: &'static str,
    /// Its value.
    pub value: u64,
    /// What would do.
    pub allowed: &'static str,
}

impl ResourceLimits {
    /// Checks each limit against its bounds and names the first that is outside.
    pub fn validate(&self) -> Result<(), InvalidLimit> {
        let check = |key, value: u64, holds: bool, allowed| {
            if holds { Ok(()) } else { Err(InvalidLimit { key, value, allowed }) }
        };
        let (cpu, pids) = (u64::from(self.cpu_millis), u64::from(self.pids));
        check("cpu_millis", cpu, (10..=1_024_000).contains(&cpu), "10 to 1024000")?;
        // Kernels count in signed 64-bit numbers; a limit past that would come out as none or as a negative one.
        let (memory, disk) = (self.memory_bytes, self.disk_bytes);
        check("memory_bytes", memory, (8 * MIB..=i64::MAX as u64).contains(&memory), "at least 8388608 (8 MiB)")?;
        check("pids", pids, (4..=1_000_000).contains(&pids), "4 to 1000000")?;
        check("disk_bytes", disk, (MIB..=i64::MAX as u64).contains(&disk), "at least 1048576 (1 MiB)")
    }
}

/// One of the limits of [`ResourceLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Processes.
    Pids,
    /// Writable files.
    Disk,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Cpu => "cpu",
            Limit::Memory => "memory",
            Limit::Pids => "pids",
            Limit::Disk => "disk",
        })
    }
}

/// For each limit, whether the kernel holds the environment to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforced {
    /// Processor time.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
    /// Processes.
    pub pids: bool,
    /// Writable files.
    pub disk: bool,
}

impl Enforced {
    /// Every limit is enforced.
    pub const ALL: Enforced = Enforced { cpu: true, memory: true, pids: true, disk: true };

    /// The limits that nothing enforces.
    pub fn missing(&self) -> Vec<Limit> {
        [(Limit::Cpu, self.cpu), (Limit::Memory, self.memory), (Limit::Pids, self.pids), (Limit::Disk, self.disk)]
            .into_iter()
            .filter_map(|(limit, enforced)| (!enforced).then_some(limit))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut ResourceLimits), key: Option<&str>) {
        let mut limits = ResourceLimits::default();
        change(&mut limits);
        assert_eq!(limits.validate().err().map(|error| error.key), key, "{limits:?}");
    }

    /// GV-1
    #[test]
    fn impossible_limits_are_refused_by_name() {
        check(|_| (), None);
        check(|l| l.cpu_millis = 9, Some("cpu_millis"));
        check(|l| l.cpu_millis = 10, None);
        check(|l| l.cpu_millis = 1_024_000, None);
        check(|l| l.cpu_millis = 1_024_001, Some("cpu_millis"));
        check(|l| l.memory_bytes = 8 * MIB - 1, Some("memory_bytes"));
        check(|l| l.memory_bytes = 8 * MIB, None);
        check(|l| l.memory_bytes = u64::MAX, Some("memory_bytes"));
        check(|l| l.pids = 3, Some("pids"));
        check(|l| l.pids = 4, None);
        check(|l| l.pids = 1_000_001, Some("pids"));
        check(|l| l.disk_bytes = MIB - 1, Some("disk_bytes"));
        check(|l| l.disk_bytes = MIB, None);
        check(|l| l.disk_bytes = u64::MAX, Some("disk_bytes"));
    }

    /// GV-1
    #[test]
    fn an_unknown_key_is_refused_and_a_missing_one_has_its_default() {
        assert!(serde_json::from_str::<ResourceLimits>(r#"{"cpus": 1}"#).is_err());
        let limits: ResourceLimits = serde_json::from_str(r#"{"pids": 7}"#).unwrap();
        assert_eq!(limits, ResourceLimits { pids: 7, ..ResourceLimits::default() });
    }

    /// GV-4
    #[test]
    fn what_a_host_cannot_enforce_is_named() {
        assert!(Enforced::ALL.missing().is_empty());
        assert_eq!(Enforced { disk: false, ..Enforced::ALL }.missing(), [Limit::Disk]);
        assert_eq!(Enforced::default().missing(), [Limit::Cpu, Limit::Memory, Limit::Pids, Limit::Disk]);
    }
}
