//! The few system calls that no library wraps: clone3, mount_setattr, capset and some prctls. Everything else goes through `rustix`.
#![allow(unsafe_code)]

use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `CLONE_INTO_CGROUP` of `linux/sched.h`, which does not fit the library's type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Turns the return value of a raw system call into a result.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result >= 0 { Ok(result) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// What [`clone3`] returns, in each of the two processes.
pub enum Cloned {
    /// In the parent: the child's process ID and a descriptor that names exactly this process.
    Parent {
        /// Process ID as the caller sees it.
        pid: i32,
        /// Process descriptor, close-on-exec.
        pidfd: OwnedFd,
    },
    /// In the child.
    Child,
}

/// Clones the calling process like fork, with namespaces (`CLONE_NEW*`), `CLONE_PARENT` and, where given, straight into a v2 control group.
///
/// # Safety
/// The caller must be single-threaded: the child gets a copy of one thread and of every lock as it stands.
pub unsafe fn clone3(flags: u64, group: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: an all-zero clone_args is a valid one.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // With CLONE_PARENT the exit signal is the caller's own.
    args.exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(group) = group {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: args lives across the call and says its own size; no CLONE_VM, so no memory is shared with the child.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<libc::clone_args>())
    })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel stored a fresh descriptor there, which nobody else owns.
    Ok(Cloned::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// Changes the attributes of a mount: `set` are `MOUNT_ATTR_*`; with `userns` the mount maps IDs as that user namespace does.
pub fn mount_setattr(mount: impl AsFd, set: u64, userns: Option<BorrowedFd<'_>>, recursive: bool) -> Result<(), Errno> {
    let attr = libc::mount_attr {
        attr_set: set | if userns.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: attr lives across the call and its size is given; the path is an empty C string.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Keeps exactly the capabilities in `keep` (bit numbers below 64), as permitted, effective and inheritable.
pub fn capabilities_set(keep: u64) -> Result<(), Errno> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |bits: u32| Data { effective: bits, permitted: bits, inheritable: bits };
    let data = [half(keep as u32), half((keep >> 32) as u32)];
    // SAFETY: version 3 takes one header and two data blocks, both alive across the call.
    check(unsafe { libc::syscall(libc::SYS_capset, std::ptr::from_ref(&header), data.as_ptr()) }).map(drop)
}

/// `prctl` with number arguments only.
pub fn prctl(option: libc::c_int, arg2: u64, arg3: u64) -> Result<i64, Errno> {
    // SAFETY: none of the options that this crate passes takes a pointer.
    check(unsafe { libc::syscall(libc::SYS_prctl, option, arg2, arg3, 0, 0) })
}

/// Installs a system call filter for the calling thread and all it starts. Needs `no_new_privs`.
pub fn seccomp_install(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives across the call; it only reads it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program)) })
        .map(drop)
}

/// Joins a new, empty session keyring, so that the caller's is out of reach. A kernel without keyrings has nothing to leave.
pub fn keyring_leave() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) }) {
        Ok(_) | Err(Errno::NOSYS) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Closes every descriptor but standard input, output and error, and those given.
pub fn close_all_but(kept: &[i32]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = kept.iter().map(|fd| *fd as u32).filter(|fd| *fd > 2).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().chain([u32::MAX]) {
        if fd > first {
            // SAFETY: the callers never use or drop what they owned in that range: they exec or exit.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) })?;
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Makes this process deaf to the signals of a terminal and of a broken pipe, and default for all others.
pub fn ignore_terminal_signals() -> Result<(), Errno> {
    for signal in 1..=31 {
        let ignored = matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGHUP | libc::SIGTSTP | libc::SIGPIPE);
        let action = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
        if !matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
            // SAFETY: neither disposition runs any code of ours.
            unsafe { libc::signal(signal, action) };
        }
    }
    Ok(())
}

/// Names this process in the kernel's table, for people.
pub fn name_process(name: &std::ffi::CStr) -> Result<(), Errno> {
    // SAFETY: PR_SET_NAME reads a C string of at most 16 bytes.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) }).map(drop)
}

/// Makes `fd` appear as number `target` in this process, inherited by exec.
pub fn dup_to(fd: impl AsFd, target: i32) -> Result<(), Errno> {
    let source = fd.as_fd().as_raw_fd();
    if source == target {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: whatever was open at target is one of this process's own and not used again.
    check(unsafe { libc::dup2(source, target) }.into()).map(drop)
}

/// Replaces this process by the program behind a descriptor. Returns only if that fails.
pub fn exec_fd(program: impl AsFd, args: &[&CStr]) -> Errno {
    let mut argv: Vec<*const libc::c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(std::ptr::null());
    let envp = [std::ptr::null::<libc::c_char>()];
    // SAFETY: both arrays end in null and live across the call, as do the strings they point to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    debug_assert!(result < 0);
    last_errno()
}

/// Ends this process without running anything that was registered for its end.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: always sound; nothing of this process is used again.
    unsafe { libc::_exit(code) }
}

/// Sends SIGKILL to exactly the process behind a descriptor. One that is gone already is no error.
pub fn pidfd_kill(pidfd: impl AsFd) -> Result<(), Errno> {
    match rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the kernel says of the end of a process that is not our child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
    /// It lives, or whoever is its parent has not reaped it yet.
    NotYet,
    /// This kernel does not say (before Linux 6.15).
    CannotTell,
}

/// Asks how the process behind a descriptor ended, whoever's child it was.
pub fn pidfd_exit(pidfd: impl AsFd) -> Exit {
    /// `struct pidfd_info` of `linux/pidfd.h`, as far as it was first defined.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    const GET_INFO: u64 = 0xc040_ff0b;
    const EXIT: u64 = 1 << 3;
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: PIDFD_GET_INFO takes a pidfd_info of the size that stands in its number.
    match unsafe { ioctl(pidfd, GET_INFO, &raw mut info) } {
        Ok(_) if info.mask & EXIT == 0 => Exit::NotYet,
        Ok(_) if libc::WIFSIGNALED(info.exit_code) => Exit::Killed(libc::WTERMSIG(info.exit_code)),
        Ok(_) => Exit::Exited(libc::WEXITSTATUS(info.exit_code)),
        Err(_) => Exit::CannotTell,
    }
}

/// Lets the kernel reap this process's children by itself.
pub fn never_reap() {
    // SAFETY: the disposition runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// `fork`, for a single-threaded caller. `true` in the child.
///
/// # Safety
/// As for [`clone3`].
pub unsafe fn fork() -> Result<Cloned, Errno> {
    // SAFETY: passed on to our caller.
    unsafe { clone3(0, None) }
}

/// Makes IPv4 and IPv6 loopback of the current network namespace work.
pub fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which lives across the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, std::ptr::from_ref(&request)) }.into()).map(drop)
}

/// Runs a btrfs, loop or other ioctl that takes a pointer to `argument`.
///
/// # Safety
/// `argument` must be of the type that `request` takes.
pub unsafe fn ioctl<T>(fd: impl AsFd, request: u64, argument: *mut T) -> Result<i64, Errno> {
    // SAFETY: the type is the caller's promise; the descriptor is borrowed for the call.
    check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as libc::Ioctl, argument) }.into())
}
