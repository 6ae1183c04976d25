//! `docs/requirements.md` against the tree: a row for every requirement, and nothing called done without code and a proof.
//!
//! A row is `| ID | what | state | code | tests | missing |`. Code is paths, tests are function names, both in backticks.
//!
//! | state | code and tests | missing |
//! |---|---|---|
//! | `delivered` | both there | empty |
//! | `partly` | both there | says what is missing |
//! | `later` | empty | free |

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::Tree;

/// The document that is checked.
const DOCUMENT: &str = "docs/requirements.md";

/// Every requirement there is, whether delivered or not: a prefix and the highest number under it.
const REQUIREMENTS: &[(&str, usize)] = &[
    ("ID", 4),
    ("AU", 3),
    ("LC", 9),
    ("TM", 8),
    ("GV", 8),
    ("TP", 1),
    ("LS", 7),
    ("TR", 9),
    ("EN", 11),
    ("ST", 2),
    ("FL", 1),
    ("CL", 2),
    ("QA", 1),
    ("JR", 5),
    ("SN", 3),
    ("RC", 1),
    ("EX", 3),
    ("MT", 1),
    ("AP", 1),
    ("UI", 1),
    ("CF", 1),
    ("SC", 2),
];

/// Where tests are made from a list of their names, and where such a list ends: harnesses of their own, and the suite that makes a test of each promise of
/// the store for every store that takes it.
const LISTS: &[(&str, char)] =
    &[("trials![", ']'), ("tests![", ']'), ("trial!(", ')'), ("store_conformance! { @$what [$new_store]", '}')];

/// One line of the table, its cells without their surrounding spaces.
struct Row<'a> {
    id: &'a str,
    state: &'a str,
    code: &'a str,
    tests: &'a str,
    missing: &'a str,
}

/// Every requirement without a row, and every row that claims what the tree does not hold.
pub fn check(tree: &Tree) -> Vec<String> {
    let Ok(document) = tree.text(DOCUMENT) else {
        return vec![format!("{DOCUMENT} is missing or not tracked")];
    };
    let mut rows: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for (index, line) in document.lines().enumerate().filter(|(_, line)| begins_with_id(line)) {
        match parse(line) {
            Some(row) => rows.entry(row.id).or_default().push(row),
            None => complaints.push(format!("{DOCUMENT}:{}: a row has six cells", index + 1)),
        }
    }
    let known: BTreeSet<String> = REQUIREMENTS
        .iter()
        .flat_map(|(prefix, last)| (1..=*last).map(move |number| format!("{prefix}-{number}")))
        .collect();
    for id in &known {
        match rows.get(id.as_str()).map_or(0, Vec::len) {
            1 => {}
            0 => complaints.push(format!("{DOCUMENT} has no row for {id}")),
            count => complaints.push(format!("{DOCUMENT} has {count} rows for {id}")),
        }
    }
    complaints
        .extend(rows.keys().filter(|id| !known.contains(**id)).map(|id| format!("{DOCUMENT}: {id} is no requirement")));
    let tests = tests(tree);
    complaints.extend(rows.values().flatten().flat_map(|row| judge(row, tree, &tests)));
    complaints
}

fn begins_with_id(line: &str) -> bool {
    let id = line.strip_prefix("| ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    id.split_once('-').is_some_and(|(prefix, number)| {
        prefix.len() == 2
            && prefix.bytes().all(|byte| byte.is_ascii_uppercase())
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn parse(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line.trim().strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let [id, _what, state, code, tests, missing] = cells[..] else {
        return None;
    };
    Some(Row { id, state, code, tests, missing })
}

fn judge(row: &Row, tree: &Tree, tests: &BTreeSet<&str>) -> Vec<String> {
    let id = row.id;
    let mut complaints = Vec::new();
    match row.state {
        "delivered" | "partly" => {
            if names(row.code).next().is_none() {
                complaints.push(format!("{id} is {} without naming its code", row.state));
            }
            if names(row.tests).next().is_none() {
                complaints.push(format!("{id} is {} without naming a test that proves it", row.state));
            }
        }
        "later" => {
            if !row.code.is_empty() || !row.tests.is_empty() {
                complaints.push(format!("{id} is later and yet names code or tests: then it is `partly`"));
            }
        }
        other => complaints.push(format!("{id}: `{other}` is no state: delivered, partly or later")),
    }
    if row.state == "partly" && row.missing.is_empty() {
        complaints.push(format!("{id} is partly there: say what is missing"));
    }
    if row.state == "delivered" && !row.missing.is_empty() {
        complaints.push(format!("{id} is delivered, yet something is missing: then it is `partly`"));
    }
    complaints.extend(names(row.code).filter(|path| !tree.has(path)).map(|path| format!("{id}: there is no `{path}`")));
    complaints.extend(
        names(row.tests).filter(|name| !tests.contains(name)).map(|name| format!("{id}: there is no test `{name}`")),
    );
    complaints
}

/// What stands in backticks.
pub fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names of all test functions: those with a test attribute above them, doc comments and other attributes between; and those in [`LISTS`].
pub fn tests(tree: &Tree) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        let mut marked = false;
        for line in file.text.lines().map(str::trim) {
            if line.starts_with("#[test]") || (line.starts_with("#[") && line.contains("::test")) {
                marked = true;
            } else if let Some(name) = function(line) {
                if marked {
                    found.insert(name);
                }
                marked = false;
            } else if !line.starts_with("#[") && !line.starts_with("//") {
                marked = false;
            }
        }
        found.extend(LISTS.iter().flat_map(|(open, close)| listed(&file.text, open, *close)));
    }
    found
}

