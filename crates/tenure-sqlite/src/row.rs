//! From a row's columns to what they stand for, and back.

use crate::failure::Failure;
use rusqlite::Row;
use rusqlite::types::FromSqlError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;
use tenure_session::Timestamp;

impl From<FromSqlError> for Failure {
    fn from(error: FromSqlError) -> Failure {
        Failure::impossible(error)
    }
}

/// A text.
pub(crate) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Failure> {
    Ok(row.get_ref(column)?.as_str()?)
}

/// A text, where there is one.
pub(crate) fn maybe_text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, Failure> {
    Ok(row.get_ref(column)?.as_str_or_null()?)
}

/// What a text stands for.
pub(crate) fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize) -> Result<T, Failure> {
    text(row, column)?.parse().map_err(Failure::impossible)
}

/// What a text stands for, where there is one.
pub(crate) fn maybe_parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: usize) -> Result<Option<T>, Failure> {
    maybe_text(row, column)?.map(|text| text.parse().map_err(Failure::impossible)).transpose()
}

/// What a JSON text stands for.
pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Failure> {
    serde_json::from_str(text(row, column)?).map_err(Failure::impossible)
}

/// What a JSON text stands for, where there is one.
pub(crate) fn maybe_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<Option<T>, Failure> {
    maybe_text(row, column)?.map(|text| serde_json::from_str(text).map_err(Failure::impossible)).transpose()
}

/// A word out of a closed set, as serde spells it.
pub(crate) fn word<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text)).map_err(Failure::impossible)
}

/// An instant.
pub(crate) fn at(row: &Row<'_>, column: usize) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_ms(row.get_ref(column)?.as_i64()?))
}

/// An instant, where there is one.
pub(crate) fn maybe_at(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, Failure> {
    Ok(row.get_ref(column)?.as_i64_or_null()?.map(Timestamp::from_ms))
}

/// As JSON.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::impossible)
}

/// The word out of a closed set, as serde spells it.
pub(crate) fn to_word<T: Serialize>(value: &T) -> Result<String, Failure> {
    match serde_json::to_value(value).map_err(Failure::impossible)? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(Failure::Impossible(format!("{other} is no word"))),
    }
}
