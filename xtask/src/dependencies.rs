//! Every external crate that the workspace asks for by name must be justified in `docs/dependencies.md`.

use std::collections::BTreeSet;

use crate::graph::Graph;

/// Dependencies without a line, and lines without a dependency. A line is a table row whose first cell is `` `name` ``.
pub fn check(graph: &Graph, document: &str) -> Vec<String> {
    let members: BTreeSet<&str> = graph.members().map(|package| package.name.as_str()).collect();
    let asked: BTreeSet<&str> = graph
        .members()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !members.contains(name))
        .collect();
    let justified: BTreeSet<&str> = document.lines().filter_map(row).collect();
    let missing = asked
        .difference(&justified)
        .map(|name| format!("docs/dependencies.md has no line for `{name}`: say why we need it"));
    let stale =
        justified.difference(&asked).map(|name| format!("docs/dependencies.md justifies `{name}`, which nothing uses"));
    missing.chain(stale).collect()
}

/// The crate a table row speaks of, if it gives a reason for it.
fn row(line: &str) -> Option<&str> {
    let (name, reason) = line.strip_prefix("| `")?.split_once("` |")?;
    reason.split('|').any(|cell| cell.trim().len() > 10).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::sample::graph;

    const GRAPH: &[(&str, &[&str])] =
        &[("tenure", &["bench", "@serde", "dev:@proptest"]), ("bench", &[]), ("@serde", &[])];

    fn complaint(document: &str) -> String {
        check(&graph(GRAPH), document).join("\n")
    }

    #[test]
    fn a_line_for_each_passes() {
        assert_eq!(
            complaint("| `serde` | reads and writes messages |\n| `proptest` | random sequences in tests |\n"),
            ""
        );
    }

    #[test]
    fn a_dependency_without_a_line_does_not_pass_even_for_tests() {
        assert_eq!(
            complaint("| `serde` | reads and writes messages |\n"),
            "docs/dependencies.md has no line for `proptest`: say why we need it"
        );
    }

    #[test]
    fn a_line_without_a_reason_does_not_count() {
        assert!(
            complaint("| `serde` | |\n| `proptest` | random sequences in tests |\n").contains("no line for `serde`")
        );
    }

    #[test]
    fn a_line_that_nothing_needs_any_more_does_not_pass() {
        let document = "| `serde` | reads and writes messages |\n| `proptest` | random sequences |\n| `atty` | is it a terminal |\n";
        assert!(complaint(document).contains("`atty`, which nothing uses"));
    }
}
