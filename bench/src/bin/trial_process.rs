//! Measures how a process in walls can be started, held by control groups, and seen to end, for the decision record on
//! processes. Needs root; its control groups are below its own and are removed.
#![allow(unsafe_code)] // fork, signals and the allocator's settings have no safe counterpart in std

use std::fs;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench::files::errno_name;
use bench::kernel::cgroup::{Group, GroupSet, own_group};
use bench::kernel::clone::{self, ALL_NAMESPACES, Child, NEW_TIME, SIBLING};
use bench::kernel::{self, check};
use bench::measure::{Samples, Table, repeat, timed};

const MANY: usize = 100;
const FEW: usize = 30;
const BACK_TO_BACK: Duration = Duration::ZERO;
const SPACED: Duration = Duration::from_millis(100);
const BOUND: Duration = Duration::from_secs(5);

/// From clone3 to the byte that the child writes first of all; then the child is reaped outside the measure.
fn first_byte(flags: u64, group: Option<&fs::File>) -> io::Result<Duration> {
    let (mut ready, tell) = io::pipe()?;
    let start = Instant::now();
    let child = clone::spawn(flags, group, || i32::from((&tell).write_all(b"r").is_err()))?;
    ready.read_exact(&mut [0])?;
    let took = start.elapsed();
    clone::reap(child.pidfd.as_fd()).map(|_| took)
}

fn namespaces(table: &mut Table, who: &str) -> io::Result<()> {
    let all = ALL_NAMESPACES;
    let (net, user) = (libc::CLONE_NEWNET as u64, libc::CLONE_NEWUSER as u64);
    let sets = [
        ("no namespace", 0),
        ("user", user),
        ("mount", libc::CLONE_NEWNS as u64),
        ("pid", libc::CLONE_NEWPID as u64),
        ("ipc + uts + cgroup", (libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP) as u64),
        ("network", net),
        ("time", NEW_TIME),
        ("all but network and time", all & !net),
        ("all but time", all),
        ("all", all | NEW_TIME),
    ];
    for (name, flags) in sets {
        let quick = repeat(MANY, BACK_TO_BACK, |_| first_byte(flags, None))?;
        let slow = repeat(FEW, SPACED / 2, |_| first_byte(flags, None))?;
        table.row([format!("clone3 from {who}: {name}"), quick.cell(), slow.cell()]);
    }
    Ok(())
}

fn starting_programs(table: &mut Table, who: &str) -> io::Result<()> {
    let program = c"/bin/busybox";
    let (name, word) = (c"true".as_ptr().cast_mut(), std::ptr::null_mut());
    let (argv, envp) = ([name, word], [word]);
    let spawn = || -> io::Result<Duration> {
        let mut pid = 0;
        let start = Instant::now();
        // SAFETY: NUL-terminated path, null-terminated argument lists, and a pid that all live over the call.
        let error = unsafe {
            let none = std::ptr::null();
            libc::posix_spawn(&mut pid, program.as_ptr(), none, std::ptr::null(), argv.as_ptr(), envp.as_ptr())
        };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: reaps the child just made; no status is asked for.
        check(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }.into())?;
        Ok(start.elapsed())
    };
    let fork = || {
        let run = || -> io::Result<()> {
            let child = clone::fork(|| {
                // SAFETY: as above; only reached in the child.
                unsafe { libc::execve(program.as_ptr(), argv.as_ptr().cast(), envp.as_ptr().cast()) }
            })?;
            clone::reap(child.pidfd.as_fd()).map(drop)
        };
        timed(run).map(|t| t.1)
    };
    let (quick, slow) = (repeat(MANY, BACK_TO_BACK, |_| spawn())?, repeat(FEW, SPACED / 2, |_| spawn())?);
    table.row([format!("posix_spawn of static `true` from {who}, to its end"), quick.cell(), slow.cell()]);
    let (quick, slow) = (repeat(MANY, BACK_TO_BACK, |_| fork())?, repeat(FEW, SPACED / 2, |_| fork())?);
    table.row([format!("fork + exec of the same from {who}"), quick.cell(), slow.cell()]);
    Ok(())
}

