//! A server with settings and a data directory of the test's own, looked at from outside: over HTTP by `tenure`, and through the kernel's tables.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used)]

use crate::support::{Answer, PATIENCE, answer, command, wait};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server.
pub struct Own {
    /// Its data directory.
    pub dir: PathBuf,
    /// What is set, as variables.
    set: Vec<(&'static str, String)>,
    /// The mount namespace that it runs in, as a process in it; the host's where there is none.
    inside: Option<u32>,
    child: Child,
    url: String,
}

impl Own {
    /// Starts one over this directory, with these variables.
    pub fn start(dir: &Path, set: &[(&'static str, &str)]) -> Own {
        Own::start_inside(dir, set, None)
    }

    /// As [`Own::start`], in the mount namespace of this process.
    pub fn start_inside(dir: &Path, set: &[(&'static str, &str)], inside: Option<u32>) -> Own {
        let set: Vec<_> = set.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let (child, url) = spawn(dir, &set, inside);
        Own { dir: dir.to_owned(), set, inside, child, url }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory, as it is seen from here.
    pub fn seen_dir(&self) -> PathBuf {
        match self.inside {
            None => self.dir.clone(),
            Some(pid) => {
                Path::new("/proc").join(pid.to_string()).join("root").join(self.dir.strip_prefix("/").unwrap())
            }
        }
    }

    /// Its keepers.
    pub fn keepers(&self) -> Vec<u32> {
        let instances = self.instances();
        let named =
            |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "tenure-keeper\n");
        let holds = |pid: u32| {
            let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let mut links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
            links.any(|link| instances.iter().any(|uuid| link.ends_with(format!("instances/{uuid}.lock"))))
        };
        processes(|pid| named(pid) && holds(pid))
    }

    /// The agent of a session's environment, as the host numbers it.
    pub fn agent_of(&self, id: &str) -> u32 {
        // Programs of the session are children of its agent, and one that is unique leads there.
        let mark = format!("{}.{}", 100_000 + self.child.id(), id.len());
        let started = self.ask(["exec", "--background", id, "--", "sleep", &mark]);
        assert_eq!(started.code, 0, "{started}");
        let is_it = |pid: u32| cmdline(pid).trim() == format!("sleep {mark}");
        let mut found = Vec::new();
        crate::support::eventually(PATIENCE, || {
            found = processes(is_it);
            !found.is_empty()
        });
        let parent = parent_of(found[0]).unwrap();
        signal(found[0], rustix::process::Signal::KILL);
        parent
    }

    fn instances(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.seen_dir().join("instances")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| name.strip_suffix(".lock").map(str::to_owned)).collect()
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `tenure` answers to these words.
    pub fn ask<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Answer {
        answer(&mut self.tenure(words))
    }

    /// `tenure` with these words, for this server.
    pub fn tenure<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = inside(self.inside, &crate::support::binary());
        command.args(words).env("TENURE_DATA_DIR", &self.dir).env("TENURE_URL", &self.url);
        command
    }

    /// A new session with these options.
    pub fn session(&self, options: &[&str]) -> String {
        let made = self.ask([&["session", "create"], options].concat());
        assert_eq!(made.code, 0, "{made}{}", self.log());
        made.out().trim().to_owned()
    }

    /// What `tenure --json` answers to these words and this session.
    pub fn json(&self, words: &[&str], id: &str) -> Value {
        let answer = self.ask([&["--json"], words, &[id]].concat());
        assert_eq!(answer.code, 0, "{answer}{}", self.log());
        answer.json()
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(&self.dir)).unwrap_or_default()
    }

    /// Stops it in order, and says whether it did so.
    pub fn stop(&mut self) -> bool {
        signal(self.child.id(), rustix::process::Signal::TERM);
        wait(&mut self.child, PATIENCE).is_some_and(|status| status.success())
    }

    /// Starts it again, after a stop.
    pub fn start_again(&mut self) {
        (self.child, self.url) = spawn(&self.dir, &self.set, self.inside);
    }

    /// Ends what lives in it: sessions outlive their server, those of tests must not.
    fn end_all(&self) {
        let listed = self.ask(["--json", "session", "list", "--all"]);
        let Ok(listed) = serde_json::from_slice::<Value>(&listed.stdout) else { return };
        let sessions: Vec<&str> =
            listed["items"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
        for id in &sessions {
            self.ask(["session", "terminate", id]);
        }
        for id in sessions {
            let over =
                |text: String| ["gone", "none"].iter().any(|state| text.contains(&format!("\"state\":\"{state}\"")));
            let gone = || over(self.ask(["--json", "session", "get", id]).out());
            crate::support::eventually(Duration::from_secs(15), gone);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end_all();
            self.stop();
        }
        self.keepers().into_iter().for_each(|pid| signal(pid, rustix::process::Signal::KILL));
    }
}

/// The log stands beside the data directory, so that a full disk does not stop it.
fn log_of(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

/// A program in a mount namespace.
pub fn inside(inside: Option<u32>, program: &Path) -> Command {
    let mut plain = command();
    let Some(pid) = inside else { return plain };
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--target", &pid.to_string(), "--"]).arg(program);
    for (name, value) in plain.stdin(Stdio::null()).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null());
    command
}

fn spawn(dir: &Path, set: &[(&'static str, String)], namespace: Option<u32>) -> (Child, String) {
    let mut command = inside(namespace, &crate::support::binary());
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("TENURE_DATA_DIR", dir).env("TENURE_POOL_BYTES", "256M");
    command.env("TENURE_POOL_READY", "0").envs(set.iter().map(|(name, value)| (name, value)));
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log_of(dir)).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().filter(|url| url.starts_with("http://"));
    let log = || std::fs::read_to_string(log_of(dir)).unwrap_or_default();
    let url = url.unwrap_or_else(|| panic!("the server does not start: {line}{}", log())).to_owned();
    (child, url)
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The parent of a process.
pub fn parent_of(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// What a process was started with.
pub fn cmdline(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// The processes of which this is so.
pub fn processes(is_one: impl Fn(u32) -> bool) -> Vec<u32> {
    let listed = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_one(*pid)).collect()
}
