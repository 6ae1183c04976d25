//! `tenure` without a command, with help, or with words it does not know.
#![allow(clippy::unwrap_used)]

mod support;

use insta::assert_snapshot;
use support::{answer, command};

/// CL-2: help is an answer.
#[test]
fn help_lists_the_commands() {
    assert_snapshot!(answer(command().arg("--help")), @r"
    Runs durable, isolated sessions

    Usage: tenure [OPTIONS] <COMMAND>

    Commands:
      run          Run a program in an environment of its own, which is gone afterwards
      doctor       Say which walls and limits this host can give, and what to do where one is missing
      template     Add, list, show and remove templates: the roots that environments are made from
      config       Check the configuration, or show it and where each value was written
      completions  Print a completion script for a shell
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --config <FILE>   The configuration [env: TENURE_CONFIG] [default: /etc/tenure/tenure.toml as
                            root, else tenure/tenure.toml in the XDG configuration directory]
          --data-dir <DIR>  Where everything is kept [env: TENURE_DATA_DIR] [default: /var/lib/tenure as
                            root, else the XDG state directory]
          --json            Print JSON for programs instead of text for people
    ");
}

/// CL-2: the version is one line.
#[test]
fn the_version_is_one_line() {
    let version = format!("tenure {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(answer(command().arg("--version")).to_string(), version);
}

/// CL-2: usage errors are exit code 2, and 125 in `run`.
#[test]
fn an_unknown_command_is_refused() {
    assert_snapshot!(answer(command().arg("frob")), @r"
    ! error: unrecognized subcommand 'frob'
    !
    ! Usage: tenure [OPTIONS] <COMMAND>
    !
    ! For more information, try '--help'.
    [2]
    ");
    assert_eq!(answer(command().args(["--json", "frob"])).json_error()["code"], "USAGE");
    assert_eq!(answer(&mut command()).code, 2);
}