/// A process that waits for its input to end.
fn waiting() -> io::Result<(Child, io::PipeWriter)> {
    let (wait, hold) = io::pipe()?;
    let child = clone::spawn(0, None, || {
        // SAFETY: closes the child's copy of the writing end, so that only the parent's keeps it waiting.
        unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&hold)) };
        i32::from((&wait).read(&mut [0]).is_err())
    })?;
    Ok((child, hold))
}

fn attaching(table: &mut Table) -> io::Result<()> {
    let id = std::process::id();
    let mut make = Samples::default();
    let mut attach = |index: usize| -> io::Result<Duration> {
        let (groups, made) = timed(|| GroupSet::new(&format!("tenure-trial-{id}-{index}")))?;
        make.push(made);
        let (child, hold) = waiting()?;
        std::thread::sleep(Duration::from_micros(200));
        let took = timed(|| groups.attach(child.pid))?.1;
        drop(hold);
        clone::reap(child.pidfd.as_fd()).map(|_| took)
    };
    let quick = repeat(MANY, BACK_TO_BACK, &mut attach)?;
    let slow = repeat(FEW, SPACED, &mut attach)?;
    table.row(["v1: a waiting process into 5 groups (cgroup.procs)".to_owned(), quick.cell(), slow.cell()]);
    table.row(["v1: mkdir of the 5 groups".to_owned(), make.cell(), String::new()]);
    let mut remove = |index: usize| -> io::Result<Duration> {
        let groups = GroupSet::new(&format!("tenure-trial-{id}-r{index}"))?;
        let start = Instant::now();
        drop(groups);
        Ok(start.elapsed())
    };
    let (quick, slow) = (repeat(FEW, BACK_TO_BACK, &mut remove)?, repeat(FEW, SPACED, &mut remove)?);
    table.row(["v1: rmdir of the 5 groups".to_owned(), quick.cell(), slow.cell()]);
    cold_and_stem(table)?;
    unified(table)
}

/// A process of this one's children that waits in its groups, then makes the environment as its own sibling.
struct Stem {
    child: Child,
    go: io::PipeWriter,
    ready: PipeReader,
    _groups: GroupSet,
}

impl Stem {
    fn new(name: &str) -> io::Result<Self> {
        let groups = GroupSet::new(name)?;
        let ((wait, go), (ready, tell)) = (io::pipe()?, io::pipe()?);
        let child = clone::spawn(0, None, || {
            // SAFETY: numbers only. Later stems hold copies of the pipe, so its end would not end this one.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            if (&wait).read_exact(&mut [0]).is_err() {
                return 1;
            }
            let tell = &tell;
            let made = clone::spawn(ALL_NAMESPACES | SIBLING, None, || {
                // SAFETY: has no preconditions.
                let parent = unsafe { libc::getppid() };
                i32::from((&mut &*tell).write_all(&[b'r', parent as u8]).is_err())
            });
            match made {
                Ok(sibling) => i32::from((&mut &*tell).write_all(&sibling.pid.to_le_bytes()).is_err()),
                Err(error) => error.raw_os_error().unwrap_or(1),
            }
        })?;
        groups.attach(child.pid)?;
        Ok(Self { child, go, ready, _groups: groups })
    }

    fn make(mut self) -> io::Result<Duration> {
        let start = Instant::now();
        self.go.write_all(b"g")?;
        let mut answer = [0_u8; 6];
        self.ready.read_exact(&mut answer)?;
        let took = start.elapsed();
        let (code, status) = clone::reap(self.child.pidfd.as_fd())?;
        if (code, status) != (libc::CLD_EXITED, 0) {
            return Err(io::Error::from_raw_os_error(status));
        }
        // SAFETY: without a status; the flag also finds children that do not end with SIGCHLD.
        check(unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WALL) }.into())?;
        Ok(took)
    }
}

