//! What came of a run.

use crate::client::Tally;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// By which it can be had again.
    pub seed: u64,
    /// What was done and found.
    pub tally: Tally,
    /// Kills by kind.
    pub kills: BTreeMap<String, u64>,
    /// Faults that were asked for and could not be had here, and why.
    pub skipped: BTreeMap<&'static str, String>,
    /// What the kernel still lists at the end.
    pub leftovers: Vec<String>,
    /// The longest that a start took.
    pub slowest_start: Duration,
}

impl Report {
    /// Of a run that begins.
    pub fn new(seed: u64) -> Report {
        Report {
            seed,
            tally: Tally::default(),
            kills: BTreeMap::new(),
            skipped: BTreeMap::new(),
            leftovers: Vec::new(),
            slowest_start: Duration::ZERO,
        }
    }

    /// One more kill.
    pub fn killed(&mut self, kind: String) {
        *self.kills.entry(kind).or_default() += 1;
    }

    /// Kills of all kinds.
    pub fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    /// Operations of all kinds that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.tally.acknowledged.values().sum()
    }

    /// Whether anything was lost or is left.
    pub fn is_bad(&self) -> bool {
        !self.tally.losses.is_empty() || !self.leftovers.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed           {}", self.seed)?;
        writeln!(f, "kills          {}", self.kills())?;
        self.kills.iter().try_for_each(|(kind, count)| writeln!(f, "  {count:>6} {kind}"))?;
        writeln!(f, "acknowledged   {}", self.acknowledged())?;
        self.tally.acknowledged.iter().try_for_each(|(name, count)| writeln!(f, "  {count:>6} {name}"))?;
        writeln!(f, "refused while the host failed  {}", self.tally.unavailable)?;
        writeln!(f, "broke off      {}", self.tally.unknown)?;
        writeln!(f, "checked        {}", self.tally.checked)?;
        writeln!(f, "slowest start  {} ms", self.slowest_start.as_millis())?;
        writeln!(f, "sessions that failed with their agent: {}", self.tally.failed)?;
        self.skipped.iter().try_for_each(|(fault, why)| writeln!(f, "skipped: {fault}: {why}"))?;
        writeln!(f, "losses         {}", self.tally.losses.len())?;
        self.tally.losses.iter().try_for_each(|loss| writeln!(f, "  {loss}"))?;
        writeln!(f, "leftovers      {}", self.leftovers.len())?;
        self.leftovers.iter().try_for_each(|left| writeln!(f, "  {left}"))
    }
}