/// The words, apart by commas or space, in every such list.
fn listed<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    let lists = text.split(open).skip(1).filter_map(move |rest| rest.split_once(close)).map(|(list, _)| list);
    let is_name =
        |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    lists.flat_map(|list| list.split(|c: char| c == ',' || c.is_whitespace())).filter(is_name)
}

fn function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "//! Code.\n#[test]\n/// EN-2\nfn walls_hold() {}\n\n#[tokio::test]\nasync fn doors_open() {}\n\nfn helper() {}\n";

    /// A document in which everything is later, but for the rows given.
    fn document(changed: &[&str]) -> String {
        let mut lines = vec!["# Requirements".to_owned(), "| ID | what | state | code | tests | missing |".to_owned()];
        for (prefix, last) in REQUIREMENTS {
            for number in 1..=*last {
                let id = format!("{prefix}-{number}");
                let row = changed.iter().find(|row| row.starts_with(&format!("| {id} ")));
                lines.push(row.map_or(format!("| {id} | something | later | | | |"), |row| (*row).to_owned()));
            }
        }
        lines.join("\n")
    }

    fn complaint(document: &str) -> String {
        check(&Tree::of(&[(DOCUMENT, document), ("crates/a/src/walls.rs", CODE)])).join("\n")
    }

    #[test]
    fn rows_whose_code_and_tests_exist_pass() {
        let rows = [
            "| EN-2 | walls | delivered | `crates/a/src/walls.rs` | `walls_hold`, `doors_open` | |",
            "| EN-3 | exec | partly | `crates/a/` | `walls_hold` | the door |",
        ];
        assert_eq!(complaint(&document(&rows)), "");
    }

    #[test]
    fn a_missing_or_second_row_does_not_pass() {
        let all = document(&[]);
        assert!(complaint(&all.replace("| EN-10 ", "| row ")).contains("no row for EN-10"));
        assert!(complaint(&format!("{all}\n| EN-10 | again | later | | | |")).contains("2 rows for EN-10"));
        assert!(complaint(&format!("{all}\n| ZZ-1 | invented | later | | | |")).contains("ZZ-1 is no requirement"));
    }

    #[test]
    fn code_or_a_test_that_does_not_exist_does_not_pass() {
        let rows = ["| EN-2 | walls | delivered | `crates/a/src/gone.rs` | `walls_hold` | |"];
        assert!(complaint(&document(&rows)).contains("no `crates/a/src/gone.rs`"));
        let rows = ["| EN-2 | walls | delivered | `crates/a` | `walls_fall` | |"];
        assert!(complaint(&document(&rows)).contains("no test `walls_fall`"));
    }

    #[test]
    fn what_a_harness_of_its_own_lists_is_a_test() {
        let text = "trials![\n    one_wall,\n    another_wall,\n]; trial!(a_door)";
        assert_eq!(listed(text, "trials![", ']').collect::<Vec<_>>(), ["one_wall", "another_wall"]);
        assert_eq!(listed(text, "trial!(", ')').collect::<Vec<_>>(), ["a_door"]);
        let text = "store_conformance! { @$what [$new_store]\n    one_promise\n\n    another_promise\n}";
        let (open, close) = LISTS[LISTS.len() - 1];
        assert_eq!(listed(text, open, close).collect::<Vec<_>>(), ["one_promise", "another_promise"]);
    }

    #[test]
    fn a_function_that_is_no_test_proves_nothing() {
        let rows = ["| EN-2 | walls | delivered | `crates/a` | `helper` | |"];
        assert!(complaint(&document(&rows)).contains("no test `helper`"));
    }

    #[test]
    fn a_state_must_fit_what_its_row_says() {
        for (row, expected) in [
            ("| EN-2 | walls | delivered | | `walls_hold` | |", "without naming its code"),
            ("| EN-2 | walls | delivered | `crates/a` | | |", "without naming a test"),
            ("| EN-2 | walls | delivered | `crates/a` | `walls_hold` | a roof |", "something is missing"),
            ("| EN-2 | walls | partly | `crates/a` | `walls_hold` | |", "say what is missing"),
            ("| EN-2 | walls | later | `crates/a` | | |", "then it is `partly`"),
            ("| EN-2 | walls | almost | | | |", "is no state"),
            ("| EN-2 | walls | later |", "six cells"),
        ] {
            assert!(complaint(&document(&[row])).contains(expected), "{row}");
        }
    }

    #[test]
    fn a_tree_without_the_document_does_not_pass() {
        assert!(check(&Tree::of(&[]))[0].contains("missing or not tracked"));
    }
}
