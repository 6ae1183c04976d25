//! The start: harden this process, take over the descriptors, listen, tell the keeper.

use crate::clock::AwakeClock;
use crate::credentials::Tenant;
use crate::event_loop::Agent;
use crate::poll::{Poller, Source, Token};
use crate::spawn::{duplicate, inherited};
use rustix::event::epoll::EventFlags;
use rustix::fd::{FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tenure_protocol::{BOOT_FD, Boot, CONTROL_FD, OOM_FD, SOCKET_DIR_FD};

const BOOT_BYTES_MAX: usize = 1024 * 1024;
/// Connections that wait to be accepted: more than an agent serves at once, so that those past the limit are refused and not left hanging.
const BACKLOG: i32 = 512;

/// Makes the agent ready to run.
pub fn boot() -> Result<Agent, Errno> {
    open_standard_streams()?;
    harden()?;
    let boot_file = inherited(BOOT_FD).ok_or(Errno::BADF)?;
    let socket_directory = inherited(SOCKET_DIR_FD).ok_or(Errno::BADF)?;
    let control = inherited(CONTROL_FD).ok_or(Errno::BADF)?;
    let oom = inherited(OOM_FD);
    let boot = read_boot(boot_file)?;
    let tenant = Tenant::new(&boot.user);
    if !tenant.reachable() {
        return Err(Errno::PERM);
    }
    let signals = signal_descriptor()?;
    let listener = listen(socket_directory, &boot.socket)?;
    let agent = assemble(boot, tenant, signals, listener, control, oom)?;
    match &agent.control {
        Some(control) => rustix::io::write(control, b"1").map(|_| agent),
        None => Err(Errno::BADF),
    }
}

/// Descriptors 0 to 2 exist, so that no other ever gets one of these numbers.
fn open_standard_streams() -> Result<(), Errno> {
    for number in 0..3 {
        // SAFETY: asks about a number only.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
            // The lowest free number is the missing one; it stays open for good.
            std::mem::forget(null);
        }
    }
    Ok(())
}

/// Nobody inside can look into this process, and nothing of it reaches a program.
fn harden() -> Result<(), Errno> {
    // SAFETY: plain numbers and one constant C string. `close_range` with this flag closes nothing, it marks.
    unsafe {
        if libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 {
            return Err(Errno::PERM);
        }
        // Started from a descriptor it would be called after that; the name is for people who list processes.
        libc::prctl(libc::PR_SET_NAME, c"tenure-agent".as_ptr(), 0, 0, 0);
        if libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            for number in 3..1024 {
                libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        if libc::getpid() != 1 {
            libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        }
        libc::umask(0o022);
    }
    Ok(())
}

fn read_boot(file: OwnedFd) -> Result<Boot, Errno> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match rustix::io::read(&file, &mut chunk) {
            Ok(0) => break,
            Ok(read) if text.len() + read <= BOOT_BYTES_MAX => text.extend_from_slice(&chunk[..read]),
            Ok(_) => return Err(Errno::TOOBIG),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let boot = serde_json::from_slice::<Boot>(&text).map_err(|_| Errno::INVAL);
    for byte in text.iter_mut().chain(&mut chunk) {
        // SAFETY: writes to a live byte; volatile, since nobody reads it again and the key must not stay behind.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
    let boot = boot?;
    let names_one_file = !boot.socket.is_empty() && !boot.socket.contains(['/', '\0']) && boot.socket != "..";
    if names_one_file { Ok(boot) } else { Err(Errno::INVAL) }
}

/// Children's ends come as reads; nothing else interrupts, ends or stops the agent.
fn signal_descriptor() -> Result<OwnedFd, Errno> {
    // SAFETY: both sets are live and initialised before use; the new descriptor is owned by nobody else.
    unsafe {
        for ignored in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE, libc::SIGXFSZ, libc::SIGTTOU] {
            libc::signal(ignored, libc::SIG_IGN);
        }
        let mut children: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut children);
        libc::sigaddset(&raw mut children, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const children, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const children, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(Errno::NFILE) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Listens in a directory that lies outside: reached through the descriptor alone, which is closed again.
fn listen(directory: OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{SOCKET_DIR_FD}/{name}"))?;
    let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &address);
    rustix::process::umask(umask);
    bound?;
    rustix::net::listen(&socket, BACKLOG)?;
    drop(directory);
    Ok(socket)
}

fn assemble(
    boot: Boot,
    tenant: Tenant,
    signals: OwnedFd,
    listener: OwnedFd,
    control: OwnedFd,
    oom: Option<OwnedFd>,
) -> Result<Agent, Errno> {
    let poller = Poller::new()?;
    let watched = |fd, token| {
        let mut source = Source::new(&poller, fd, token);
        source.want(EventFlags::IN);
        source
    };
    let deadline = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    Ok(Agent {
        spare: duplicate(&listener).ok(),
        listener: watched(listener, Token::Listener),
        control: Some(watched(control, Token::Control)),
        signals: watched(signals, Token::Signals),
        deadline: watched(deadline, Token::Deadline),
        deadline_due: None,
        poller,
        tenant,
        boot,
        oom,
        binding: None,
        ending: None,
        connections: BTreeMap::new(),
        execs: BTreeMap::new(),
        ready_connections: BTreeSet::new(),
        ready_execs: BTreeSet::new(),
        next_id: 1,
        clock: AwakeClock::new(Instant::now()),
        scratch: vec![0; tenure_protocol::DATA_MAX],
        reap_again: false,
    })
}
