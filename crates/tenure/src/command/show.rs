//! What a server answered, for people or for programs: a value as it came, a record as two columns, a list as a table.

use super::{print, table};
use crate::failure::Failure;
use serde_json::Value;

/// How answers are shown.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    /// Whether a program reads them.
    pub json: bool,
}

/// A column: its head, and where its value stands, with dots.
pub type Column = (&'static str, &'static str);

impl Show {
    /// Anything, as it came.
    pub fn raw(self, value: &Value) -> Result<(), Failure> {
        print(&format!("{value}\n"))
    }

    /// One thing: for people every value of it on a line of its own.
    pub fn record(self, value: &Value) -> Result<(), Failure> {
        if self.json {
            return self.raw(value);
        }
        let mut rows = Vec::new();
        flatten("", value, &mut rows);
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let line = |(name, text): &(String, String)| format!("{name:width$}  {}\n", table::clean(text));
        print(&rows.iter().map(line).collect::<String>())
    }

    /// One thing that people need one line of.
    pub fn line(self, value: &Value, line: &str) -> Result<(), Failure> {
        if self.json { self.raw(value) } else { print(&format!("{}\n", table::clean(line))) }
    }

    /// A list under `items`.
    pub fn list(self, value: &Value, columns: &[Column]) -> Result<(), Failure> {
        self.list_of(value, "items", columns)
    }

    /// A list under another name.
    pub fn list_of(self, value: &Value, name: &str, columns: &[Column]) -> Result<(), Failure> {
        if self.json {
            return self.raw(value);
        }
        let items = value[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let cell = |item: &Value, path: &str| path.split('.').fold(item, |value, part| &value[part]).clone();
        let rows = items.iter().map(|item| columns.iter().map(|(_, path)| text(&cell(item, path))).collect());
        let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
        print(&table::render(&heads, rows))?;
        if let Some(cursor) = value["next_cursor"].as_str() {
            eprintln!("there is more: --cursor {}, or --all", table::clean(cursor));
        }
        Ok(())
    }
}

/// A value as people read it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(text).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// Every value with its name, but for what is not there, and for where more is found.
fn flatten(prefix: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(object) => {
            for (name, value) in object.iter().filter(|(name, _)| !(prefix.is_empty() && *name == "links")) {
                let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&name, value, rows);
            }
        }
        value => rows.push((prefix.to_owned(), text(value))),
    }
}
