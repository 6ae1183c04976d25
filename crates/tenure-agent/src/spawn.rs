//! The only fork: from a prepared plan to a running program of the tenant.
//!
//! Everything is prepared before the fork; between fork and exec the child makes system calls and nothing else, since it is a copy of a
//! process in the middle of its work. A pipe that closes at exec tells the parent how far the child came: its end without a byte means
//! that the program runs.

use rustix::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::{CStr, CString};

/// How far a child came that could not become the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// Session, standard streams, terminal.
    Streams = 1,
    /// A resource limit.
    Limits = 2,
    /// User and groups.
    User = 3,
    /// The working directory.
    Directory = 4,
    /// The program itself.
    Program = 5,
}

impl Stage {
    fn from_code(code: u32) -> Stage {
        match code {
            1 => Stage::Streams,
            2 => Stage::Limits,
            3 => Stage::User,
            4 => Stage::Directory,
            _ => Stage::Program,
        }
    }
}

/// Length of a report through the pipe: the stage and the error number.
pub const REPORT_LEN: usize = 8;

/// Reads what a child reported.
pub fn parse_report(report: [u8; REPORT_LEN]) -> (Stage, Errno) {
    let [a, b, c, d, e, f, g, h] = report;
    let errno = i32::from_ne_bytes([e, f, g, h]);
    (Stage::from_code(u32::from_ne_bytes([a, b, c, d])), Errno::from_raw_os_error(errno.clamp(1, 4095)))
}

/// A user to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// All that the child needs.
#[derive(Debug)]
pub struct Plan {
    /// Paths to try, in the order of `PATH`.
    pub candidates: Vec<CString>,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub cwd: CString,
    /// `None` where there is only the agent's own user.
    pub identity: Option<Identity>,
    pub rlimits: Vec<(u32, u64)>,
    pub terminal: bool,
}

/// A child on its way to its program.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    /// Where it reports.
    pub report: OwnedFd,
}

/// Value for the program's `oom_score_adj`: the kernel shall take a program, never the agent.
pub const OOM_SCORE: &[u8] = b"500";

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Starts a program on these standard streams.
pub fn spawn(plan: &Plan, stdio: [RawFd; 3]) -> Result<Child, Errno> {
    let (report, child_report) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let prepared = Prepared {
        plan,
        stdio,
        report: child_report.as_raw_fd(),
        args: pointers(&plan.args),
        env: pointers(&plan.env),
    };
    // SAFETY: this process has one thread, so the child is a whole copy of it; it runs `become_program`, which makes only
    // async-signal-safe calls, allocates nothing, and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::AGAIN)),
        0 => become_program(&prepared),
        pid => Ok(Child { pid, report }),
    }
}

struct Prepared<'a> {
    plan: &'a Plan,
    stdio: [RawFd; 3],
    report: RawFd,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
}

fn errno() -> i32 {
    // SAFETY: the location of this thread's errno is always valid.
    unsafe { *libc::__errno_location() }
}

/// Checks a system call's answer.
fn sys(result: libc::c_long) -> Result<(), i32> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

fn become_program(prepared: &Prepared<'_>) -> ! {
    let (stage, errno) = match try_become(prepared) {
        Err(failed) => failed,
        Ok(never) => match never {},
    };
    let mut report = [0; REPORT_LEN];
    report[..4].copy_from_slice(&(stage as u32).to_ne_bytes());
    report[4..].copy_from_slice(&errno.to_ne_bytes());
    // SAFETY: writes from a live array to our own descriptor, then ends without running any of the parent's destructors.
    unsafe {
        libc::write(prepared.report, report.as_ptr().cast(), report.len());
        libc::_exit(127)
    }
}

fn try_become(prepared: &Prepared<'_>) -> Result<std::convert::Infallible, (Stage, i32)> {
    let plan = prepared.plan;
    take_streams(prepared).map_err(|errno| (Stage::Streams, errno))?;
    if plan.identity.is_some() {
        raise_oom_score();
    }
    apply_rlimits(&plan.rlimits).map_err(|errno| (Stage::Limits, errno))?;
    if let Some(identity) = &plan.identity {
        take_identity(identity).map_err(|errno| (Stage::User, errno))?;
    }
    drop_capabilities().map_err(|errno| (Stage::User, errno))?;
    // SAFETY: `cwd` is a live C string; the other call takes a number.
    unsafe {
        libc::umask(0o022);
        sys(libc::chdir(plan.cwd.as_ptr()).into()).map_err(|errno| (Stage::Directory, errno))?;
    }
    reset_signals();
    Err((Stage::Program, exec_first(prepared)))
}

