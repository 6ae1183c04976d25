//! clone3, pidfds and what they tell about the end of a process.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use super::check;

/// All namespaces an environment has.
pub const ALL_NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWNET) as u64;

/// The time namespace; its bit is a signal number for every call but clone3 and unshare.
pub const NEW_TIME: u64 = 0x80;
/// The child becomes a sibling: its parent is the caller's parent.
pub const SIBLING: u64 = libc::CLONE_PARENT as u64;
const INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A child and the descriptor that stands for it.
#[derive(Debug)]
pub struct Child {
    /// Its number in the caller's PID namespace.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

/// Starts a child that runs `work` and exits with what it returns.
///
/// `work` must keep to calls that are safe after a fork: the child has one thread and whatever locks the others held.
///
/// # Errors
/// Those of clone3.
pub fn spawn(flags: u64, cgroup: Option<&File>, work: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut pidfd: RawFd = -1;
    let exit_signal = if flags & SIBLING == 0 { libc::SIGCHLD as u64 } else { 0 };
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal,
        ..CloneArgs::default()
    };
    if let Some(group) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: `args` is laid out as `clone_args`; without CLONE_VM the child has its own copy of this stack.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        let code = work();
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(code) }
    }
    // SAFETY: the kernel just gave this descriptor and nobody else has it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: pid as i32, pidfd })
}

/// Starts a child through the C library's `fork`.
///
/// # Errors
/// Those of fork and pidfd_open.
pub fn fork(work: impl FnOnce() -> i32) -> io::Result<Child> {
    // SAFETY: the child keeps to `work` and `_exit`.
    let pid = check(unsafe { libc::fork() }.into())? as i32;
    if pid == 0 {
        let code = work();
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(code) }
    }
    Ok(Child { pid, pidfd: pidfd_open(pid)? })
}

/// A descriptor for a process.
///
/// # Errors
/// ESRCH when there is none.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel just gave this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Kills the process behind `pidfd`.
///
/// # Errors
/// ESRCH when it has been reaped.
pub fn kill(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null `siginfo` asks for the default one.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, none, 0) }).map(drop)
}

/// Reaps a child: `(code, status)` as of `waitid`.
///
/// # Errors
/// ECHILD when it is not a child of the caller.
pub fn reap(pidfd: BorrowedFd<'_>) -> io::Result<(i32, i32)> {
    wait(pidfd, libc::WEXITED)
}

/// As [`reap`], without waiting; `(0, 0)` while the child runs.
///
/// # Errors
/// ECHILD when it is not a child of the caller.
pub fn reap_now(pidfd: BorrowedFd<'_>) -> io::Result<(i32, i32)> {
    wait(pidfd, libc::WEXITED | libc::WNOHANG)
}

fn wait(pidfd: BorrowedFd<'_>, options: i32) -> io::Result<(i32, i32)> {
    // SAFETY: `siginfo_t` holds integers only, for which zero is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` lives over the call.
    let done = unsafe { libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as u32, &raw mut info, options) };
    check(done.into())?;
    // SAFETY: after WEXITED these fields are those of a child's end, or zero.
    Ok((info.si_code, unsafe { info.si_status() }))
}

/// Waits until `fd` is readable or at its end, for at most `bound`.
///
/// # Errors
/// Those of poll.
pub fn readable(fd: BorrowedFd<'_>, bound: Duration) -> io::Result<bool> {
    let mut one = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live `pollfd`.
    let ready = check(unsafe { libc::poll(&raw mut one, 1, bound.as_millis() as i32) }.into())?;
    Ok(ready > 0)
}

#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// What the kernel tells any holder of a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PidfdInfoAnswer {
    /// Alive or not yet reaped, with its parent.
    Unreaped {
        /// The parent as the caller sees it.
        parent: u32,
    },
    /// Reaped; the wait status of its end.
    Ended {
        /// As of `wait`.
        status: i32,
    },
}

/// Asks the kernel (6.13 and newer; the end since 6.15) about the process behind `pidfd`.
///
/// # Errors
/// ENOTTY on older kernels, ESRCH when it is gone and the end is not known.
pub fn pidfd_info(pidfd: BorrowedFd<'_>) -> io::Result<PidfdInfoAnswer> {
    const GET_INFO: u64 = 3 << 30 | (size_of::<PidfdInfo>() as u64) << 16 | 0xFF << 8 | 11;
    const EXIT: u64 = 8;
    let mut info = PidfdInfo { mask: 1 | EXIT, ..PidfdInfo::default() };
    // SAFETY: `info` is laid out as `pidfd_info` in its first version and lives over the call.
    check(unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO, &raw mut info) }.into())?;
    Ok(match info.mask & EXIT {
        0 => PidfdInfoAnswer::Unreaped { parent: info.ppid },
        _ => PidfdInfoAnswer::Ended { status: info.exit_code },
    })
}

/// Asks until the end is known, for at most `bound`, and says how long that took.
///
/// # Errors
/// Those of [`pidfd_info`], or that the bound has passed.
pub fn wait_for_end(pidfd: BorrowedFd<'_>, bound: Duration) -> io::Result<(i32, Duration)> {
    let start = Instant::now();
    loop {
        if let PidfdInfoAnswer::Ended { status } = pidfd_info(pidfd)? {
            return Ok((status, start.elapsed()));
        }
        if start.elapsed() > bound {
            return Err(io::Error::other("not reaped in time"));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
