//! Licenses, bans and sources of the locked graph, judged by `deny.toml`.
//!
//! The policy is written in the format of cargo-deny, of which this reads the few keys that we use; an unknown key is
//! refused, so that nothing in the file is believed to hold and does not.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::graph::{Graph, Package};

/// What `deny.toml` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bans {
    deny: Vec<Ban>,
    /// Several versions of one crate are told by [`duplicates`], and stop nothing.
    #[serde(rename = "multiple-versions")]
    _multiple_versions: Warn,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Warn {
    Warn,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
    /// Both are always denied here; they stand in the file so that cargo-deny does the same.
    #[serde(rename = "unknown-registry")]
    _unknown_registry: Deny,
    #[serde(rename = "unknown-git")]
    _unknown_git: Deny,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deny {
    Deny,
}

impl Policy {
    /// Reads the policy; every license in it must be one that SPDX knows.
    pub fn parse(text: &str) -> Result<Self> {
        let policy: Self = toml::from_str(text).context("deny.toml")?;
        for license in &policy.licenses.allow {
            spdx::Expression::parse(license)
                .with_context(|| format!("deny.toml: `{license}` is not an SPDX license"))?;
        }
        Ok(policy)
    }

    /// Whether an SPDX expression can be satisfied with allowed licenses alone.
    fn permits(&self, expression: &str) -> Result<bool> {
        let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX)
            .map_err(|error| anyhow::anyhow!("not an SPDX expression: {}", error.reason))?;
        Ok(expression.evaluate(|requirement| self.licenses.allow.contains(&requirement.to_string())))
    }
}

/// Every package that the policy does not let in.
pub fn check(graph: &Graph, policy: &Policy) -> Vec<String> {
    graph.packages.iter().flat_map(|package| judge(graph, package, policy)).collect()
}

fn judge(graph: &Graph, package: &Package, policy: &Policy) -> Vec<String> {
    let place = format!("{} {}", package.name, package.version);
    let mut complaints = Vec::new();
    match package.license.as_deref().map(|expression| (expression, policy.permits(expression))) {
        None => complaints.push(format!("{place}: names no license")),
        Some((expression, Err(error))) => complaints.push(format!("{place}: license `{expression}`: {error}")),
        Some((expression, Ok(false))) => {
            complaints.push(format!("{place}: license `{expression}` needs one that deny.toml does not allow"));
        }
        Some((_, Ok(true))) => {}
    }
    if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.name == package.name) {
        complaints.push(format!("{place}: banned: {}", ban.reason));
    }
    match &package.source {
        None if graph.is_member(package) => {}
        None => complaints.push(format!("{place}: lies on this disk, outside the workspace")),
        Some(source) => {
            let from_registry = |index: &String| source.strip_prefix("registry+") == Some(index);
            if !policy.sources.allow_registry.iter().any(from_registry) {
                complaints.push(format!("{place}: comes from `{source}`, not from the registry"));
            }
        }
    }
    complaints
}

/// Crates of which several incompatible versions are linked: worth knowing, no reason to fail.
pub fn duplicates(graph: &Graph) -> Vec<String> {
    let mut majors: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &graph.packages {
        majors.entry(&package.name).or_default().insert(compatible(&package.version));
    }
    majors
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| {
            format!("`{name}` is there in {}", versions.into_iter().collect::<Vec<_>>().join(" and "))
        })
        .collect()
}

/// The part of a version that decides compatibility: up to the first number that is not zero.
fn compatible(version: &str) -> String {
    let mut parts = Vec::new();
    for part in version.split('.') {
        parts.push(part);
        if part != "0" {
            break;
        }
    }
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sample::graph;

    const POLICY: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
        [bans]
        multiple-versions = "warn"
        deny = [{ crate = "openssl-sys", reason = "a second TLS library" }]
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
        allow-registry = ["https://github.com/rust-lang/crates.io-index"]
    "#;

    fn policy() -> Policy {
        Policy::parse(POLICY).expect("the policy of the tests")
    }

    fn with(change: impl FnOnce(&mut Package)) -> String {
        let mut graph = graph(&[("tenure", &["@thing"]), ("@thing", &[])]);
        change(&mut graph.packages[1]);
        check(&graph, &policy()).join("\n")
    }

    #[test]
    fn a_graph_in_order_passes() {
        assert_eq!(with(|_| {}), "");
    }

    #[test]
    fn expressions_are_evaluated_not_compared() {
        for (expression, permitted) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("Unlicense OR MIT", true),
            ("CC0-1.0 OR MIT-0 OR Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH LLVM-exception", false),
            ("GPL-3.0-only", false),
            ("MIT AND GPL-2.0-only", false),
            ("Unlicense", false),
        ] {
            assert_eq!(policy().permits(expression).expect(expression), permitted, "{expression}");
        }
    }

    #[test]
    fn a_license_that_is_not_allowed_unreadable_or_missing_does_not_pass() {
        assert!(with(|package| package.license = Some("GPL-3.0-only".to_owned())).contains("does not allow"));
        assert!(with(|package| package.license = Some("as you like".to_owned())).contains("not an SPDX expression"));
        assert!(with(|package| package.license = None).contains("names no license"));
    }

    #[test]
    fn a_banned_crate_does_not_pass_and_the_reason_is_given() {
        assert!(with(|package| package.name = "openssl-sys".to_owned()).contains("a second TLS library"));
    }

    #[test]
    fn a_source_that_is_not_the_registry_does_not_pass() {
        let git = "git+https://example.org/thing".to_owned();
        assert!(with(|package| package.source = Some(git)).contains("not from the registry"));
        assert!(with(|package| package.source = None).contains("outside the workspace"));
    }

    #[test]
    fn a_policy_with_an_unknown_key_or_license_is_refused() {
        assert!(Policy::parse(&POLICY.replace("[bans]", "[bans]\nwildcards = \"deny\"")).is_err());
        assert!(Policy::parse(&POLICY.replace("\"MIT\"", "\"MTI\"")).is_err());
    }

    #[test]
    fn only_incompatible_versions_count_as_duplicates() {
        let mut graph = graph(&[("tenure", &[]), ("@a", &[]), ("@a", &[]), ("@b", &[]), ("@b", &[])]);
        for (index, version) in [(1, "0.2.1"), (2, "0.3.0"), (3, "1.0.1"), (4, "1.9.0")] {
            graph.packages[index].version = version.to_owned();
        }
        assert_eq!(duplicates(&graph), ["`a` is there in 0.2 and 0.3"]);
    }
}