fn cold_and_stem(table: &mut Table) -> io::Result<()> {
    let id = std::process::id();
    let mut cold = |index: usize| -> io::Result<Duration> {
        let groups = GroupSet::new(&format!("tenure-trial-{id}-c{index}"))?;
        let ((mut ready, tell), (wait, mut go)) = (io::pipe()?, io::pipe()?);
        let start = Instant::now();
        let child = clone::spawn(ALL_NAMESPACES, None, || {
            let attached = (&wait).read_exact(&mut [0]);
            i32::from(attached.and_then(|()| (&tell).write_all(b"r")).is_err())
        })?;
        groups.attach(child.pid)?;
        go.write_all(b"g")?;
        ready.read_exact(&mut [0])?;
        let took = start.elapsed();
        clone::reap(child.pidfd.as_fd()).map(|_| took)
    };
    let (quick, slow) = (repeat(MANY, BACK_TO_BACK, &mut cold)?, repeat(FEW, SPACED, &mut cold)?);
    table.row([
        "v1: clone3 with all namespaces, then attach to 5 groups, then go".to_owned(),
        quick.cell(),
        slow.cell(),
    ]);
    let stems: Vec<Stem> =
        (0..MANY).map(|i| Stem::new(&format!("tenure-trial-{id}-s{i}"))).collect::<io::Result<_>>()?;
    let mut quick = Samples::default();
    for stem in stems {
        quick.push(stem.make()?);
    }
    let stems: Vec<Stem> =
        (0..FEW).map(|i| Stem::new(&format!("tenure-trial-{id}-t{i}"))).collect::<io::Result<_>>()?;
    let mut slow = Samples::default();
    for stem in stems {
        std::thread::sleep(SPACED);
        slow.push(stem.make()?);
    }
    table.row([
        "v1: a stem waiting in its 5 groups clones a sibling with all namespaces".to_owned(),
        quick.cell(),
        slow.cell(),
    ]);
    Ok(())
}

fn unified(table: &mut Table) -> io::Result<()> {
    let parent = own_group("")?;
    let id = std::process::id();
    let mut into = |index: usize| -> io::Result<Duration> {
        let group = Group::new(&parent, &format!("tenure-trial-{id}-u{index}"))?;
        first_byte(ALL_NAMESPACES, Some(&group.open()?))
    };
    let (quick, slow) = (repeat(MANY, BACK_TO_BACK, &mut into)?, repeat(FEW, SPACED, &mut into)?);
    table.row(["v2: clone3 with all namespaces and CLONE_INTO_CGROUP".to_owned(), quick.cell(), slow.cell()]);
    let mut write = |index: usize| -> io::Result<Duration> {
        let group = Group::new(&parent, &format!("tenure-trial-{id}-w{index}"))?;
        let (child, hold) = waiting()?;
        let took = timed(|| group.attach(child.pid))?.1;
        drop(hold);
        clone::reap(child.pidfd.as_fd()).map(|_| took)
    };
    let (quick, slow) = (repeat(MANY, BACK_TO_BACK, &mut write)?, repeat(FEW, SPACED, &mut write)?);
    table.row(["v2: a waiting process into one group (cgroup.procs)".to_owned(), quick.cell(), slow.cell()]);
    Ok(())
}

/// How many of 200 children hang when they allocate while other threads of the parent allocate too.
fn hanging_children(facts: &mut Table) -> io::Result<()> {
    // SAFETY: one arena for all threads, as any program with more threads than arenas has; set before they start.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    let stop = AtomicBool::new(false);
    let allocate = || drop(std::hint::black_box(vec![0_u8; 8192]));
    let hung = std::thread::scope(|scope| -> io::Result<usize> {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    allocate();
                }
            });
        }
        let count = (0..200).try_fold(0, |hung, _| -> io::Result<usize> {
            let child = clone::spawn(0, None, || {
                (0..50).for_each(|_| allocate());
                0
            })?;
            let ended = clone::readable(child.pidfd.as_fd(), Duration::from_millis(300))?;
            clone::kill(child.pidfd.as_fd())?;
            clone::reap(child.pidfd.as_fd())?;
            Ok(hung + usize::from(!ended))
        });
        stop.store(true, Ordering::Relaxed);
        count
    })?;
    facts.row([
        "clone3 from a process whose other threads allocate; children hung in malloc",
        &format!("{hung} of 200"),
    ]);
    Ok(())
}

