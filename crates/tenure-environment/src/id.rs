//! Which environment, and which life of it.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "env_";
const RANDOM_BYTES: usize = 8;

/// Names one environment, for ever: `env_` and 16 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentId(String);

impl EnvironmentId {
    /// A new one, from the system's random numbers. Fails only where the system has none.
    pub fn generate() -> std::io::Result<EnvironmentId> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(EnvironmentId(format!("{PREFIX}{}", hex::encode(bytes))))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvironmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not `env_` and 16 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an environment's ID is {PREFIX} and 16 lower-case hex digits")]
pub struct InvalidEnvironmentId;

impl FromStr for EnvironmentId {
    type Err = InvalidEnvironmentId;

    fn from_str(text: &str) -> Result<EnvironmentId, InvalidEnvironmentId> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidEnvironmentId)?;
        let strict = digits.len() == 2 * RANDOM_BYTES && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        strict.then(|| EnvironmentId(text.to_owned())).ok_or(InvalidEnvironmentId)
    }
}

impl Serialize for EnvironmentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EnvironmentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Which life of an environment: it rises when the environment is made again over its surviving files, so that an answer from before
/// cannot be taken for one from after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// What an agent in a pool says of itself: it belongs to no session yet.
    pub const UNBOUND: Generation = Generation(0);

    /// The first life, 1.
    pub fn first() -> Generation {
        Generation(1)
    }

    /// The life after this one. The count stands still at its end, which no host lives to see.
    pub fn next(self) -> Generation {
        Generation(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ID-4
    #[test]
    fn a_new_id_reads_back_and_is_not_the_last_one() {
        let (first, second) = (EnvironmentId::generate().unwrap(), EnvironmentId::generate().unwrap());
        assert_ne!(first, second);
        assert_eq!(first.to_string().parse(), Ok(first.clone()));
        assert_eq!(serde_json::from_str::<EnvironmentId>(&serde_json::to_string(&first).unwrap()).unwrap(), first);
    }

    /// ID-4
    #[test]
    fn what_is_not_exactly_an_id_is_refused() {
        for text in [
            "",
            "env_",
            "env_0123456789abcde",
            "env_0123456789abcdef0",
            "env_0123456789ABCDEF",
            "env_0123456789abcdeg",
            "ENV_0123456789abcdef",
            "0123456789abcdef",
            " env_0123456789abcdef",
            "env_0123456789abcdef\n",
            "env_../../etc/passwd",
        ] {
            assert_eq!(text.parse::<EnvironmentId>(), Err(InvalidEnvironmentId), "{text:?}");
        }
    }

    /// ID-4
    #[test]
    fn generations_rise_from_one() {
        assert_eq!(Generation::first(), Generation(1));
        assert_eq!(Generation::first().next(), Generation(2));
        assert!(Generation::UNBOUND < Generation::first());
    }
}
