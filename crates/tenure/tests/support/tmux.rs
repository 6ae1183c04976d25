//! A terminal with a shell in it, as somebody sits at it.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used)]

use super::{answer, eventually};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest that anything on a screen may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal with a shell in it, on a tmux of its own that ends with it.
pub struct Tmux {
    socket: String,
}

impl Tmux {
    /// One of 80 by 24, where there is a tmux, with these variables, each `NAME=VALUE`.
    pub fn start(variables: &[&str]) -> Option<Tmux> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("skipped: no tmux here");
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let tmux = Tmux { socket: format!("tenure-test-{}-{number}", std::process::id()) };
        let mut words = vec!["new-session", "-d", "-x", "80", "-y", "24"];
        let all = variables.iter().copied().chain(["PS1=outside> ", "HISTFILE="]);
        all.for_each(|variable| words.extend(["-e", variable]));
        words.extend(["--", "bash", "--norc", "--noprofile", "-i"]);
        tmux.ask(&words);
        tmux.sees("outside>");
        Some(tmux)
    }

    /// What tmux answers to these words.
    pub fn ask(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        let answer = answer(tmux.args(["-L", &self.socket, "-f", "/dev/null"]).args(words));
        assert_eq!(answer.code, 0, "{answer}");
        answer.out()
    }

    /// What is on the screen.
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// Waits for a text on the screen.
    pub fn sees(&self, text: &str) {
        self.sees_that(text, |screen| screen.contains(text));
    }

    /// Waits for a whole line on the screen.
    pub fn sees_line(&self, line: &str) {
        self.sees_that(line, |screen| screen.lines().any(|found| found.trim_end() == line));
    }

    /// Waits until something is so of the screen.
    pub fn sees_that(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        assert!(eventually(PATIENCE, || is_so(&self.screen())), "no {what:?} on the screen:\n{}", self.screen());
    }

    /// Types a line.
    pub fn types(&self, line: &str) {
        self.ask(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key by its name.
    pub fn press(&self, key: &str) {
        self.ask(&["send-keys", key]);
    }

    /// That the shell outside has its terminal as it was: it echoes, edits and interrupts.
    pub fn is_sane(&self) {
        self.sees_that("the prompt outside", |screen| screen.trim_end().ends_with("outside>"));
        self.types("clear; stty -a | tr ' ' '\\n' | grep -cx -e icanon -e echo -e isig -e icrnl -e opost -e onlcr");
        self.sees_line("6");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

/// An editor, where there is one.
pub fn vim() -> Option<&'static str> {
    let is_there = |program: &&str| {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        found.unwrap().status.success()
    };
    let found = ["vim", "vim.tiny", "vi"].into_iter().find(is_there);
    if found.is_none() {
        println!("skipped: no vim here");
    }
    found
}