/// Starts a parent with a child, kills the parent, and says who the child's parent is then and who learns of its end.
fn orphan(subreaper: bool, facts: &mut Table) -> io::Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, i32::from(subreaper)) }.into())?;
    let (mut tell, said) = io::pipe()?;
    let parent = clone::fork(|| {
        let child = clone::spawn(0, None, || {
            // SAFETY: a plain wait; the child is killed, or leaves by itself.
            unsafe { libc::sleep(30) };
            0
        });
        let told = child.and_then(|c| (&said).write_all(&c.pid.to_le_bytes()));
        // SAFETY: waits to be killed.
        unsafe { libc::pause() };
        i32::from(told.is_err())
    })?;
    let mut pid = [0; 4];
    tell.read_exact(&mut pid)?;
    let pidfd = clone::pidfd_open(i32::from_le_bytes(pid))?;
    let not_ours = clone::reap_now(pidfd.as_fd()).err().map_or("?".to_owned(), |e| errno_name(&e));
    clone::kill(parent.pidfd.as_fd())?;
    clone::reap(parent.pidfd.as_fd())?;
    let owner = match clone::pidfd_info(pidfd.as_fd())? {
        clone::PidfdInfoAnswer::Unreaped { parent } if parent == std::process::id() => "this process".to_owned(),
        clone::PidfdInfoAnswer::Unreaped { parent } => format!("process {parent}"),
        clone::PidfdInfoAnswer::Ended { .. } => "nobody".to_owned(),
    };
    let start = Instant::now();
    clone::kill(pidfd.as_fd())?;
    let seen = clone::readable(pidfd.as_fd(), BOUND)?;
    let seen = if seen { format!("{:.2} ms", start.elapsed().as_secs_f64() * 1e3) } else { "never".to_owned() };
    let wait =
        clone::reap_now(pidfd.as_fd()).map_or_else(|e| errno_name(&e), |(code, s)| format!("code {code}, status {s}"));
    let told = clone::wait_for_end(pidfd.as_fd(), BOUND).map_or_else(
        |e| errno_name(&e),
        |(status, after)| format!("wait status {status}, {:.2} ms later", after.as_secs_f64() * 1e3),
    );
    let who = if subreaper { "grandparent is a subreaper" } else { "no subreaper" };
    facts.row([format!("{who}: waitid on the pidfd of a grandchild"), not_ours]);
    facts.row([format!("{who}: parent killed with SIGKILL; the child's parent is then"), owner]);
    facts.row([format!("{who}: … the child killed: its pidfd is readable after"), seen]);
    facts.row([format!("{who}: … waitid on it says"), wait]);
    facts.row([format!("{who}: … PIDFD_GET_INFO says, once it is reaped"), told]);
    Ok(())
}

fn main() -> anyhow::Result<()> {
    anyhow::ensure!(kernel::is_root(), "the trial makes control groups and needs root");
    let mut table = Table::new("Process candidates", &["what", "back to back, ms: median (p99)", "50 or 100 ms apart"]);
    let mut facts = Table::new("Facts", &["what", "seen"]);
    hanging_children(&mut facts)?; // first: later threads would find arenas of their own
    starting_programs(&mut table, "a small process")?;
    namespaces(&mut table, "a small process")?;
    attaching(&mut table)?;
    orphan(false, &mut facts)?;
    orphan(true, &mut facts)?;
    let ballast = bench::files::noise(200 << 20, 3);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| -> io::Result<()> {
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_secs(1));
                }
            });
        }
        let who = "200 MiB and 9 threads";
        let done = starting_programs(&mut table, who).and_then(|()| {
            let quick = repeat(MANY, BACK_TO_BACK, |_| first_byte(ALL_NAMESPACES, None))?;
            let slow = repeat(FEW, SPACED / 2, |_| first_byte(ALL_NAMESPACES, None))?;
            table.row([format!("clone3 from {who}: all but time"), quick.cell(), slow.cell()]);
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        done
    })?;
    drop(std::hint::black_box(ballast));
    println!("{}\n\n{}\n{}", bench::measure::machine(), table.to_markdown(), facts.to_markdown());
    Ok(())
}
