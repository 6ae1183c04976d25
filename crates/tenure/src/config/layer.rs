//! Where settings come from: the table's defaults, the file, variables, flags, in this order; the later wins.
//!
//! Every value carries the name of where it was written. What is not in the table is refused here, before anything is resolved.

use super::key::{self, KEYS, Key, Kind, PREFIX};
use super::{Problem, value};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, util::nest};
use std::path::Path;

/// The source of what nobody wrote.
pub const DEFAULT: &str = "default";

/// Our variables that are no settings.
const OTHER_VARIABLES: &[&str] =
    &["TENURE_CONFIG", "TENURE_URL", "TENURE_API_KEY", "TENURE_LEASE_TOKEN", "TENURE_BLESS"];

/// One value and where it was written.
struct Layer {
    source: String,
    key: &'static Key,
    value: Value,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let dict = match nest(self.key.name, self.value.clone()) {
            Value::Dict(_, dict) => dict,
            // A key always has a name, and so a table around its value.
            _ => Dict::new(),
        };
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// A flag as it was given: the key that it sets, its text, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The key.
    pub key: String,
    /// The value.
    pub text: String,
    /// The flag.
    pub written: String,
}

/// The settings as written: in layers, with every problem that was met on the way.
pub struct Written {
    /// What holds.
    pub figment: Figment,
    /// What is refused.
    pub problems: Vec<Problem>,
}

impl Written {
    /// What holds where nothing is said.
    pub fn defaults() -> Written {
        let mut written = Written { figment: Figment::new(), problems: Vec::new() };
        KEYS.iter().for_each(|key| written.take(key, DEFAULT, value::from_text(key.kind, key.default)));
        written
    }

    /// Where the value of this key was written.
    pub fn source(&self, name: &str) -> String {
        self.figment.find_metadata(name).map_or_else(|| DEFAULT.to_owned(), |metadata| metadata.name.to_string())
    }

    /// Takes what stands in the file.
    pub fn file(&mut self, path: &Path, text: &str) {
        let source = path.display().to_string();
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => return self.refuse("", &source, error.to_string().trim_end().to_owned()),
        };
        let dir = path.parent().unwrap_or(Path::new("."));
        let mut leaves = Vec::new();
        flatten("", &table, &mut leaves);
        for (name, written) in leaves {
            match key::find(&name) {
                Some(key) => self.take(key, &source, value::from_file(key.kind, written, dir)),
                None => self.refuse(&name, &source, unknown(&name)),
            }
        }
    }

    /// Takes what variables say.
    pub fn variables<'a>(&mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let ours = |name: &str| name.starts_with(PREFIX) && !OTHER_VARIABLES.contains(&name) && !is_service_link(name);
        for (name, text) in variables.into_iter().filter(|(name, _)| ours(name)) {
            match KEYS.iter().find(|key| key.variable() == name) {
                Some(key) => self.take(key, name, value::from_text(key.kind, text)),
                None => self.refuse(name, name, "there is no such setting".into()),
            }
        }
    }

    /// Takes what flags say.
    pub fn flags(&mut self, flags: &[Flag]) {
        for flag in flags {
            match key::find(&flag.key) {
                Some(key) => self.take(key, &flag.written, value::from_text(key.kind, &flag.text)),
                None => self.refuse(&flag.key, &flag.written, unknown(&flag.key)),
            }
        }
    }

    fn take(&mut self, key: &'static Key, source: &str, value: Result<Value, String>) {
        match value {
            Ok(value) => {
                let layer = Layer { source: source.to_owned(), key, value };
                self.figment = std::mem::take(&mut self.figment).merge(layer);
            }
            Err(problem) => self.refuse(key.name, source, problem),
        }
    }

    fn refuse(&mut self, key: &str, source: &str, problem: String) {
        self.problems.push(Problem { key: key.to_owned(), source: source.to_owned(), problem });
    }
}

fn unknown(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    match KEYS.iter().find(|key| key.name.rsplit('.').next() == Some(last)) {
        Some(other) => format!("there is no such setting; there is {}", other.name),
        None => "there is no such setting".into(),
    }
}

/// Kubernetes sets these in every container where a service is called `tenure`.
fn is_service_link(name: &str) -> bool {
    ["TENURE_SERVICE_", "TENURE_PORT_"].iter().any(|prefix| name.starts_with(prefix)) || name == "TENURE_PORT"
}

/// The leaves of the file, by name. A table is a section unless the key itself takes tables.
fn flatten<'a>(prefix: &str, table: &'a toml::Table, leaves: &mut Vec<(String, &'a toml::Value)>) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) if key::find(&name).is_none_or(|key| key.kind != Kind::Tokens) => {
                flatten(&name, inner, leaves);
            }
            value => leaves.push((name, value)),
        }
    }
}
