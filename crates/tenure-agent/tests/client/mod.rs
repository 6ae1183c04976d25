//! A small blocking manager for tests: starts the agent as an ordinary process with its descriptors in place, proves the key, talks.

// Not every test file uses all of it; descriptors are put in place between fork and exec.
#![allow(dead_code, unsafe_code, missing_docs, clippy::unwrap_used, clippy::panic)]

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tenure_protocol::*;

/// Longer than anything here takes, however busy the host is.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const KEY: Key = Key([42; 32]);
pub const ENVIRONMENT: &str = "env_test";

/// How an agent is started.
pub struct Options {
    pub dies_with_keeper: bool,
    pub grace_ms: u64,
    pub oom: Option<std::fs::File>,
    pub bind: bool,
    /// As PID 1 of a namespace, under the agent's own user and with its three capabilities; needs root.
    pub init: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { dies_with_keeper: false, grace_ms: 300, oom: None, bind: true, init: false }
    }
}

/// A running agent. Ends it, and all it started, when dropped.
pub struct Agent {
    pub child: Child,
    pub control: Option<UnixStream>,
    pub directory: tempfile::TempDir,
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// As root another user, so that the switch is part of every test.
pub fn user() -> User {
    let id = |own: u32| if is_root() { 1000 } else { own };
    User {
        uid: id(rustix::process::getuid().as_raw()),
        gid: id(rustix::process::getgid().as_raw()),
        name: "tenant".into(),
        home: "/tmp".into(),
    }
}

fn boot_file(options: &Options) -> std::fs::File {
    let boot = Boot {
        environment: ENVIRONMENT.into(),
        key: KEY,
        socket: "boot.socket".into(),
        dies_with_keeper: options.dies_with_keeper,
        user: user(),
        grace_ms: options.grace_ms,
        rlimits: vec![(libc::RLIMIT_NOFILE, 256), (libc::RLIMIT_CORE, 0)],
    };
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&serde_json::to_vec(&boot).unwrap()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

fn plain_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure-agent"));
    command.arg0("tenure-agent:test");
    command
}

/// The agent's user inside an environment.
pub const AGENT_UID: u32 = 65535;

/// Namespaces and rights as inside an environment, made with the tools that every distribution has.
fn init_command(directory: &Path) -> Command {
    let program = directory.join("agent");
    std::fs::copy(env!("CARGO_BIN_EXE_tenure-agent"), &program).unwrap();
    std::os::unix::fs::chown(directory, Some(AGENT_UID), Some(AGENT_UID)).unwrap();
    let capabilities = "-all,+setuid,+setgid,+kill";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "setpriv"]);
    command.args(["--reuid", "65535", "--regid", "65535", "--clear-groups"]);
    command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities, "--bounding-set", capabilities]);
    command.arg("--no-new-privs").arg(program);
    command
}

impl Agent {
    pub fn start() -> Agent {
        Agent::start_with(Options::default())
    }

