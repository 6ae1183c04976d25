//! The dependency graph of the locked workspace, as `cargo metadata` tells it, in the few fields the checks need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Every package of the locked graph, for all platforms.
#[derive(Deserialize)]
pub struct Graph {
    /// Workspace crates and external ones alike.
    pub packages: Vec<Package>,
    /// The package IDs of the workspace crates.
    pub workspace_members: Vec<String>,
    resolve: Resolve,
}

/// One package.
#[derive(Deserialize)]
pub struct Package {
    /// Cargo's own name for exactly this package.
    pub id: String,
    /// The crate's name.
    pub name: String,
    /// The version, as written.
    pub version: String,
    /// An SPDX expression.
    pub license: Option<String>,
    /// Where it comes from; `None` for a path on this disk.
    pub source: Option<String>,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
}

/// One line of a manifest's dependency tables.
#[derive(Deserialize)]
pub struct Dependency {
    /// The crate's name, whatever it is renamed to.
    pub name: String,
    /// Which table it stands in.
    #[serde(default)]
    pub kind: Kind,
}

/// What a dependency is for.
#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(from = "Option<String>")]
pub enum Kind {
    /// It is linked in.
    #[default]
    Normal,
    /// The build script needs it.
    Build,
    /// Only the tests need it.
    Dev,
}

impl From<Option<String>> for Kind {
    fn from(kind: Option<String>) -> Self {
        match kind.as_deref() {
            Some("dev") => Self::Dev,
            Some("build") => Self::Build,
            Some(_) | None => Self::Normal,
        }
    }
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Kind,
}

impl Graph {
    /// Asks Cargo, without touching the lock file.
    pub fn read(root: &Path) -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root)
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("cannot read the answer of cargo metadata")
    }

    /// The workspace's own crates.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.is_member(package))
    }

    /// Whether a package is one of the workspace's own crates.
    pub fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    /// The names of all crates that end up linked into `package`, at any depth, itself excluded.
    pub fn linked_into(&self, package: &Package) -> BTreeSet<&str> {
        let names: BTreeMap<&str, &str> =
            self.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
        let nodes: BTreeMap<&str, &Node> = self.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let mut seen = BTreeSet::new();
        let mut waiting = vec![package.id.as_str()];
        while let Some(id) = waiting.pop() {
            for edge in nodes.get(id).into_iter().flat_map(|node| &node.deps) {
                let linked = edge.dep_kinds.iter().any(|dependency| dependency.kind == Kind::Normal);
                if linked && seen.insert(edge.pkg.as_str()) {
                    waiting.push(edge.pkg.as_str());
                }
            }
        }
        seen.into_iter().filter_map(|id| names.get(id).copied()).collect()
    }
}

#[cfg(test)]
pub mod sample {
    //! Graphs for the tests of the checks, from a line per package.

    use super::*;

    /// The one registry that is allowed, as Cargo writes it.
    pub const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

    /// Builds a graph of `(name, dependencies)`: a name that begins with `@` is external, a dependency that begins with
    /// `dev:` is for tests only.
    pub fn graph(packages: &[(&str, &[&str])]) -> Graph {
        let plain = |name: &str| name.trim_start_matches("dev:").trim_start_matches('@').to_owned();
        let kind = |name: &str| if name.starts_with("dev:") { Kind::Dev } else { Kind::Normal };
        Graph {
            packages: packages
                .iter()
                .map(|(name, dependencies)| Package {
                    id: plain(name),
                    name: plain(name),
                    version: "1.0.0".to_owned(),
                    license: Some(if name.starts_with('@') { "MIT OR Apache-2.0" } else { "Apache-2.0" }.to_owned()),
                    source: name.starts_with('@').then(|| REGISTRY.to_owned()),
                    dependencies: dependencies
                        .iter()
                        .map(|dependency| Dependency { name: plain(dependency), kind: kind(dependency) })
                        .collect(),
                })
                .collect(),
            workspace_members: packages
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| !name.starts_with('@'))
                .map(plain)
                .collect(),
            resolve: Resolve {
                nodes: packages
                    .iter()
                    .map(|(name, dependencies)| Node {
                        id: plain(name),
                        deps: dependencies
                            .iter()
                            .map(|dependency| Edge {
                                pkg: plain(dependency),
                                dep_kinds: vec![EdgeKind { kind: kind(dependency) }],
                            })
                            .collect(),
                    })
                    .collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_followed_to_any_depth_but_not_through_tests() {
        let graph =
            sample::graph(&[("a", &["@x", "dev:@t"]), ("@x", &["@y"]), ("@y", &["@x"]), ("@t", &["@z"]), ("@z", &[])]);
        let linked: Vec<&str> = graph.linked_into(&graph.packages[0]).into_iter().collect();
        assert_eq!(linked, ["x", "y"]);
    }

    #[test]
    fn the_kinds_of_cargo_are_understood() {
        let read = |text| serde_json::from_str::<Dependency>(text).expect("a dependency").kind;
        assert_eq!(read(r#"{"name":"a","kind":null}"#), Kind::Normal);
        assert_eq!(read(r#"{"name":"a","kind":"dev"}"#), Kind::Dev);
        assert_eq!(read(r#"{"name":"a","kind":"build"}"#), Kind::Build);
    }
}
