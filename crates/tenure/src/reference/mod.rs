//! The references of the command line and of the codes: written from what the code says, and checked against it.
#![allow(clippy::unwrap_used)]

use crate::cli::Cli;
use crate::failure::{CliCode, Code};
use clap::CommandFactory;
use std::path::Path;

fn check(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    if std::env::var_os("TENURE_BLESS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/{file} is out of date: TENURE_BLESS=1 cargo test -p tenure rewrites it");
}

/// CL-2: every command, every argument.
#[test]
fn the_reference_of_commands_is_up_to_date() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    let mut text = include_str!("cli.txt").to_owned();
    let hidden =
        |id: &str| cli.get_arguments().any(|argument| argument.get_id() == id) || id == "help" || id == "version";
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        describe(command, 2, &hidden, &mut text);
    }
    check("cli.md", &text);
}

fn describe(command: &clap::Command, level: usize, hidden: &dyn Fn(&str) -> bool, text: &mut String) {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    *text += &format!("\n{} {name}\n\n{about}.\n\n", "#".repeat(level));
    let below: Vec<_> = command.get_subcommands().filter(|below| below.get_name() != "help").collect();
    if below.is_empty() {
        *text += &format!("```text\n{usage}\n```\n");
    }
    let rows: String =
        command.get_arguments().filter(|argument| !hidden(argument.get_id().as_str())).map(row).collect();
    if !rows.is_empty() {
        *text += &format!("\n| argument | what it is |\n|---|---|\n{rows}");
    }
    if let Some(after) = command.get_after_help() {
        *text += &format!("\n{after}\n");
    }
    below.into_iter().for_each(|below| describe(below, level + 1, hidden, text));
}

fn row(argument: &clap::Arg) -> String {
    let values: Vec<&str> = argument.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
    let takes = argument.get_action().takes_values();
    let value = if takes { format!(" {}", values.join(" ")) } else { String::new() };
    let long = argument.get_long().map(|long| format!("--{long}"));
    let short = argument.get_short().map(|short| format!("-{short}"));
    let alias = argument.get_visible_aliases().unwrap_or_default().into_iter().map(|alias| format!("--{alias}"));
    let names: Vec<String> = short.into_iter().chain(long).chain(alias).collect();
    let name = if names.is_empty() { values.join(" ") } else { format!("{}{value}", names.join(", ")) };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ").replace('|', "\\|");
    let default: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default =
        if default.is_empty() || !takes { String::new() } else { format!(" Default: `{}`.", default.join(" ")) };
    format!("| `{name}` | {help}.{default} |\n")
}

/// CL-2, AP-1: every code, with its status and its exit code.
#[test]
fn the_reference_of_codes_is_up_to_date() {
    let served = |code: &Code| {
        let row = code.row();
        format!("| `{}` | {} | {} | {} | {} |\n", row.name, row.status, row.exit, row.title, row.hint)
    };
    let own = |code: CliCode| {
        let row = code.row();
        format!("| `{}` | {} | {} | {} |\n", row.name, row.exit, row.in_run, row.title)
    };
    let text = include_str!("errors.txt")
        .replace("{{served}}\n", &Code::ALL.iter().map(served).collect::<String>())
        .replace("{{own}}\n", &CliCode::ALL.into_iter().map(own).collect::<String>());
    check("errors.md", &text);
}

/// CL-2: a name is one code, in the service or in the command alone, and its exit code is one of those that are promised.
#[test]
fn every_code_is_one_code() {
    let served = Code::ALL.iter().map(|code| (code.row().name, code.row().exit));
    let all: Vec<_> = served.chain(CliCode::ALL.into_iter().map(|code| (code.row().name, code.row().exit))).collect();
    let names: std::collections::BTreeSet<_> = all.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.iter().all(|(_, exit)| (1..=10).contains(exit)), "{all:?}");
}