    pub fn start_with(options: Options) -> Agent {
        let directory = tempfile::tempdir().unwrap();
        // The tenant works in the same directory, under another name.
        std::fs::create_dir(directory.path().join("work")).unwrap();
        let user = user();
        std::os::unix::fs::chown(directory.path().join("work"), Some(user.uid), Some(user.gid)).unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (control, agents_control) = UnixStream::pair().unwrap();
        let boot = boot_file(&options);
        let socket_directory = std::fs::File::open(directory.path()).unwrap();
        let mut sources = vec![(boot.as_raw_fd(), BOOT_FD)];
        sources.push((socket_directory.as_raw_fd(), SOCKET_DIR_FD));
        sources.push((agents_control.as_raw_fd(), CONTROL_FD));
        sources.extend(options.oom.iter().map(|file| (file.as_raw_fd(), OOM_FD)));
        let mut command = if options.init { init_command(directory.path()) } else { plain_command() };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: duplicates descriptors by number, allocates nothing.
        unsafe {
            command.pre_exec(move || {
                let mut copies = [-1; 4];
                for (index, (source, _)) in sources.iter().enumerate() {
                    copies[index] = libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, 20);
                }
                for number in BOOT_FD..=OOM_FD {
                    libc::close(number);
                }
                for (index, (_, target)) in sources.iter().enumerate() {
                    libc::dup2(copies[index], *target);
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(agents_control);
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        (&control).read_exact(&mut [0]).expect("the agent says that it listens");
        let agent = Agent { child, control: Some(control), directory };
        if options.bind {
            agent.connect().bind(None);
        }
        agent
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("boot.socket")
    }

    /// A directory that belongs to the tenant.
    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    pub fn path(&self, name: &str) -> String {
        self.work().join(name).to_str().unwrap().to_owned()
    }

    /// A connection that has said nothing yet.
    pub fn dial(&self) -> Connection {
        Connection::new(UnixStream::connect(self.socket()).unwrap())
    }

    /// A connection that has proven itself.
    pub fn connect(&self) -> Connection {
        let mut connection = self.dial();
        connection.handshake(KEY).expect("the handshake succeeds");
        connection
    }

    pub fn exec(&self, words: &[&str]) -> Wanted {
        Wanted(Exec {
            exec_id: fresh_name(),
            cmd: words.iter().map(|word| (*word).to_owned()).collect(),
            cwd: self.work().to_str().unwrap().to_owned(),
            env: Default::default(),
            user: None,
            tag: None,
            timeout_ms: None,
            stdin: false,
            tty: None,
            sink: Sink::Frames,
        })
    }

    pub fn shell(&self, script: &str) -> Wanted {
        self.exec(&["/bin/sh", "-c", script])
    }

    /// Runs a program to its end with all it prints.
    pub fn run(&self, wanted: Wanted) -> Outcome {
        let mut connection = self.connect();
        connection.send(&Request::Exec(wanted.0));
        connection.outcome()
    }

    /// Waits for the agent's own end.
    pub fn exit_status(&mut self) -> std::process::ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the agent does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.is_running()
            && let Ok(socket) = UnixStream::connect(self.socket())
        {
            let mut connection = Connection::new(socket);
            if connection.handshake(KEY).is_some() {
                connection.send(&Request::Shutdown { grace_ms: 0 });
                let _ = connection.try_frame();
            }
        }
        for _ in 0..1000 {
            if !self.is_running() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn fresh_name() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    format!("exec_{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

/// An exec to be, built up step by step.
#[derive(Clone)]
pub struct Wanted(pub Exec);

impl Wanted {
    pub fn with(mut self, change: impl FnOnce(&mut Exec)) -> Wanted {
        change(&mut self.0);
        self
    }
    pub fn stdin(self) -> Wanted {
        self.with(|exec| exec.stdin = true)
    }
    pub fn tty(self, rows: u16, cols: u16) -> Wanted {
        self.with(|exec| exec.tty = Some(WindowSize { rows, cols }))
    }
    pub fn timeout(self, ms: u64) -> Wanted {
        self.with(|exec| exec.timeout_ms = Some(ms))
    }
    pub fn files(self, cap_bytes: u64) -> Wanted {
        self.with(|exec| exec.sink = Sink::File { cap_bytes })
    }
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Outcome {
    pub pid: u32,
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    pub ended: Ended,
}

impl Outcome {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// One connection.
pub struct Connection {
    pub socket: UnixStream,
    decoder: Decoder,
}

impl Connection {
    pub fn new(socket: UnixStream) -> Connection {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Connection { socket, decoder: Decoder::new() }
    }

    /// Proves a key; `None` where the agent closed the connection.
    pub fn handshake(&mut self, key: Key) -> Option<Challenge> {
        let nonce = Nonce([9; 32]);
        self.try_send(&Hello { version_min: VERSION_MIN, version_max: VERSION_MAX, nonce }).ok()?;
        let challenge: Challenge = self.try_frame()?.message().ok()?;
        let transcript = Transcript {
            version: challenge.version,
            manager: &nonce,
            agent: &challenge.nonce,
            environment: &challenge.environment,
            generation: challenge.generation,
        };
        assert!(transcript.verify(&KEY, Side::Agent, &challenge.proof), "the agent proves itself");
        self.try_send(&Prove { proof: transcript.prove(&key, Side::Manager) }).ok()?;
        (self.try_frame()?.message::<Reply>().ok()? == Reply::Welcome).then_some(challenge)
    }

    pub fn bind(&mut self, deadline_boot_ms: Option<u64>) {
        let env = [("GREETING".to_owned(), "hello".to_owned())].into();
        assert_eq!(self.ask(&Request::Bind { environment: None, generation: 7, deadline_boot_ms, env }), Reply::Done);
    }

    pub fn try_send<T: serde::Serialize>(&mut self, message: &T) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        encode_message(message, &mut bytes).unwrap();
        self.socket.write_all(&bytes)
    }

    pub fn send<T: serde::Serialize>(&mut self, message: &T) {
        self.try_send(message).unwrap();
    }

    pub fn send_with_files<T: serde::Serialize>(&mut self, message: &T, files: &[BorrowedFd<'_>]) {
        let mut bytes = Vec::new();
        encode_message(message, &mut bytes).unwrap();
        let mut space = [MaybeUninit::uninit(); 256];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(files)));
        let sent =
            rustix::net::sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).unwrap();
        self.socket.write_all(&bytes[sent..]).unwrap();
    }

    pub fn data(&mut self, bytes: &[u8]) {
        let mut wire = Vec::new();
        encode_data(Stream::Input, bytes, &mut wire);
        self.socket.write_all(&wire).unwrap();
    }

    /// The next frame, or `None` where the agent closed the connection.
    pub fn try_frame(&mut self) -> Option<Frame> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("the agent sends whole frames") {
                return Some(frame);
            }
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.decoder.push(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the agent does not answer"),
                Err(_) => return None,
            }
        }
    }

    pub fn frame(&mut self) -> Frame {
        self.try_frame().expect("the connection is open")
    }

    pub fn reply(&mut self) -> Reply {
        self.frame().message().unwrap()
    }

    pub fn ask(&mut self, request: &Request) -> Reply {
        self.send(request);
        self.reply()
    }

    /// Asks for something that fails.
    pub fn refused(&mut self, request: &Request) -> FailureCode {
        match self.ask(request) {
            Reply::Failed { code, .. } => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn is_closed(&mut self) -> bool {
        self.try_frame().is_none()
    }

    pub fn started(&mut self) -> u32 {
        match self.reply() {
            Reply::Started { pid } => pid,
            other => panic!("not started: {other:?}"),
        }
    }

    pub fn start(&mut self, wanted: &Wanted) -> u32 {
        self.send(&Request::Exec(wanted.0.clone()));
        self.started()
    }

    /// Starts an exec whose output goes to two files; gives back the files.
    pub fn start_into_files(&mut self, wanted: &Wanted, directory: &Path) -> Vec<PathBuf> {
        let names = if wanted.0.tty.is_some() { &["out"][..] } else { &["out", "err"] };
        let paths: Vec<PathBuf> =
            names.iter().map(|name| directory.join(format!("{}.{name}", wanted.0.exec_id))).collect();
        let files: Vec<OwnedFd> = paths.iter().map(|path| std::fs::File::create(path).unwrap().into()).collect();
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        self.send_with_files(&Request::Exec(wanted.0.clone()), &borrowed);
        self.started();
        paths
    }

    /// Everything until the exec has ended, from its start.
    pub fn outcome(&mut self) -> Outcome {
        let pid = self.started();
        self.rest(pid)
    }

    /// Everything until the exec has ended.
    pub fn rest(&mut self, pid: u32) -> Outcome {
        let (mut output, mut error) = (Vec::new(), Vec::new());
        loop {
            match self.frame() {
                Frame::Data(Stream::Output, bytes) => output.extend(bytes),
                Frame::Data(Stream::Error, bytes) => error.extend(bytes),
                Frame::Data(Stream::Input, _) => panic!("input from the agent"),
                frame => match frame.message().unwrap() {
                    Reply::Exited(ended) => return Outcome { pid, output, error, ended },
                    Reply::Progress { .. } => {}
                    other => panic!("not an event of an exec: {other:?}"),
                },
            }
        }
    }

    /// Reads output until it holds some text.
    pub fn output_until(&mut self, wanted: &str) -> String {
        let mut seen = String::new();
        while !seen.contains(wanted) {
            match self.frame() {
                Frame::Data(Stream::Output, bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("no output: {other:?}, seen so far: {seen}"),
            }
        }
        seen
    }

    /// Stream data up to the message that follows it.
    pub fn body(&mut self) -> (Vec<u8>, Reply) {
        let mut body = Vec::new();
        loop {
            match self.frame() {
                Frame::Data(_, bytes) => body.extend(bytes),
                frame => return (body, frame.message().unwrap()),
            }
        }
    }
}

/// Milliseconds of the clock that deadlines are given in.
pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process lives; a zombie does not.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Signals a process that a test started and did not wait for.
pub fn signal(pid: u32, signal: i32) {
    assert!(pid > 1);
    // SAFETY: plain numbers; the process is not yet reaped.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}
