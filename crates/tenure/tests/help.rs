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
      serve                   Run the server: sessions over HTTP, until SIGTERM
      run                     Run a program in an environment of its own, which is gone afterwards
      session                 Make, list, read, pause, resume and end sessions
      lease                   Hold a session, so that nobody else works in it meanwhile
      exec                    Run a program in a session
      attach                  Open a terminal in a session, or come back to one
      execs                   List the programs that were run in a session, read what they printed,
                              signal them
      file                    Read, write, list and follow the files of a session
      preview                 Make ports of a session reachable from outside
      template                Add, list, show and remove templates: the roots that environments are made
                              from
      key                     Make, list, revoke and rotate API keys
      audit                   List what was done, and verify that the record of it is as it was written
      backup                  Copy what is remembered into a data directory of its own, also while a
                              server runs
      config                  Check the configuration, or show it and where each value was written
      doctor                  Say which walls and limits this host can give, and what to do where one is
                              missing
      selftest                Try on this host what is promised: kill a server of its own, and compare
      completions             Print a completion script for a shell
      session-identity        Contract: whether an identity is complete and well formed
      session-lifecycle       Contract: the state of a session, and moving it
      execution-environment   Contract: the environment of a session
      environment-access      Contract: access to an environment, granted or denied
      session-status          Contract: what a session's user sees of it
      failure-classification  Contract: how bad a failure is, and what helps
      cleanup-ttl             Contract: whether a session is to be cleaned up, and cleaning up
      help                    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --config <FILE>        The configuration [env: TENURE_CONFIG] [default:
                                 /etc/tenure/tenure.toml as root, else tenure/tenure.toml in the XDG
                                 configuration directory]
          --data-dir <DIR>       Where everything is kept [env: TENURE_DATA_DIR] [default:
                                 /var/lib/tenure as root, else the XDG state directory]
          --url <URL>            Where the server is [env: TENURE_URL] [default: where it listens on
                                 this host]
          --lease-token <TOKEN>  The token of the lease that one holds [env: TENURE_LEASE_TOKEN]
          --json                 Print JSON for programs instead of text for people
          --verbose              Say what is being done
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
