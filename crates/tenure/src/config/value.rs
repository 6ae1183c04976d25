//! Reading one value: by the kind of its key, from the file's types or from text.

use super::jwt;
use super::key::Kind;
use figment::value::{Empty, Tag, Value};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tenure_environment::parse_bytes;

/// Nothing, where nothing can be.
pub fn nothing() -> Value {
    Value::Empty(Tag::Default, Empty::None)
}

/// From text: a variable, a flag, or a string in the file.
pub fn from_text(kind: Kind, text: &str) -> Result<Value, String> {
    let text = text.trim();
    Ok(match kind {
        Kind::Text | Kind::Path if text.is_empty() => nothing(),
        Kind::Text | Kind::Path => text.into(),
        Kind::Address => {
            text.parse::<SocketAddr>().map_err(|_| format!("{text:?} is no address and port, as in 127.0.0.1:7070"))?;
            text.into()
        }
        Kind::Count => text.parse::<u64>().map_err(|_| format!("{text:?} is no whole number"))?.into(),
        Kind::Bytes if text.is_empty() => nothing(),
        Kind::Bytes => parse_bytes(text).map_err(|_| format!("{text:?} is no number of bytes, as in 512M"))?.into(),
        Kind::Time if text == "off" => nothing(),
        Kind::Time => {
            time(text).ok_or_else(|| format!("{text:?} is no time, as in 30s or, in milliseconds, 30000"))?.into()
        }
        Kind::Switch => text.parse::<bool>().map_err(|_| format!("{text:?} is neither true nor false"))?.into(),
        Kind::Words => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            words.map(Value::from).collect::<Vec<_>>().into()
        }
        Kind::OneOf(words) => match words.contains(&text) {
            true => text.into(),
            false => return Err(format!("{text:?} is none of {}", words.join(", "))),
        },
        Kind::Tokens if text.is_empty() => Vec::<Value>::new().into(),
        Kind::Tokens => return Err("can be written in the file only".into()),
    })
}

fn time(text: &str) -> Option<u64> {
    match text.parse::<u64>() {
        Ok(ms) => Some(ms),
        Err(_) => humantime::parse_duration(text).ok().and_then(|time| u64::try_from(time.as_millis()).ok()),
    }
}

/// From the file, which is in this directory.
pub fn from_file(kind: Kind, value: &toml::Value, dir: &Path) -> Result<Value, String> {
    match (kind, value) {
        (Kind::Path, toml::Value::String(text)) if !text.is_empty() => {
            Ok(beside(dir, text).to_string_lossy().as_ref().into())
        }
        (Kind::Words, toml::Value::Array(items)) => {
            let words = items.iter().map(|item| item.as_str().map(Value::from).ok_or("is no list of words"));
            Ok(words.collect::<Result<Vec<_>, _>>()?.into())
        }
        (Kind::Tokens, value) => jwt::from_file(value, dir),
        (Kind::Switch, toml::Value::Boolean(switch)) => Ok((*switch).into()),
        (Kind::Count | Kind::Bytes | Kind::Time, toml::Value::Integer(number)) => {
            u64::try_from(*number).map(Value::from).map_err(|_| format!("{number} is less than nothing"))
        }
        (kind, toml::Value::String(text)) if !matches!(kind, Kind::Switch | Kind::Count) => from_text(kind, text),
        (kind, other) => Err(format!("is {}, wanted is {}", article(other.type_str()), wanted(kind))),
    }
}

/// A path in the file: a relative one begins where the file is.
pub fn beside(dir: &Path, text: &str) -> PathBuf {
    dir.join(text)
}

fn article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Path => "a path",
        Kind::Address => "an address and port",
        Kind::Count => "a whole number",
        Kind::Bytes => "a number of bytes",
        Kind::Time => "a number of milliseconds, or text as in 30s",
        Kind::Switch => "true or false",
        Kind::Words => "a list of words",
        Kind::OneOf(_) => "a word",
        Kind::Tokens => "a list of tables",
    }
}
