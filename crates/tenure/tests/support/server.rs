//! A server of the tests' own: started on a free port over a data directory of its own, and gone with the last test that holds it.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used)]

use super::{Answer, DataDir, PATIENCE, answer, answer_to, binary, wait};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A running server.
pub struct Server {
    dir: DataDir,
    child: Mutex<Child>,
    url: String,
}

/// The tests' server.
pub fn server() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(Server::start());
        *shared = Arc::downgrade(&made);
        made
    })
}

impl Server {
    /// Starts one and waits until it answers.
    pub fn start() -> Server {
        Server::start_from(&binary(), DataDir::new())
    }

    /// Starts one with these settings, as in `retention.interval_ms=1s`.
    pub fn start_with(settings: &[&str]) -> Server {
        let dir = DataDir::new();
        let (child, url) = spawn(&binary(), &dir, settings);
        Server { dir, child: Mutex::new(child), url }
    }

    /// Kills it and starts another with these settings on the same data directory, at another port.
    pub fn kill_and_start_with(&mut self, settings: &[&str]) {
        self.kill();
        let (child, url) = spawn(&binary(), &self.dir, settings);
        (self.child, self.url) = (Mutex::new(child), url);
    }

    /// Starts this program over this data directory.
    pub fn start_from(program: &Path, dir: DataDir) -> Server {
        let (child, url) = spawn(program, &dir, &[]);
        Server { dir, child: Mutex::new(child), url }
    }

    /// Kills it, with no time for last words.
    pub fn kill(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts this program on the same data directory, at another port, after a kill.
    pub fn start_again_from(&mut self, program: &Path) {
        let (child, url) = spawn(program, &self.dir, &[]);
        (self.child, self.url) = (Mutex::new(child), url);
    }

    /// Kills it and starts another on the same data directory, at another port.
    pub fn kill_and_start(&mut self) {
        self.kill();
        self.start_again_from(&binary());
    }

    /// Ends what lives, since sessions outlive their server, and then the server.
    pub fn stop(&self) {
        let listed = self.ask(["--json", "session", "list", "--all"]);
        if let Ok(listed) = serde_json::from_slice::<serde_json::Value>(&listed.stdout) {
            for session in listed["items"].as_array().into_iter().flatten().filter(|one| one["terminated_at"].is_null())
            {
                self.ask(["session", "terminate", session["id"].as_str().unwrap_or_default()]);
            }
        }
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        wait(&mut child, PATIENCE);
    }

    /// Its data directory.
    pub fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `tenure` with these words, for this server.
    pub fn tenure<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.dir.tenure(words);
        command.env("TENURE_URL", &self.url);
        command
    }

    /// What `tenure` answers to these words.
    pub fn ask<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Answer {
        answer(&mut self.tenure(words))
    }

    /// What `tenure` answers to these words and this input.
    pub fn ask_with<'a>(&self, words: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Answer {
        answer_to(&mut self.tenure(words), input.to_vec())
    }

    /// What is answered to this path and key, head and all.
    pub fn get(&self, path: &str, key: &str) -> String {
        let host = self.url.trim_start_matches("http://");
        let mut connection = TcpStream::connect(host).unwrap();
        write!(connection, "GET {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A new session.
    pub fn session(&self) -> String {
        self.session_with(&[])
    }

    /// A new session with these options.
    pub fn session_with(&self, options: &[&str]) -> String {
        let made = self.ask([&["session", "create"], options].concat());
        assert_eq!(made.code, 0, "{made}");
        made.out().trim().to_owned()
    }

    /// A key of this user's own.
    pub fn key_of(&self, user: &str) -> String {
        let made = self.ask(["key", "create", "--user", user]);
        assert_eq!(made.code, 0, "{made}");
        made.out().trim().to_owned()
    }
}

fn spawn(program: &Path, dir: &DataDir, settings: &[&str]) -> (Child, String) {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("server.log")).unwrap();
    let mut command = dir.program(program, ["serve", "--listen", "127.0.0.1:0", "--set", "pool.ready=0"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let log = || std::fs::read_to_string(dir.path().join("server.log")).unwrap_or_default();
    let url = line.trim().rsplit(' ').next().filter(|url| url.starts_with("http://"));
    let url = url.unwrap_or_else(|| panic!("the server does not start: {line}{}", log())).to_owned();
    (child, url)
}

impl Drop for Server {
    fn drop(&mut self) {
        let has_stopped = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).try_wait();
        if !has_stopped.is_ok_and(|status| status.is_some()) {
            self.stop();
        }
    }
}

/// A transcript in which whatever is another one each time has a name.
pub fn steady(answer: &Answer) -> String {
    let text = answer.to_string();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_-:.".contains(c);
    let (mut steady, mut word) = (String::new(), String::new());
    for c in text.chars().chain(['\n']) {
        if is_word(c) {
            word.push(c);
        } else {
            // What ends a sentence is no part of a name.
            let name = word.trim_end_matches([':', '.']);
            steady += named(name);
            steady += &word[name.len()..];
            word.clear();
            steady.push(c);
        }
    }
    steady.pop();
    steady
}

fn named(word: &str) -> &str {
    let hex = |prefix: &str| {
        let rest = word.strip_prefix(prefix).unwrap_or_default();
        rest.len() >= 16 && rest.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let is_time = word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    match word {
        word if word.len() == 29 && word.starts_with("exec_2") => "SESSION",
        _ if hex("x_") => "EXEC",
        _ if hex("env_") => "ENVIRONMENT",
        _ if hex("key_") => "KEY",
        _ if hex("tnr_") => "SECRET",
        _ if word.starts_with("tkt_") => "TICKET",
        _ if is_time => "TIME",
        word if word.starts_with("127.0.0.1:") && word.len() > 11 => "SERVER",
        word => word,
    }
}
