//! Tables of promises against the tree: what is promised names a test that proves it.
//!
//! Wherever a document has a table `| promise | bound | test |`, each row of it names at least one test function, in backticks, that there is.

use crate::requirements::{names, tests};
use crate::tree::Tree;

/// How such a table begins.
const HEAD: &str = "| promise | bound | test |";

/// Every promise without a test, and every test that is none.
pub fn check(tree: &Tree) -> Vec<String> {
    let tests = tests(tree);
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (number, row) in rows(&file.text) {
            let at = format!("{}:{number}", file.path);
            let cells: Vec<&str> = row.trim().trim_matches('|').split('|').map(str::trim).collect();
            let [_promise, _bound, proof] = cells[..] else {
                complaints.push(format!("{at}: a promise has three cells"));
                continue;
            };
            if names(proof).next().is_none() {
                complaints.push(format!("{at}: no test proves it"));
            }
            complaints.extend(
                names(proof)
                    .filter(|name| !tests.contains(name))
                    .map(|name| format!("{at}: there is no test `{name}`")),
            );
        }
    }
    complaints
}

/// The rows of all such tables of a document, each with the number of its line.
fn rows(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim() == HEAD {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("|---") {
            rows.push((index + 1, line));
        }
    }
    rows
}

#[cfg(test)]
mod checks {
    use super::*;

    const CODE: &str = "//! Code.\n#[test]\nfn walls_hold() {}\n";

    fn complaint(row: &str) -> String {
        let document =
            format!("# Promises\n\n{HEAD}\n|---|---|---|\n{row}\n\n| a | b |\n|---|---|\n| of no concern | |\n");
        check(&Tree::of(&[("docs/promises.md", &document), ("crates/a/src/walls.rs", CODE)])).join("\n")
    }

    #[test]
    fn a_promise_with_a_test_passes() {
        assert_eq!(complaint("| they hold | always | `walls_hold` |"), "");
    }

    #[test]
    fn a_promise_without_a_test_does_not_pass() {
        assert_eq!(complaint("| they hold | always | |"), "docs/promises.md:5: no test proves it");
        assert!(complaint("| they hold | always | `walls_fall` |").contains("no test `walls_fall`"));
        assert!(complaint("| they hold | `walls_hold` |").contains("three cells"));
    }
}
