//! Who and what: every kind of ID is its own type, and none falls back to another (ID-1, ID-3, ID-4).

use crate::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;
use std::str::FromStr;

/// The text is not such an ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is written as {form}")]
pub struct InvalidId {
    /// Which kind of ID was wanted.
    pub what: &'static str,
    /// How one is written.
    pub form: &'static str,
}

/// What looking up a session says (TR-2). A store that cannot answer is none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// It is there.
    Ok,
    /// The text is no session ID; nothing was looked up.
    InvalidFormat,
    /// There is none, or none that the caller may know of.
    NeverExisted,
    /// It was deleted.
    Deleted,
    /// It was archived.
    Archived,
}

macro_rules! text_id {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

text_id!(SessionId, "Names a session, for ever: `exec_YYYYMMDD_HHMMSS_xxxxxxxx`, UTC, then 8 lower-case hex digits.");
text_id!(UserId, "Names a user: 1 to 128 of ASCII letters, digits and `._@:+/=|-`, beginning with a letter or digit.");
text_id!(EnvironmentId, "Names an environment: `env_` and 16 lower-case hex digits.");
text_id!(ExecId, "Names one exec: `x_` and 16 lower-case hex digits.");
text_id!(KeyId, "Names an API key, and is no secret: `key_` and 16 lower-case hex digits.");

impl SessionId {
    const INVALID: InvalidId =
        InvalidId { what: "a session ID", form: "exec_YYYYMMDD_HHMMSS_xxxxxxxx: UTC, then 8 lower-case hex digits" };

    /// The ID of a session that begins now. The digits are the caller's, from a generator that cannot be foreseen.
    pub fn new(now: Timestamp, digits: [u8; 4]) -> SessionId {
        let (year, month, day, hour, minute, second) = now.civil();
        let digits = u32::from_be_bytes(digits);
        SessionId(format!("exec_{year:04}{month:02}{day:02}_{hour:02}{minute:02}{second:02}_{digits:08x}"))
    }

    /// The same in `[a-z0-9]+`, for host names: without the underscores.
    pub fn compact(&self) -> String {
        self.0.replace('_', "")
    }

    /// Back from [`SessionId::compact`].
    pub fn from_compact(text: &str) -> Result<SessionId, InvalidId> {
        // Checked before it is cut: a cut inside a character would panic.
        if text.len() != 26 || !text.is_ascii() {
            return Err(SessionId::INVALID);
        }
        format!("{}_{}_{}_{}", &text[..4], &text[4..12], &text[12..18], &text[18..]).parse()
    }
}

impl FromStr for SessionId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<SessionId, InvalidId> {
        is_session_id(text.as_bytes()).then(|| SessionId(text.to_owned())).ok_or(SessionId::INVALID)
    }
}

fn is_session_id(text: &[u8]) -> bool {
    if text.len() != 29 || !text.starts_with(b"exec_") || text[13] != b'_' || text[20] != b'_' {
        return false;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i16, |n, b| b.is_ascii_digit().then(|| n * 10 + i16::from(b - b'0')))
    };
    let date = (|| jiff::civil::Date::new(number(5, 9)?, number(9, 11)? as i8, number(11, 13)? as i8).ok())();
    let time =
        (|| jiff::civil::Time::new(number(14, 16)? as i8, number(16, 18)? as i8, number(18, 20)? as i8, 0).ok())();
    date.is_some() && time.is_some() && is_lower_hex(&text[21..])
}

fn is_lower_hex(text: &[u8]) -> bool {
    text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for UserId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<UserId, InvalidId> {
        let holds = (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@:+/=|-".contains(&b))
            && text.as_bytes()[0].is_ascii_alphanumeric();
        let form = "1 to 128 letters, digits and ._@:+/=|- beginning with a letter or digit";
        holds.then(|| UserId(text.to_owned())).ok_or(InvalidId { what: "a user ID", form })
    }
}

macro_rules! random_id {
    ($name:ident, $prefix:literal, $what:literal) => {
        impl $name {
            /// A new one. The bytes are the caller's, from a generator that cannot be foreseen.
            pub fn new(bytes: [u8; 8]) -> $name {
                $name(format!(concat!($prefix, "{:016x}"), u64::from_be_bytes(bytes)))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<$name, InvalidId> {
                let digits = text.strip_prefix($prefix).unwrap_or_default().as_bytes();
                let holds = digits.len() == 16 && is_lower_hex(digits);
                let form = concat!($prefix, " and 16 lower-case hex digits");
                holds.then(|| $name(text.to_owned())).ok_or(InvalidId { what: $what, form })
            }
        }
    };
}

random_id!(EnvironmentId, "env_", "an environment ID");
random_id!(ExecId, "x_", "an exec ID");
random_id!(KeyId, "key_", "a key ID");
