//! Starting execs, and everything that is asked about one afterwards.

use crate::connection::DESCRIPTORS_MAX;
use crate::event_loop::Agent;
use crate::exec::{Exec, Kills, Phase, Start};
use crate::failure::{Failure, text_of};
use crate::input::Input;
use crate::output::{Files, Output};
use crate::poll::{Source, Token};
use crate::request::Task;
use crate::spawn::{self, Plan, Stage, duplicate, pipe, set_nonblocking};
use crate::{reaper, tty, user};
use rustix::event::epoll::EventFlags;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::{Duration, Instant};
use tenure_protocol::{
    EXECS_MAX, EXECS_PAGE, Ended, Exec as Wanted, ExecState, FRAME_MAX, FailureCode, Reply, Sink, User, WindowSize,
    Written,
};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most directories of `PATH` that are looked into.
const CANDIDATES_MAX: usize = 256;
/// Room for the message around the list of all execs.
const LIST_ENVELOPE: usize = 64;

/// The streams of a program: ours and its own.
struct Streams {
    input: Option<OwnedFd>,
    outputs: Vec<OwnedFd>,
    master: Option<OwnedFd>,
    program: [OwnedFd; 3],
}

impl Agent {
    /// Starts a program for a connection, which is attached to it; the answer comes once the program runs, or cannot.
    pub fn exec_start(&mut self, id: u64, wanted: Wanted, now: Instant) -> Result<(), Failure> {
        let files = self.take_files(id, &wanted)?;
        let listed_len = self.check_exec_id(&wanted)?;
        let user = self.exec_user(wanted.user.as_deref())?;
        let plan = self.plan(&wanted, &user)?;
        let streams = self.tenant.run(|| open_streams(&wanted)).map_err(|errno| resource_failure(errno, "streams"))?;
        let stdio = [0, 1, 2].map(|index: usize| streams.program[index].as_raw_fd());
        let oom_kills_before = self.oom_kills();
        let child = spawn::spawn(&plan, stdio).map_err(|errno| resource_failure(errno, "new process"))?;

        let key = self.fresh_id();
        let source = |fd| Source::new(&self.poller, fd, Token::Exec(key));
        let mut report = source(child.report);
        report.want(EventFlags::IN);
        let exec = Exec {
            exec_id: wanted.exec_id,
            tag: wanted.tag,
            program: wanted.cmd.into_iter().next().unwrap_or_default(),
            cwd: wanted.cwd,
            pid: child.pid,
            phase: Phase::Starting(report),
            input: Input::new(streams.input.map(source), wanted.tty.is_some()),
            output: Output::new(streams.outputs.into_iter().map(source).collect(), files, wanted.tty.is_some()),
            master: streams.master,
            attached: Some(id),
            limit: None,
            kills: Kills::default(),
            oom_kills_before,
            started: now,
            own_user: plan.identity.is_none(),
            delivered: false,
            forgotten: false,
            dead: None,
            listed_len,
        };
        self.execs.insert(key, exec);
        self.limit_begin(key, wanted.timeout_ms.map(Duration::from_millis), now);
        self.set_task(id, Task::Attached(key));
        Ok(())
    }

