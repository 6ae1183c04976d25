//! Settings for people to look at. Nothing secret is among them: keys are files, and only their paths are told.

use super::key::KEYS;
use super::layer::{DEFAULT, Written};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Its key.
    pub key: &'static str,
    /// Its value; `null` where nothing is set.
    pub value: Value,
    /// Where it was written.
    pub source: String,
}

/// All of them, in the order of the table.
pub fn all(written: &Written, default_data_dir: Option<&Path>) -> Vec<Shown> {
    KEYS.iter()
        .map(|key| {
            let value: Value = written.figment.extract_inner(key.name).unwrap_or_default();
            let value = match (key.name, value, default_data_dir) {
                ("data_dir", Value::Null, Some(dir)) => dir.to_string_lossy().into(),
                (_, value, _) => value,
            };
            Shown { key: key.name, value, source: source(written, key.name) }
        })
        .collect()
}

fn source(written: &Written, name: &str) -> String {
    let source = written.source(name);
    if source.is_empty() { DEFAULT.to_owned() } else { source }
}
