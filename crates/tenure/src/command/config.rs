//! `tenure config`: whether the configuration can be so, and what holds.

use crate::config::{Flags, Shown, Sources};
use crate::failure::Failure;
use serde_json::{Value, json};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say whether a server would start with this configuration
    Check(Flags),
    /// Show every setting, its value, and where it was written
    Show(Flags),
}

impl Command {
    /// The settings that were given as flags.
    pub fn flags(&self) -> &Flags {
        match self {
            Command::Check(flags) | Command::Show(flags) => flags,
        }
    }
}

/// Runs one of them.
pub fn run(sources: &Sources, command: &Command, json: bool) -> Result<u8, Failure> {
    let shown = sources.shown()?;
    match (command, json) {
        (Command::Check(_), true) => super::print(&format!("{}\n", json!({ "ok": true })))?,
        (Command::Check(_), false) => super::print("the configuration is good\n")?,
        (Command::Show(_), true) => super::print(&format!("{}\n", json!({ "settings": shown })))?,
        (Command::Show(_), false) => super::print(&table(&shown))?,
    }
    Ok(0)
}

fn table(shown: &[Shown]) -> String {
    let rows = shown.iter().map(|one| vec![one.key.to_owned(), text(&one.value), one.source.clone()]);
    super::table::render(&["KEY", "VALUE", "SOURCE"], rows)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}
