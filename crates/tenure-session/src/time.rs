//! Instants and nothing else: milliseconds since 1970, UTC, on the line of time that whoever asks the law keeps.

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

/// 9999-12-30T21:59:59.999Z, the last millisecond that can be written down in every time zone: what comes later is cut to this.
const LATEST_MS: i64 = 253_402_207_199_999;

/// An instant in milliseconds since 1970, UTC, between 1970 and 9999. Written as RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last instant there is.
    pub const LATEST: Timestamp = Timestamp(LATEST_MS);

    /// From milliseconds since 1970; what lies outside is cut to the nearest instant there is.
    pub fn from_ms(ms: i64) -> Timestamp {
        Timestamp(ms.clamp(0, LATEST_MS))
    }

    /// Milliseconds since 1970.
    pub fn as_ms(self) -> i64 {
        self.0
    }

    /// So much later.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Timestamp {
        Timestamp::from_ms(self.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; nothing, where it is not after it.
    pub fn ms_since(self, earlier: Timestamp) -> u64 {
        u64::try_from(self.0 - earlier.0).unwrap_or(0)
    }

    /// The parts of its date and time: year, month, day, hour, minute, second.
    pub(crate) fn civil(self) -> (i16, i8, i8, i8, i8, i8) {
        let at = self.instant().to_zoned(TimeZone::UTC);
        (at.year(), at.month(), at.day(), at.hour(), at.minute(), at.second())
    }

    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.instant())
    }
}

/// The text is no RFC 3339 instant between 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an instant is written as in 2026-11-21T02:09:44.000Z")]
pub struct NotATimestamp;

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Timestamp, NotATimestamp> {
        let ms = text.parse::<jiff::Timestamp>().map_err(|_| NotATimestamp)?.as_millisecond();
        (0..=LATEST_MS).contains(&ms).then_some(Timestamp(ms)).ok_or(NotATimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_with_milliseconds_and_reads_back() {
        let at = Timestamp::from_ms(1_795_226_984_050);
        assert_eq!(at.to_string().parse(), Ok(at));
        assert!(at.to_string().ends_with(".050Z"), "{at}");
        assert_eq!(Timestamp::LATEST.to_string(), "9999-12-30T21:59:59.999Z");
        assert_eq!(Timestamp::LATEST.plus_ms(u64::MAX), Timestamp::LATEST);
        assert_eq!(Timestamp::from_ms(-1), Timestamp::default());
    }
}
