//! How a file must look: its first line, its length, words that promise what is not there, traces of one machine, dead links.

use std::path::Path;

use crate::tree::{File, Tree};

/// The longest a Rust file may be, in lines.
const LINES_MAX: usize = 500;

/// Files that were longer when the rule came, with the length they may not exceed. It only ever shrinks.
const RATCHET: &[(&str, usize)] = &[];

/// Where `unsafe` may be allowed: the walls, and PID 1 inside them.
/// The benchmarks try the kernel's calls themselves; nothing that ships is among them.
const UNSAFE_HOMES: &[&str] = &["crates/tenure-linux/", "crates/tenure-agent/", "bench/"];

/// Words for unfinished work. Put together here so that this file does not hold them itself.
const PROMISES: &[&str] = &[
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[ig", "nore"),
];

/// Parts of the host names of package registries: where packages come from is the machine's business.
const REGISTRIES: &[&str] = &["npmjs", "pypi", "pythonhosted", "crates"];

/// Directories that every Linux system has; one of them above the checkout says nothing about the machine.
const STANDARD_DIRECTORIES: &[&str] =
    &["/", "/home", "/mnt", "/opt", "/root", "/srv", "/tmp", "/usr/local/src", "/usr/src", "/var/lib", "/var/tmp"];

/// Written by Cargo, not by us.
const GENERATED: &[&str] = &["Cargo.lock"];

/// Everything in the tree that is out of order.
pub fn check(tree: &Tree) -> Vec<String> {
    let traces = traces(&tree.root);
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| !GENERATED.contains(&file.path.as_str())) {
        complaints.extend(forbidden_words(file, &traces));
        if file.path.ends_with(".rs") {
            complaints.extend(rust_file(file));
        }
        if file.path.ends_with("/Cargo.toml") {
            complaints.extend(inherits_lints(file));
        }
        if file.path.ends_with(".md") {
            complaints.extend(dead_links(file, tree));
        }
    }
    complaints
}

fn rust_file(file: &File) -> Vec<String> {
    let path = &file.path;
    let mut complaints = Vec::new();
    if !file.text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 10) {
        complaints.push(format!("{path}:1: must begin with a `//!` sentence that says what the file is for"));
    }
    let lines = file.text.lines().count();
    let limit = RATCHET.iter().find(|(listed, _)| listed == path).map_or(LINES_MAX, |(_, limit)| *limit);
    if lines > limit {
        complaints.push(format!("{path}: {lines} lines, {limit} allowed: find the second file in it"));
    }
    // The workspace denies `unsafe_code`; whoever wants it must name the lint, and may do so only at home.
    if !UNSAFE_HOMES.iter().any(|home| path.starts_with(home)) && path != "xtask/src/tidy.rs" {
        complaints.extend(
            lines_with(file, "unsafe_code").map(|line| {
                format!("{path}:{line}: `unsafe` may be allowed only under {}", UNSAFE_HOMES.join(" and "))
            }),
        );
    }
    complaints
}

/// Without this line the workspace's lints, and with them the ban on `unsafe`, would not hold for a crate.
fn inherits_lints(file: &File) -> Option<String> {
    let inherits = toml::from_str::<toml::Table>(&file.text)
        .ok()
        .and_then(|manifest| manifest.get("lints")?.get("workspace")?.as_bool())
        .unwrap_or(false);
    (!inherits).then(|| format!("{}: must take the workspace's lints (`[lints] workspace = true`)", file.path))
}

/// Links of a document to tracked files that are not there. Links to other hosts and within the document are not followed.
fn dead_links(file: &File, tree: &Tree) -> Vec<String> {
    let targets = file.text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ', '\n']).next());
    targets
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .filter(|target| !tree.has(&resolve(&file.path, target)))
        .map(|target| format!("{}: links to `{target}`, which is not there", file.path))
        .collect()
}

/// The path that a link in the file `from` means, seen from the root of the checkout.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

fn forbidden_words(file: &File, traces: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.path, index + 1);
        for word in PROMISES.iter().filter(|word| has_word(line, word)) {
            complaints.push(format!("{place}: `{word}` promises what is not there: do it, or leave it out"));
        }
        for trace in traces.iter().filter(|trace| has_path(line, trace)) {
            complaints.push(format!("{place}: `{trace}` is a path of one machine"));
        }
        if let Some(host) = hosts(line).find(|host| host.split('.').any(|label| REGISTRIES.contains(&label))) {
            complaints.push(format!("{place}: `{host}` is a registry's host"));
        }
    }
    complaints
}

fn lines_with<'a>(file: &'a File, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    file.text.lines().enumerate().filter(move |(_, line)| line.contains(word)).map(|(index, _)| index + 1)
}

/// Whether `word` stands in `line` on its own, not inside a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let joins =
        |character: Option<char>| character.is_some_and(|character| character.is_alphanumeric() || character == '_');
    line.match_indices(word).any(|(start, _)| {
        let begins = word.starts_with(|character: char| !character.is_alphanumeric());
        let ends = word.ends_with(|character: char| !character.is_alphanumeric());
        (begins || !joins(line[..start].chars().next_back()))
            && (ends || !joins(line[start + word.len()..].chars().next()))
    })
}