/// A session of its own, the streams in place, the terminal taken, every other descriptor closed at exec.
fn take_streams(prepared: &Prepared<'_>) -> Result<(), i32> {
    // SAFETY: plain calls on numbers. The sources lie above 2, so no copy overwrites one that is still needed.
    unsafe {
        sys(libc::setsid().into())?;
        for (target, source) in prepared.stdio.iter().enumerate() {
            sys(libc::dup2(*source, target as i32).into())?;
        }
        if prepared.plan.terminal {
            sys(libc::ioctl(0, libc::TIOCSCTTY, 0).into())?;
        }
        // Every descriptor is close-on-exec already where it is made; this is the second lock (kernels before 5.11 lack it).
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

/// Best effort. The file belongs to this user only while the process is dumpable; nobody of the tenant can look in then, as the user is still
/// the agent's.
fn raise_oom_score() {
    // SAFETY: live C string and array; plain numbers.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, OOM_SCORE.as_ptr().cast(), OOM_SCORE.len());
            libc::close(file);
        }
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
    }
}

/// A limit above what this process may have becomes what it may have.
fn apply_rlimits(rlimits: &[(u32, u64)]) -> Result<(), i32> {
    for (resource, value) in rlimits {
        // SAFETY: both structures are live locals; a resource the kernel does not know fails with EINVAL.
        unsafe {
            let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            sys(libc::getrlimit(*resource as _, &raw mut now).into())?;
            let wanted = (*value).min(now.rlim_max);
            let limit = libc::rlimit { rlim_cur: wanted, rlim_max: wanted };
            sys(libc::setrlimit(*resource as _, &raw const limit).into())?;
        }
    }
    Ok(())
}

fn take_identity(identity: &Identity) -> Result<(), i32> {
    let Identity { uid, gid, groups } = identity;
    // SAFETY: raw calls, as the C library's would signal other threads; the group list is live for its length.
    unsafe {
        sys(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        sys(libc::syscall(libc::SYS_setresgid, *gid, *gid, *gid))?;
        sys(libc::syscall(libc::SYS_setresuid, *uid, *uid, *uid))
    }
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// No capability in any set, and none to be had from a file.
fn drop_capabilities() -> Result<(), i32> {
    let header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: the header and the two empty sets of three words each are live and of the layout that version 3 asks for.
    unsafe {
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        sys(libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()))
    }
}

/// Default disposition for every signal, none blocked. The C library would not let us reset the signals it keeps for itself.
fn reset_signals() {
    const SIGNAL_MAX: libc::c_int = 64;
    const SET_BYTES: usize = 8;
    // Longer than the kernel's structure, and all zero: the default disposition, no flags, an empty mask.
    let default = [0u64; 8];
    // SAFETY: the structure and the set are live and initialised; signals that cannot be reset refuse, harmlessly.
    unsafe {
        for signal in 1..=SIGNAL_MAX {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, SET_BYTES);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Tries every candidate; comes back with what says most about why none of them ran.
fn exec_first(prepared: &Prepared<'_>) -> i32 {
    let mut denied = false;
    for candidate in &prepared.plan.candidates {
        match exec_one(candidate, prepared) {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => denied = true,
            other => return other,
        }
    }
    if denied { libc::EACCES } else { libc::ENOENT }
}

fn exec_one(path: &CStr, prepared: &Prepared<'_>) -> i32 {
    // SAFETY: the path and both arrays are live and end with NUL and a null pointer, respectively.
    unsafe {
        libc::execve(path.as_ptr(), prepared.args.as_ptr(), prepared.env.as_ptr());
    }
    errno()
}

/// Raises the score of a program that runs as the agent's own user. No child can do that for itself without being open to the tenant for a
/// moment, key and all; so it is done from here, and what the program starts in its first instant may miss it.
pub fn raise_oom_score_of(pid: i32) {
    let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
}

/// A pipe's two ends, both close-on-exec; blocking, as a program expects them.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    pipe_with(PipeFlags::CLOEXEC)
}

/// Makes our side of a pipe or terminal non-blocking.
pub fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)
}

/// A copy of a descriptor, above the standard streams.
pub fn duplicate(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

/// Takes a descriptor that was handed over at exec, if it is open.
pub fn inherited(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: asks about a number only.
    let open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    // SAFETY: the descriptor is open, was handed over for exactly this use, and nothing else in this process owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}
