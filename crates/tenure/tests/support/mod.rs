//! What the tests of the command share: a data directory of their own, the command with a time limit, and what it answered as text.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(clippy::unwrap_used)]

pub mod server;
pub mod tmux;

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes on a slow machine; what takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory that the tests of one program share, since making a storage pool takes its time. It goes with the last test that holds it.
pub struct DataDir {
    dir: TempDir,
}

/// The tests' data directory.
pub fn data_dir() -> Arc<DataDir> {
    static SHARED: Mutex<Weak<DataDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let made = Arc::new(DataDir::new());
        *shared = Arc::downgrade(&made);
        made
    })
}

impl DataDir {
    /// A new one, on disk.
    pub fn new() -> DataDir {
        let dir = tempfile::Builder::new().prefix("tenure-cli-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        DataDir { dir }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `tenure` with these words, on this data directory.
    pub fn tenure<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        self.program(&binary(), words)
    }

    /// This `tenure` with these words, on this data directory.
    pub fn program<'a>(&self, program: &Path, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = command_of(program);
        command.args(words).env("TENURE_DATA_DIR", self.path()).env("TENURE_POOL_BYTES", "512M");
        command
    }

    /// `tenure run` with these options and this program. Who is not root cannot have every limit enforced, and says so.
    pub fn run(&self, options: &str, program: &[&str]) -> Command {
        let unenforced = (!is_root()).then_some("--allow-unenforced");
        let words = ["run"].into_iter().chain(unenforced).chain(options.split_whitespace()).chain(["--"]);
        self.tenure(words.chain(program.iter().copied()))
    }

    /// `tenure run` of a shell script.
    pub fn script(&self, options: &str, script: &str) -> Command {
        self.run(options, &["sh", "-c", script])
    }
}

/// `tenure`, free of what is set around the tests.
pub fn command() -> Command {
    command_of(&binary())
}

fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("TENURE_"));
    ours.for_each(|name| {
        command.env_remove(name);
    });
    command.env("TENURE_CONFIG", "/dev/null").env_remove("COLUMNS").stdin(Stdio::null());
    command
}

/// Where the command is.
pub fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_tenure").into()
}

/// Whether the tests have all rights.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says that a test cannot run here if it needs root.
pub fn needs_root() -> bool {
    if !is_root() {
        println!("skipped: needs root");
    }
    !is_root()
}

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit code; 128 and the signal's number if one ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Answer {
    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// Standard error as JSON.
    pub fn json_error(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stderr).unwrap_or_else(|error| panic!("{error} in {self}"))
    }
}

/// The form of a transcript: standard output, then standard error, then the exit code, each only where there is one.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.out())?;
        for line in self.err().lines() {
            writeln!(f, "{}", format!("! {line}").trim_end())?;
        }
        if self.code != 0 { writeln!(f, "[{}]", self.code) } else { Ok(()) }
    }
}

/// Runs a command to its end.
pub fn answer(command: &mut Command) -> Answer {
    answer_to(command, Vec::new())
}

/// Runs a command to its end with these bytes at its standard input, or nothing there if there are none.
pub fn answer_to(command: &mut Command, input: Vec<u8>) -> Answer {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let writer = child.stdin.take().map(|mut stdin| std::thread::spawn(move || stdin.write_all(&input)));
    let stdout = read_all(child.stdout.take().unwrap());
    let stderr = read_all(child.stderr.take().unwrap());
    let status = wait(&mut child, PATIENCE).unwrap_or_else(|| panic!("it hangs: {command:?}"));
    if let Some(writer) = writer {
        // A program that does not read its input closes it, which is its right.
        let _ = writer.join().unwrap();
    }
    Answer { code: code_of(status), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn read_all(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// A status as a shell says it.
pub fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Waits for the end of a child; kills it and says `None` when that takes too long.
pub fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// A child that does not outlive a test that fails.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again until it is so, and says whether it was in time.
pub fn eventually(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + patience;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