/// Whether the absolute path `trace` begins in `line`, and is not the tail of a longer one.
fn has_path(line: &str, trace: &str) -> bool {
    let continues = |character: char| character.is_alphanumeric() || "._-/}".contains(character);
    line.match_indices(trace).any(|(start, _)| !line[..start].ends_with(continues))
}

/// The host of every URL in the line.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://").skip(1).filter_map(|rest| {
        rest.split(|character: char| !(character.is_ascii_alphanumeric() || character == '.' || character == '-'))
            .next()
    })
}

/// What a path of this machine would look like: the checkout's own, and that of the directory above it.
fn traces(root: &Path) -> Vec<String> {
    let deep = |path: &&Path| path.components().count() > 1;
    let parent =
        root.parent().filter(|parent| !STANDARD_DIRECTORIES.iter().any(|standard| Path::new(standard) == *parent));
    let own = Some(root).filter(deep).filter(|root| root.components().count() > 2);
    own.into_iter().chain(parent.filter(deep)).map(|path| format!("{}/", path.display())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! What this is for.\nfn main() {}\n";

    fn complaint(path: &str, text: &str) -> String {
        check(&Tree::of(&[(path, text)])).join("\n")
    }

    #[test]
    fn a_tidy_file_passes() {
        assert_eq!(complaint("crates/a/src/lib.rs", GOOD), "");
        assert_eq!(complaint("crates/a/Cargo.toml", "[package]\nname = \"a\"\n[lints]\nworkspace = true\n"), "");
    }

    #[test]
    fn a_rust_file_without_its_sentence_does_not_pass() {
        assert!(complaint("crates/a/src/lib.rs", "fn main() {}\n").contains("`//!` sentence"));
        assert!(complaint("crates/a/src/lib.rs", "").contains("`//!` sentence"));
    }

    #[test]
    fn a_file_of_501_lines_does_not_pass_and_one_of_500_does() {
        let long = |lines: usize| format!("//! What this is for.\n{}", "\n".repeat(lines - 1));
        assert_eq!(complaint("a.rs", &long(500)), "");
        assert!(complaint("a.rs", &long(501)).contains("501 lines"));
    }

    #[test]
    fn unsafe_code_is_at_home_in_two_crates_only() {
        let unsafe_file = format!("{GOOD}#![allow(unsafe_code)]\n");
        assert_eq!(complaint("crates/tenure-linux/src/clone.rs", &unsafe_file), "");
        assert!(
            complaint("crates/tenure/src/main.rs", &unsafe_file).contains("main.rs:3: `unsafe` may be allowed only")
        );
    }

    #[test]
    fn a_crate_that_opts_out_of_the_lints_does_not_pass() {
        assert!(complaint("crates/a/Cargo.toml", "[package]\nname = \"a\"\n").contains("workspace's lints"));
    }

    #[test]
    fn words_for_unfinished_work_do_not_pass_anywhere() {
        for word in PROMISES {
            assert!(complaint("README.md", &format!("here: {word}(later)")).contains("promises"), "{word}");
        }
    }

    #[test]
    fn a_longer_word_that_holds_a_forbidden_one_passes() {
        assert_eq!(complaint("scripts/a.sh", &format!("mktemp {}\n", "X".repeat(6))), "");
        assert_eq!(complaint("README.md", concat!("MASTO", "DON\n")), "");
    }

    #[test]
    fn paths_of_the_machine_do_not_pass() {
        assert!(complaint("Makefile", "cd /builds/someone/checkout/web\n").contains("path of one machine"));
        assert!(complaint("Makefile", "ls \"/builds/someone/other\"\n").contains("path of one machine"));
        assert_eq!(complaint("Makefile", "ls build/builds/someone/x /buildsx/someone/\n"), "");
    }

    #[test]
    fn a_checkout_in_a_standard_place_leaves_no_trace_but_its_own() {
        assert_eq!(traces(Path::new("/tmp/clone")), ["/tmp/clone/"]);
        assert_eq!(traces(Path::new("/clone")), Vec::<String>::new());
        assert_eq!(traces(Path::new("/builds/clone")), ["/builds/clone/", "/builds/"]);
    }

    #[test]
    fn registry_hosts_do_not_pass_and_the_index_in_the_policy_does() {
        let url = |host: &str| format!("see https://{host}/thing\n");
        assert!(complaint("README.md", &url(concat!("static.cra", "tes.io"))).contains("registry's host"));
        assert!(complaint("README.md", &url(concat!("registry.np", "mjs.org"))).contains("registry's host"));
        assert_eq!(complaint("deny.toml", "https://github.com/rust-lang/crates.io-index\n"), "");
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_does_not_pass() {
        let check = |text| check(&Tree::of(&[("docs/a.md", text), ("docs/adr/1.md", ""), ("LICENSE", "")])).join("\n");
        assert_eq!(check("[x](adr/) [y](../LICENSE#top) [z](https://example.org/q) [w](#here)"), "");
        assert!(check("[x](adr/2.md)").contains("docs/a.md: links to `adr/2.md`"));
        assert!(check("[x](LICENSE)").contains("links to `LICENSE`"));
    }

    #[test]
    fn the_lock_file_is_not_ours_to_tidy() {
        assert_eq!(complaint("Cargo.lock", concat!("# TO", "DO\n")), "");
    }
}
