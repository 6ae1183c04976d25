//! `tenure run -it` in a real terminal: prompts, sizes, keys, full-screen programs, and the terminal afterwards.
#![allow(clippy::unwrap_used)]

mod support;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use support::tmux::{PATIENCE, Tmux, vim};
use support::{DataDir, binary, data_dir, eventually, is_root};

/// A terminal outside, and a data directory for what is run from it.
struct Outside {
    tmux: Tmux,
    _dir: Arc<DataDir>,
}

impl Deref for Outside {
    type Target = Tmux;

    fn deref(&self) -> &Tmux {
        &self.tmux
    }
}

impl Outside {
    /// One of 80 by 24, where there is a tmux.
    fn start() -> Option<Outside> {
        let dir = data_dir();
        let data_dir = format!("TENURE_DATA_DIR={}", dir.path().display());
        let tmux = Tmux::start(&[&data_dir, "TENURE_POOL_BYTES=512M"])?;
        Some(Outside { tmux, _dir: dir })
    }

    /// Types `tenure run -it` with this program.
    fn runs(&self, options: &str, program: &str) {
        let unenforced = if is_root() { "" } else { "--allow-unenforced" };
        self.types(&format!("clear; {} run {unenforced} -it {options} -- {program}", binary().display()));
    }

    /// A shell inside, at its prompt.
    fn enters(&self) {
        self.runs("--env 'PS1=inside> '", "bash --norc --noprofile");
        self.sees_line("inside>");
    }
}

/// EN-7: a shell has its prompt, its echo, and a terminal of the caller's size, which follows it.
#[test]
fn a_shell_inside_has_a_terminal_of_the_callers_size() {
    let Some(tmux) = Outside::start() else { return };
    tmux.enters();
    tmux.types("tty; stty size");
    tmux.sees_line("24 80");
    tmux.sees("/dev/pts/");
    tmux.ask(&["resize-window", "-x", "101", "-y", "33"]);
    // The size travels beside what is typed.
    assert!(eventually(PATIENCE, || {
        tmux.types("clear; stty size");
        std::thread::sleep(Duration::from_millis(200));
        tmux.screen().lines().any(|line| line.trim_end() == "33 101")
    }));
    tmux.types("exit 3");
    tmux.sees("outside>");
    tmux.types("echo code $?");
    tmux.sees_line("code 3");
    tmux.is_sane();
}

/// EN-7: Ctrl-C is for the program in the foreground inside, Ctrl-D for whoever reads, Ctrl-Z for the shell's jobs.
#[test]
fn keys_reach_the_program_in_the_foreground() {
    let Some(tmux) = Outside::start() else { return };
    tmux.enters();
    tmux.types("clear; (echo asleep; exec sleep 1000)");
    tmux.sees_line("asleep");
    tmux.press("C-c");
    tmux.sees_that("a prompt again", |screen| screen.trim_end().ends_with("inside>") && screen.contains("^C"));
    tmux.types("echo code $?");
    tmux.sees_line("code 130");
    tmux.types("cat >file");
    tmux.types("typed");
    tmux.press("C-d");
    tmux.types("clear; cat file");
    tmux.sees_line("typed");
    tmux.types("clear; (echo asleep; exec sleep 1000)");
    tmux.sees_line("asleep");
    tmux.press("C-z");
    tmux.sees("Stopped");
    tmux.types("fg");
    tmux.press("C-c");
    tmux.types("clear; exit");
    tmux.sees("outside>");
    tmux.is_sane();
}

/// EN-7: an editor opens, takes what is typed, and saves it.
#[test]
fn an_editor_works_inside() {
    let Some(tmux) = Outside::start() else { return };
    let Some(vim) = vim() else { return };
    tmux.enters();
    tmux.types(&format!("{vim} -u NONE notes.txt"));
    tmux.sees("notes.txt");
    tmux.sees_line("~");
    tmux.press("i");
    tmux.types("written inside");
    tmux.types("umlauts: äöü");
    tmux.press("Escape");
    tmux.types(":wq");
    tmux.sees("inside>");
    tmux.types("clear; cat notes.txt");
    tmux.sees_line("written inside");
    tmux.sees_line("umlauts: äöü");
    tmux.types("exit");
    tmux.sees("outside>");
    tmux.is_sane();
}

/// EN-7: a program that draws the whole screen again and again does so, and quits.
#[test]
fn a_full_screen_program_draws_and_quits() {
    let Some(tmux) = Outside::start() else { return };
    tmux.runs("", "top");
    tmux.sees("load average");
    tmux.sees("PID");
    tmux.press("q");
    tmux.sees("outside>");
    tmux.is_sane();
}

/// EN-7: whatever ends the program, the caller has its terminal back.
#[test]
fn the_terminal_is_sane_after_a_kill() {
    let Some(tmux) = Outside::start() else { return };
    tmux.enters();
    tmux.types("kill -9 $$");
    tmux.sees("outside>");
    tmux.types("echo code $?");
    tmux.sees_line("code 137");
    tmux.is_sane();
    tmux.runs("--timeout 1s", "sh -c 'stty raw -echo; sleep 1000'");
    tmux.sees("after its time limit");
    tmux.is_sane();
    tmux.runs("", "no-such-program");
    tmux.sees("does not exist");
    tmux.is_sane();
}