    /// The files that came with the message. Only regular ones: the agent writes to them itself, and must never wait.
    fn take_files(&mut self, id: u64, wanted: &Wanted) -> Result<Option<Files>, Failure> {
        let files = self.connections.get_mut(&id).map(|connection| std::mem::take(&mut connection.descriptors));
        let Sink::File { cap_bytes } = wanted.sink else { return Ok(None) };
        let files = files.unwrap_or_default();
        let due = if wanted.tty.is_some() { 1 } else { DESCRIPTORS_MAX };
        let regular = |file: &OwnedFd| {
            rustix::fs::fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
                && rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::RDONLY)
        };
        if files.len() != due || !files.iter().all(regular) {
            return Err(Failure::new(FailureCode::Invalid, format!("sink: needs {due} regular files to write to")));
        }
        Ok(Some(Files::new(files, cap_bytes)))
    }

    /// An ID is new, and the list of all execs still fits into its one message.
    fn check_exec_id(&self, wanted: &Wanted) -> Result<usize, Failure> {
        let known = || self.execs.values().filter(|exec| !exec.forgotten);
        if known().any(|exec| exec.exec_id == wanted.exec_id) {
            return Err(Failure::new(FailureCode::Exists, format!("exec {} exists", wanted.exec_id)));
        }
        let own = listed_len(&wanted.exec_id, wanted.tag.as_deref());
        let listed = known().map(|exec| exec.listed_len).sum::<usize>() + own + LIST_ENVELOPE;
        if self.execs.len() >= EXECS_MAX || listed > FRAME_MAX {
            return Err(Failure::new(FailureCode::Limit, "too many execs: forget some that have ended"));
        }
        Ok(own)
    }

    /// The user to run as. Never the agent's own where there is another: it could signal the agent.
    fn exec_user(&self, wanted: Option<&str>) -> Result<User, Failure> {
        let Some(wanted) = wanted else { return Ok(self.boot.user.clone()) };
        let user = self.tenant.run(|| user::find(wanted, &self.boot.user))?;
        if user.uid == rustix::process::getuid().as_raw() && user.uid != self.boot.user.uid {
            return Err(Failure::new(FailureCode::Denied, format!("user {wanted} is reserved")));
        }
        Ok(user)
    }

    fn plan(&self, wanted: &Wanted, user: &User) -> Result<Plan, Failure> {
        let mut env = BTreeMap::from([
            ("PATH", PATH),
            ("HOME", &user.home),
            ("USER", &user.name),
            ("LOGNAME", &user.name),
            ("LANG", "C.UTF-8"),
        ]);
        if wanted.tty.is_some() {
            env.insert("TERM", "xterm-256color");
        }
        let bound = self.binding.iter().flat_map(|binding| &binding.env);
        env.extend(bound.chain(&wanted.env).map(|(name, value)| (name.as_str(), value.as_str())));
        let search = env.get("PATH").copied().unwrap_or(PATH);
        let env = env.iter().map(|(name, value)| c_string(format!("{name}={value}"))).collect::<Result<_, _>>()?;
        let other = user.uid != rustix::process::getuid().as_raw() || user.gid != rustix::process::getgid().as_raw();
        Ok(Plan {
            candidates: candidates(&wanted.cmd[0], search)?,
            args: wanted.cmd.iter().map(|word| c_string(word.as_str())).collect::<Result<_, _>>()?,
            env,
            cwd: c_string(wanted.cwd.as_str())?,
            identity: other.then(|| self.tenant.run(|| user::identity(user))),
            rlimits: self.boot.rlimits.clone(),
            terminal: wanted.tty.is_some(),
        })
    }

    /// One turn of an exec: its start, its bytes, its end.
    pub fn exec_turn(&mut self, key: u64, now: Instant) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        let mut peer = exec.attached.and_then(|id| self.connections.get_mut(&id));
        let unsent = peer.as_ref().map_or(0, |peer| peer.out.len());
        match exec.check_start() {
            Start::NotYet => return,
            Start::Failed(stage, errno) => return self.exec_failed(key, stage, errno),
            Start::Began => {
                if exec.own_user && exec.alive() {
                    spawn::raise_oom_score_of(exec.pid);
                }
                if let Some(peer) = &mut peer {
                    peer.out.reply(&exec.started_reply());
                }
            }
            Start::Runs => {}
        }
        let out = peer.as_deref_mut().map(|peer| &mut peer.out);
        let oom = &self.oom;
        let told = exec.pump(out, &mut self.scratch, now, || reaper::oom_kills(oom));
        if let (Some(id), Some(peer)) = (exec.attached, peer) {
            let can_feed = peer.stalled.is_some() && exec.input.has_room();
            if peer.out.len() != unsent || can_feed {
                self.ready_connections.insert(id);
            }
            if told {
                exec.attached = None;
                self.become_idle(id, None);
            }
        }
        if self.execs.get(&key).is_some_and(|exec| exec.forgotten && exec.output.closed()) {
            self.execs.remove(&key);
        }
    }

    /// The child could not become the program.
    fn exec_failed(&mut self, key: u64, stage: Stage, errno: Errno) {
        let Some(exec) = self.execs.remove(&key) else { return };
        let Some(id) = exec.attached else { return };
        self.become_idle(id, Some(start_failure(stage, errno, &exec).reply()));
    }

    /// Attaches a connection to an exec; whoever was attached is told and freed.
    pub fn exec_attach(&mut self, id: u64, exec_id: &str) -> Result<Option<Reply>, Failure> {
        let key = self.exec_find(exec_id)?;
        let Some(exec) = self.execs.get_mut(&key) else { return Ok(None) };
        let previous = exec.attached.replace(id);
        let started = (!matches!(exec.phase, Phase::Starting(_))).then(|| exec.started_reply());
        if let Some(previous) = previous {
            let failure = Failure::new(FailureCode::OutOfTurn, "taken over by another connection");
            self.become_idle(previous, Some(failure.reply()));
        }
        self.set_task(id, Task::Attached(key));
        Ok(started)
    }

    /// The connection wants no more of the exec, which goes on.
    pub fn exec_detach(&mut self, key: u64, id: u64) {
        if let Some(exec) = self.execs.get_mut(&key)
            && exec.attached == Some(id)
        {
            exec.attached = None;
            self.ready_execs.insert(key);
        }
    }

    fn exec_find(&self, exec_id: &str) -> Result<u64, Failure> {
        let found = self.execs.iter().find(|(_, exec)| exec.exec_id == exec_id && !exec.forgotten);
        found.map(|(key, _)| *key).ok_or_else(|| Failure::new(FailureCode::NoSuchExec, format!("no exec {exec_id}")))
    }

    /// Signals an exec by its ID. One that has ended is past being signalled.
    pub fn exec_signal(&mut self, exec_id: &str, signal: i32) -> Result<(), Failure> {
        let key = self.exec_find(exec_id)?;
        if !self.execs.get(&key).is_some_and(Exec::alive) {
            return Err(Failure::new(FailureCode::OutOfTurn, format!("exec {exec_id} has ended")));
        }
        self.exec_kill(key, signal);
        Ok(())
    }

    /// A page of the execs that nobody asked to forget, in order of their start.
    pub fn exec_list(&self, after: Option<&str>) -> Result<Reply, Failure> {
        let first = after.map_or(Ok(0), |after| self.exec_find(after).map(|key| key + 1))?;
        let mut left = self.execs.range(first..).map(|(_, exec)| exec).filter(|exec| !exec.forgotten);
        let execs = left.by_ref().take(EXECS_PAGE).map(Exec::state).collect();
        Ok(Reply::Execs { execs, more: left.next().is_some() })
    }

    /// Forgets an ended exec. What it left behind can go on writing.
    pub fn exec_forget(&mut self, exec_id: &str) -> Result<(), Failure> {
        let key = self.exec_find(exec_id)?;
        let Some(exec) = self.execs.get_mut(&key) else { return Ok(()) };
        if exec.ended().is_none() {
            return Err(Failure::new(FailureCode::OutOfTurn, format!("exec {exec_id} has not ended")));
        }
        exec.forgotten = true;
        self.ready_execs.insert(key);
        Ok(())
    }
}

