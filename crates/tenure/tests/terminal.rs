//! `tenure run -it` in a real terminal: prompts, sizes, keys, full-screen programs, and the terminal afterwards.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{DataDir, answer, binary, data_dir, eventually, is_root};

const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal with a shell in it, on a server of its own that ends with it.
struct Tmux {
    socket: String,
    dir: Arc<DataDir>,
}

impl Tmux {
    /// One of 80 by 24, where there is a tmux.
    fn start() -> Option<Tmux> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if Command::new("tmux").arg("-V").output().is_err() {
            println!("skipped: no tmux here");
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let tmux = Tmux { socket: format!("tenure-test-{}-{number}", std::process::id()), dir: data_dir() };
        let environment = [
            format!("TENURE_DATA_DIR={}", tmux.dir.path().display()),
            "TENURE_POOL_BYTES=512M".to_owned(),
            "PS1=outside> ".to_owned(),
            "HISTFILE=".to_owned(),
        ];
        let mut words = vec!["new-session", "-d", "-x", "80", "-y", "24"];
        environment.iter().for_each(|variable| words.extend(["-e", variable]));
        words.extend(["--", "bash", "--norc", "--noprofile", "-i"]);
        tmux.ask(&words);
        tmux.sees("outside>");
        Some(tmux)
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        let answer = answer(tmux.args(["-L", &self.socket, "-f", "/dev/null"]).args(words));
        assert_eq!(answer.code, 0, "{answer}");
        answer.out()
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// Waits for a text on the screen.
    fn sees(&self, text: &str) {
        self.sees_that(text, |screen| screen.contains(text));
    }

    /// Waits for a whole line on the screen.
    fn sees_line(&self, line: &str) {
        self.sees_that(line, |screen| screen.lines().any(|found| found.trim_end() == line));
    }

    fn sees_that(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        assert!(eventually(PATIENCE, || is_so(&self.screen())), "no {what:?} on the screen:\n{}", self.screen());
    }

    /// Types a line.
    fn types(&self, line: &str) {
        self.ask(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key by its name.
    fn press(&self, key: &str) {
        self.ask(&["send-keys", key]);
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

    /// That the shell outside has its terminal as it was: it echoes, edits and interrupts.
    fn is_sane(&self) {
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

/// EN-7: a shell has its prompt, its echo, and a terminal of the caller's size, which follows it.
#[test]
fn a_shell_inside_has_a_terminal_of_the_callers_size() {
    let Some(tmux) = Tmux::start() else { return };
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
    let Some(tmux) = Tmux::start() else { return };
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
    let Some(tmux) = Tmux::start() else { return };
    let Some(vim) = ["vim", "vim.tiny", "vi"].into_iter().find(|name| is_there(name)) else {
        println!("skipped: no vim here");
        return;
    };
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
    let Some(tmux) = Tmux::start() else { return };
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
    let Some(tmux) = Tmux::start() else { return };
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

fn is_there(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success()
}
