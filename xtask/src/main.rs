//! `cargo xtask check`: the rules of the house that the compiler does not know.
//!
//! Each check is a pure function from what was read (the tracked files, the dependency graph) to a list of complaints, so
//! that its tests can hand it a wrong house. Only this file, [`tree`] and [`graph`] touch the machine.

mod arrows;
mod dependencies;
mod graph;
mod licenses;
mod promises;
mod requirements;
mod tidy;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use graph::Graph;
use tree::Tree;

const USAGE: &str = "usage: cargo xtask check [NAME…]\n\nchecks: arrows, tidy, requirements, promises, licenses, dependencies (all when none is named)";

/// A name on the command line, and the function that looks at the house and returns its complaints.
type Check = (&'static str, fn(&House) -> Result<Vec<String>>);

const CHECKS: [Check; 6] = [
    ("arrows", |house| Ok(arrows::check(&house.graph))),
    ("tidy", |house| Ok(tidy::check(&house.tree))),
    ("requirements", |house| Ok(requirements::check(&house.tree))),
    ("promises", |house| Ok(promises::check(&house.tree))),
    ("licenses", |house| {
        let policy = licenses::Policy::parse(house.tree.text("deny.toml")?)?;
        for line in licenses::duplicates(&house.graph) {
            println!("  note: {line}");
        }
        Ok(licenses::check(&house.graph, &policy))
    }),
    ("dependencies", |house| Ok(dependencies::check(&house.graph, house.tree.text("docs/dependencies.md")?))),
];

/// Everything the checks may look at, read once.
struct House {
    tree: Tree,
    graph: Graph,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool> {
    let Some(("check", names)) = arguments.split_first().map(|(verb, names)| (verb.as_str(), names)) else {
        bail!("{USAGE}");
    };
    if let Some(unknown) = names.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name)) {
        bail!("no check is called `{unknown}`\n{USAGE}");
    }
    // As Cargo says now, not as it was when this was compiled: checkouts may share a target directory.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run it as `cargo xtask`")?;
    let root = Path::new(&manifest).parent().context("xtask lies inside the workspace")?;
    let house = House { tree: Tree::read(root)?, graph: Graph::read(root)? };
    let mut clean = true;
    for (name, check) in CHECKS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name))
    {
        let complaints = check(&house).with_context(|| format!("check {name}"))?;
        println!("check {name}: {}", if complaints.is_empty() { "ok" } else { "FAILED" });
        for complaint in &complaints {
            println!("  {complaint}");
        }
        clean &= complaints.is_empty();
    }
    Ok(clean)
}