impl Exec {
    /// Another window size; without a terminal there is none.
    pub fn resize(&self, size: WindowSize) {
        if let Some(master) = &self.master {
            let _ = tty::resize(master, size);
        }
    }
}

/// How long an exec's line in the list can get.
fn listed_len(exec_id: &str, tag: Option<&str>) -> usize {
    let most = Written { bytes: u64::MAX, dropped: u64::MAX };
    let ended = Ended {
        exit_code: Some(i32::MIN),
        signal: None,
        timed_out: false,
        oom_killed: false,
        not_started: None,
        output: most,
        error: most,
        room_bytes: u64::MAX,
        duration_ms: u64::MAX,
    };
    let state = ExecState {
        exec_id: exec_id.into(),
        pid: u32::MAX,
        tag: tag.map(Into::into),
        ended: Some(ended),
        room_bytes: Some(u64::MAX),
    };
    serde_json::to_vec(&state).map_or(FRAME_MAX, |text| text.len() + 1)
}

fn c_string(text: impl Into<Vec<u8>>) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::new(FailureCode::Invalid, "cmd: must have no NUL"))
}

/// Where a program may be: at its path, or in the directories of `PATH`; an empty one is the working directory.
fn candidates(program: &str, search: &str) -> Result<Vec<CString>, Failure> {
    if program.contains('/') {
        return Ok(vec![c_string(program)?]);
    }
    let directories = search.split(':').take(CANDIDATES_MAX);
    directories
        .map(|directory| c_string(format!("{}/{program}", if directory.is_empty() { "." } else { directory })))
        .collect()
}

/// Opens the streams with the tenant's rights, so that the program can open its own `/dev/stdout` again.
fn open_streams(wanted: &Wanted) -> Result<Streams, Errno> {
    if let Some(size) = wanted.tty {
        let (master, slave) = tty::open(size)?;
        set_nonblocking(&master)?;
        return Ok(Streams {
            input: Some(duplicate(&master)?),
            outputs: vec![duplicate(&master)?],
            program: [duplicate(&slave)?, duplicate(&slave)?, slave],
            master: Some(master),
        });
    }
    let (input, stdin) = if wanted.stdin {
        let (read, write) = pipe()?;
        set_nonblocking(&write)?;
        (Some(write), read)
    } else {
        (None, rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    };
    let (output, stdout) = pipe()?;
    let (error, stderr) = pipe()?;
    set_nonblocking(&output)?;
    set_nonblocking(&error)?;
    Ok(Streams { input, outputs: vec![output, error], master: None, program: [stdin, stdout, stderr] })
}

fn resource_failure(errno: Errno, what: &str) -> Failure {
    match errno {
        Errno::NOSPC => Failure::new(FailureCode::Limit, format!("{what}: no terminal left")),
        errno => Failure::of(errno, what),
    }
}

fn start_failure(stage: Stage, errno: Errno, exec: &Exec) -> Failure {
    let Exec { program, cwd, .. } = exec;
    match (stage, errno) {
        (Stage::Directory, Errno::NOENT) => {
            Failure::new(FailureCode::NotFound, format!("working directory {cwd} does not exist"))
        }
        (Stage::Directory, errno) => Failure::of(errno, &format!("working directory {cwd}")),
        (Stage::Program, Errno::NOENT) => Failure::new(
            FailureCode::NotFound,
            format!("program {program} does not exist, or its interpreter does not"),
        ),
        (Stage::Program, errno) => Failure::of(errno, &format!("program {program}")),
        (Stage::User, Errno::PERM | Errno::INVAL) => {
            Failure::new(FailureCode::NoSuchUser, format!("the environment has no such user: {}", text_of(errno)))
        }
        (Stage::Streams | Stage::Limits | Stage::User, errno) => Failure::of(errno, "new process"),
    }
}
