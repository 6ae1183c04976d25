//! What an environment is made from.

use crate::error::EnvironmentError;
use crate::id::{EnvironmentId, Generation};
use crate::limits::ResourceLimits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest grace that can be asked for: an hour.
const GRACE_MS_MAX: u64 = 3_600_000;

/// What an environment is made from. One spec makes one environment, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Its name, new.
    pub id: EnvironmentId,
    /// Which life of it this is.
    pub generation: Generation,
    /// The read-only root it starts from: `name` or `name@version`, as the driver resolves it.
    pub base: String,
    /// What it may use.
    #[serde(default)]
    pub limits: ResourceLimits,
    /// Variables that every program in it starts with.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it calls itself: 1 to 63 letters, digits and inner hyphens.
    pub hostname: String,
    /// When everything inside ends, whoever is alive by then: milliseconds of the host's clock that counts from boot, sleep included.
    #[serde(default)]
    pub deadline_boot_ms: Option<u64>,
    /// How long after SIGTERM comes SIGKILL, where the environment ends by itself: at the deadline.
    #[serde(default = "default_grace_ms")]
    pub grace_ms: u64,
    /// Whether to go on where the host cannot enforce a limit; otherwise that is [`EnvironmentError::Unenforced`].
    #[serde(default)]
    pub allow_unenforced: bool,
}

fn default_grace_ms() -> u64 {
    5000
}

impl EnvironmentSpec {
    /// The first life of an environment, with what a spec has by default.
    pub fn new(id: EnvironmentId, base: impl Into<String>) -> EnvironmentSpec {
        EnvironmentSpec {
            id,
            generation: Generation::first(),
            base: base.into(),
            limits: ResourceLimits::default(),
            env: BTreeMap::new(),
            hostname: "tenure".into(),
            deadline_boot_ms: None,
            grace_ms: default_grace_ms(),
            allow_unenforced: false,
        }
    }

    /// Checks what can be checked without the host, and names the first field that is wrong. Drivers call it first.
    pub fn validate(&self) -> Result<(), EnvironmentError> {
        let check = |holds: bool, field, problem: &str| {
            if holds { Ok(()) } else { Err(EnvironmentError::InvalidSpec { field, problem: problem.to_owned() }) }
        };
        check(self.generation >= Generation::first(), "generation", "must be at least 1")?;
        check(
            is_base(&self.base),
            "base",
            "must be a name of 1 to 128 letters, digits, '.', '_', '-', or name@version",
        )?;
        check(is_hostname(&self.hostname), "hostname", "must be 1 to 63 letters, digits and inner hyphens")?;
        check(self.grace_ms <= GRACE_MS_MAX, "grace_ms", "must be at most an hour")?;
        // What is bound to the agent later must pass here already, so that creation fails before anything is made.
        let bind = tenure_protocol::Request::Bind {
            environment: Some(self.id.to_string()),
            generation: self.generation.0,
            deadline_boot_ms: self.deadline_boot_ms,
            env: self.env.clone(),
        };
        bind.validate().or_else(|invalid| check(false, invalid.field, invalid.problem))?;
        Ok(self.limits.validate()?)
    }
}

/// Names become parts of paths in drivers: no separators, no leading dot.
fn is_base(base: &str) -> bool {
    let part = |text: &str| {
        (1..=128).contains(&text.len())
            && !text.starts_with(['.', '-'])
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    match base.split_once('@') {
        Some((name, version)) => part(name) && part(version),
        None => part(base),
    }
}

fn is_hostname(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut EnvironmentSpec), field: Option<&str>) {
        let mut spec = EnvironmentSpec::new(EnvironmentId::generate().unwrap(), "debian");
        change(&mut spec);
        let found = match spec.validate() {
            Ok(()) => None,
            Err(EnvironmentError::InvalidSpec { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found, field, "{spec:?}");
    }

    /// EN-1
    #[test]
    fn a_spec_that_no_environment_can_have_is_refused_by_field() {
        check(|_| (), None);
        check(|s| s.base = "python-3.12@2".into(), None);
        check(|s| s.generation = Generation::UNBOUND, Some("generation"));
        for base in ["", ".", "..", "../x", "a/b", "a@", "@b", "a@b@c", "-a", "a\0"] {
            check(|s| s.base = base.into(), Some("base"));
        }
        for hostname in ["", "-a", "a-", "a.b", "a b", "ä", &"a".repeat(64)] {
            check(|s| s.hostname = hostname.into(), Some("hostname"));
        }
        check(|s| s.grace_ms = GRACE_MS_MAX + 1, Some("grace_ms"));
        check(|s| drop(s.env.insert("A=B".into(), String::new())), Some("env"));
        check(|s| drop(s.env.insert("A".into(), "\0".into())), Some("env"));
        check(|s| s.limits.pids = 0, Some("pids"));
    }

    /// EN-1
    #[test]
    fn a_spec_reads_back_and_refuses_unknown_keys() {
        let spec = EnvironmentSpec::new(EnvironmentId::generate().unwrap(), "debian");
        let mut json = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<EnvironmentSpec>(json.clone()).unwrap(), spec);
        json["colour"] = "red".into();
        assert!(serde_json::from_value::<EnvironmentSpec>(json).is_err());
    }
}
