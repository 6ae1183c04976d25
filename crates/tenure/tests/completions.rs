//! `tenure completions`: scripts that shells can read.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::process::Command;
use support::{answer, command};

fn script(shell: &str) -> String {
    let answer = answer(command().args(["completions", shell]));
    assert_eq!((answer.code, answer.err().as_str()), (0, ""));
    answer.out()
}

/// CL-2: every command and option is in them.
#[test]
fn shells_are_told_of_every_command_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = script(shell);
        for word in ["run", "doctor", "template", "completions", "allow-unenforced", "data-dir", "timeout"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
}

/// CL-2: bash itself takes what we print, and completes with it.
#[test]
fn bash_completes_with_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(script("bash").as_bytes()).unwrap();
    let ask = r#". "$0"; COMP_WORDS=(tenure tem); COMP_CWORD=1; COMP_LINE="tenure tem"; _tenure tenure tem tenure; echo "${COMPREPLY[@]}""#;
    let mut bash = Command::new("bash");
    bash.args(["-c", ask]).arg(file.path());
    assert_eq!(answer(&mut bash).to_string(), "template\n");
}

/// CL-2: a shell that nobody knows is a mistake of usage.
#[test]
fn an_unknown_shell_is_refused() {
    assert_eq!(answer(command().args(["completions", "tcsh"])).code, 2);
}
