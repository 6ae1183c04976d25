//! Who may depend on whom. The tables below are the architecture; a crate or an edge that they do not name does not pass.
//!
//! Rows for crates that come later stand here already, so that their place was decided before their first line of code.

use crate::graph::{Dependency, Graph, Kind, Package};

/// A workspace crate, and the workspace crates it may depend on outside its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("tenure-digest", &[]),
    ("tenure-protocol", &[]),
    ("tenure-session", &[]),
    ("tenure-journal", &["tenure-digest"]),
    ("tenure-snapshot", &["tenure-digest"]),
    ("tenure-store", &["tenure-digest", "tenure-journal", "tenure-session", "tenure-snapshot"]),
    ("tenure-sqlite", &["tenure-digest", "tenure-session", "tenure-store"]),
    ("tenure-environment", &["tenure-protocol"]),
    ("tenure-linux", &["tenure-environment", "tenure-protocol"]),
    ("tenure-agent", &["tenure-protocol"]),
    (
        "tenure-engine",
        &["tenure-digest", "tenure-environment", "tenure-journal", "tenure-session", "tenure-snapshot", "tenure-store"],
    ),
    ("tenure-api", &["tenure-digest", "tenure-engine", "tenure-journal", "tenure-session", "tenure-snapshot"]),
    ("tenure", ANY),
    ("bench", ANY),
    ("torture", ANY),
    ("xtask", &[]),
];

/// The binary wires everything together, and the harnesses look at everything.
const ANY: &[&str] = &["*"];

/// External crates that only the named workspace crates may ask for, and why. Tests may use them anywhere.
const RESERVED: &[(&[&str], &[&str], &str)] = &[
    (
        &["rusqlite", "libsqlite3-sys"],
        &["tenure-sqlite", "bench", "torture"],
        "SQL stays behind the store's port; the harnesses fill a database, and spoil one",
    ),
    (
        &["libc", "nix"],
        &["tenure-linux", "tenure-agent", "bench", "torture"],
        "Linux calls stay in the walls and in the agent",
    ),
    (
        &["rustix"],
        &["tenure-linux", "tenure-agent", "tenure", "bench", "torture"],
        "Linux calls stay in the walls and in the agent; the binary has its caller's terminal",
    ),
    (&["axum", "hyper", "tower-http", "utoipa"], &["tenure-api", "tenure", "bench"], "HTTP stays in the door"),
    (&["clap", "clap_complete"], &["tenure", "bench", "torture"], "only programs have command lines"),
];

/// Workspace crates that are pure or must stay small, and external crates that may not be linked into them at any depth.
const PURE: &[(&str, &[&str])] = &[
    ("tenure-digest", EFFECTS),
    ("tenure-protocol", EFFECTS),
    ("tenure-session", EFFECTS),
    ("tenure-journal", EFFECTS),
    ("tenure-agent", &["tokio", "async-std", "smol", "mio", "axum", "hyper", "rusqlite"]),
    ("tenure-environment", &["axum", "hyper", "rusqlite", "nix"]),
    ("tenure-engine", &["axum", "hyper", "clap", "rusqlite", "nix"]),
];

/// Runtimes, databases, HTTP, clocks and Linux calls: what a pure crate does not know.
const EFFECTS: &[&str] =
    &["tokio", "async-std", "smol", "mio", "axum", "hyper", "rusqlite", "rustix", "nix", "chrono", "tracing"];

/// Every edge that the tables do not allow.
pub fn check(graph: &Graph) -> Vec<String> {
    graph
        .members()
        .flat_map(|package| [edges(graph, package), reserved(package), pure(graph, package)].concat())
        .collect()
}

fn outside_tests(package: &Package) -> impl Iterator<Item = &Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind != Kind::Dev)
}

fn edges(graph: &Graph, package: &Package) -> Vec<String> {
    let name = &package.name;
    let Some((_, allowed)) = ARROWS.iter().find(|(listed, _)| listed == name) else {
        return vec![format!(
            "crate `{name}` has no row in ARROWS (xtask/src/arrows.rs): decide whom it may depend on first"
        )];
    };
    let inside = |dependency: &&Dependency| graph.members().any(|member| member.name == dependency.name);
    outside_tests(package)
        .filter(inside)
        .filter(|dependency| *allowed != ANY && !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| {
            format!("`{name}` depends on `{}`: its row in ARROWS allows [{}]", dependency.name, allowed.join(", "))
        })
        .collect()
}

fn reserved(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let rule_for = |external: &str| RESERVED.iter().find(|(crates, ..)| crates.contains(&external));
    outside_tests(package)
        .filter_map(|dependency| {
            let (_, holders, why) = rule_for(&dependency.name)?;
            let refusal = || {
                let external = &dependency.name;
                format!("`{name}` depends on `{external}`, RESERVED for [{}]: {why}", holders.join(", "))
            };
            (!holders.contains(&name)).then(refusal)
        })
        .collect()
}

fn pure(graph: &Graph, package: &Package) -> Vec<String> {
    let Some((name, forbidden)) = PURE.iter().find(|(listed, _)| *listed == package.name) else {
        return Vec::new();
    };
    let linked = graph.linked_into(package);
    forbidden
        .iter()
        .filter(|external| linked.contains(*external))
        .map(|external| format!("`{external}` is linked into `{name}`, directly or not: its row in PURE forbids it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sample::graph;

    fn complaint(packages: &[(&str, &[&str])]) -> String {
        check(&graph(packages)).join("\n")
    }

    #[test]
    fn the_drawn_arrows_pass() {
        let drawn: &[(&str, &[&str])] = &[
            ("tenure-protocol", &["@serde"]),
            ("tenure-linux", &["tenure-protocol", "@rustix", "@tokio"]),
            ("tenure", &["tenure-linux", "tenure-protocol", "@clap"]),
            ("@serde", &[]),
            ("@rustix", &[]),
            ("@tokio", &[]),
            ("@clap", &[]),
        ];
        assert_eq!(complaint(drawn), "");
    }

    #[test]
    fn a_crate_without_a_row_does_not_pass() {
        assert!(complaint(&[("tenure-misc", &[])]).contains("`tenure-misc` has no row in ARROWS"));
    }

    #[test]
    fn an_edge_against_the_arrows_does_not_pass() {
        let upward: &[(&str, &[&str])] = &[("tenure-protocol", &["tenure-linux"]), ("tenure-linux", &[])];
        assert!(complaint(upward).contains("`tenure-protocol` depends on `tenure-linux`"));
    }

    #[test]
    fn tests_may_depend_on_more() {
        let for_tests: &[(&str, &[&str])] =
            &[("tenure-protocol", &["dev:tenure-linux", "dev:@rustix"]), ("tenure-linux", &[]), ("@rustix", &[])];
        assert_eq!(complaint(for_tests), "");
    }

    #[test]
    fn sql_outside_its_crate_does_not_pass() {
        let leak: &[(&str, &[&str])] = &[("tenure", &["@rusqlite"]), ("@rusqlite", &[])];
        assert!(complaint(leak).contains("SQL stays behind the store's port"));
    }

    #[test]
    fn a_runtime_hidden_behind_another_crate_does_not_pass() {
        let hidden: &[(&str, &[&str])] = &[("tenure-protocol", &["@codec"]), ("@codec", &["@tokio"]), ("@tokio", &[])];
        assert!(complaint(hidden).contains("`tokio` is linked into `tenure-protocol`"));
    }
}
