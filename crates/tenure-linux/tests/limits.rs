//! What an environment may use: each limit is held by the kernel, seen from outside, and can be moved.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod ground;

use ground::inside::{self, soon};
use ground::{Inside, Storage, keeper};
use std::time::{Duration, Instant};
use tenure_environment::agent::Event;
use tenure_environment::{AgentError, ResourceLimits};
use tenure_protocol::{Exec, FailureCode, Sink};

const MIB: u64 = 1 << 20;

fn main() {
    let trials = trials![
        a_program_past_the_memory_limit_is_killed_and_told_apart,
        a_program_survives_its_child_that_the_memory_limit_killed,
        shared_memory_counts_as_memory,
        a_new_process_past_the_limit_is_refused_and_counted,
        a_program_gets_its_share_of_the_processor,
        a_full_disk_is_told_and_can_be_emptied,
        many_small_files_count_like_one_large_one,
        limits_move_while_programs_run,
        many_files_can_be_open,
        watches_are_bounded_for_each_environment,
        output_past_the_cap_is_dropped_and_counted,
        a_program_waits_for_a_slow_reader,
        room_for_messages_and_signals_is_bounded,
    ];
    ground::main(&[Storage::Pool], trials);
}

async fn limited(limits: ResourceLimits) -> Inside {
    Inside::with(keeper(0), |spec| spec.limits = limits).await
}

/// A program that wants this much memory, and writes to all of it.
fn hog(mib: u64) -> String {
    format!("/usr/bin/python3 -c \"b'x' * ({mib} << 20); print('had it')\"")
}

/// GV-4, EN-3
async fn a_program_past_the_memory_limit_is_killed_and_told_apart() {
    let inside = limited(ResourceLimits { memory_bytes: 64 * MIB, ..Default::default() }).await;
    let ran = inside.run(inside::command(&["/usr/bin/python3", "-c", "b'x' * (256 << 20); print('had it')"])).await;
    assert!(ran.ended.oom_killed && ran.ended.signal == Some(9) && ran.ended.exit_code.is_none(), "{ran:?}");
    assert!(!ran.ended.timed_out);
    let seen = inside.observe().await;
    assert!(seen.oom_kills >= Some(1), "{seen:?}");
    assert!(seen.memory_peak_bytes <= Some(65 * MIB), "{seen:?}");
    // It goes on, and what a signal ends is no such kill.
    inside.answers().await;
    let ran = inside.sh("kill -9 $$").await;
    assert!(!ran.ended.oom_killed && ran.ended.signal == Some(9), "{ran:?}");
}

/// GV-4, EN-3
async fn a_program_survives_its_child_that_the_memory_limit_killed() {
    let inside = limited(ResourceLimits { memory_bytes: 64 * MIB, ..Default::default() }).await;
    let ran = inside.sh(&format!("{}; echo survived $?", hog(256))).await;
    assert!(ran.out.ends_with("survived 137\n") && !ran.out.contains("had it"), "{ran:?}");
    assert_eq!(ran.ended.exit_code, Some(0), "an exit code is the program's own");
}

/// GV-4
async fn shared_memory_counts_as_memory() {
    let inside = limited(ResourceLimits { memory_bytes: 64 * MIB, ..Default::default() }).await;
    let ran = inside.sh("dd if=/dev/zero of=/dev/shm/fill bs=1M count=256").await;
    assert_ne!(ran.ended.exit_code, Some(0), "{ran:?}");
    let seen = inside.observe().await;
    assert!(seen.memory_peak_bytes <= Some(65 * MIB), "{seen:?}");
    inside.connect().await.ping().await.expect("the agent is not the one that is killed");
    soon(inside.connect().await.file_delete("/dev/shm/fill", false)).await.expect("it can be emptied");
    inside.answers().await;
}

/// GV-4
async fn a_new_process_past_the_limit_is_refused_and_counted() {
    let inside = limited(ResourceLimits { pids: 32, ..Default::default() }).await;
    let program = r#"
children = 0
while True:
    try: pid = os.fork()
    except BlockingIOError: break
    if pid == 0: time.sleep(1000)
    children += 1
print(children, flush=True)
time.sleep(1000)
"#;
    let mut ran = inside.start(inside::python(program)).await;
    let Some(Event::Output(text)) = soon(ran.next()).await.unwrap() else { panic!("it prints") };
    let children: u64 = String::from_utf8(text).unwrap().trim().parse().unwrap();
    assert!((28..=32).contains(&children), "{children}");
    let seen = inside.observe().await;
    assert!(seen.pids <= Some(33) && seen.pids >= Some(children), "{seen:?}");
    assert!(seen.pids_refused >= Some(1), "{seen:?}");
    // The agent is not counted against it, and says which limit it was.
    let refused = inside.try_start(inside::command(&["true"])).await;
    if let Err(error) = &refused {
        assert!(matches!(error, AgentError::Failed { code: FailureCode::ProcessLimit, .. }), "{error:?}");
    }
    soon(ran.sender.signal(9)).await.unwrap();
    soon(ran.wait()).await.unwrap();
    inside.answers().await;
}

/// GV-4
async fn a_program_gets_its_share_of_the_processor() {
    let inside = limited(ResourceLimits { cpu_millis: 200, ..Default::default() }).await;
    let before = inside.observe().await;
    let program = r#"
until = time.monotonic() + 3
while time.monotonic() < until: pass
print(int(time.process_time() * 1000))
"#;
    let used: u64 = inside.python(program).await.ok().trim().parse().unwrap();
    // 600 ms are its share of 3 s; twice of that is not what any noise makes of it.
    assert!((60..=1200).contains(&used), "{used} ms");
    let after = inside.observe().await;
    assert!(after.cpu_throttled_ms > before.cpu_throttled_ms, "{before:?} {after:?}");
}

/// GV-4
async fn a_full_disk_is_told_and_can_be_emptied() {
    let inside = limited(ResourceLimits { disk_bytes: 48 * MIB, ..Default::default() }).await;
    let ran = inside.sh("dd if=/dev/zero of=fill bs=64k count=4000 conv=fsync 2>&1; stat -c %s fill").await;
    let filled: u64 = ran.out.lines().last().unwrap().parse().unwrap();
    assert!(ran.out.contains("quota") || ran.out.contains("space"), "{ran:?}");
    assert!((16 * MIB..=50 * MIB).contains(&filled), "{filled}");
    let seen = inside.observe().await;
    assert_eq!(seen.disk_limit_bytes, Some(48 * MIB));
    assert!(seen.disk_bytes.is_some_and(|used| (filled - 4 * MIB..=50 * MIB).contains(&used)), "{seen:?}");
    let written = inside.write("/workspace/more", &vec![1; 8 << 20]).await;
    assert!(matches!(written, Err(AgentError::Failed { code: FailureCode::DiskFull, .. })), "{written:?}");
    for place in ["/tmp", "/home/user", "/var/tmp"] {
        let ran = inside.sh(&format!("dd if=/dev/zero of={place}/more bs=1M count=16 conv=fsync")).await;
        assert_ne!(ran.ended.exit_code, Some(0), "{place} is on the same disk");
    }
    soon(inside.connect().await.file_delete("/workspace/fill", false)).await.expect("a full disk can be emptied");
    inside.sh("rm -f /tmp/more /home/user/more /var/tmp/more").await.ok();
    let again = inside.sh("dd if=/dev/zero of=again bs=1M count=16 conv=fsync").await;
    assert_eq!(again.ended.exit_code, Some(0), "{again:?}");
    inside.write("/workspace/small", b"x").await.expect("it fits");
}

/// GV-4
async fn many_small_files_count_like_one_large_one() {
    let inside = limited(ResourceLimits { disk_bytes: 24 * MIB, ..Default::default() }).await;
    let program = r#"
made = 0
try:
    for directory in range(50):
        os.mkdir(f"{directory}")
        for name in range(1000):
            with open(f"{directory}/{name}", "wb") as file: file.write(b"x" * 1500)
            made += 1
    print("all", made)
except OSError as error:
    print(errno.errorcode[error.errno], made)
"#;
    let out = inside.python(program).await.ok();
    let (answer, made) = out.trim().split_once(' ').unwrap();
    assert!(matches!(answer, "EDQUOT" | "ENOSPC"), "{out}");
    assert!(made.parse::<u32>().unwrap() > 1000, "{out}");
    let seen = inside.observe().await;
    assert!(seen.disk_bytes <= Some(28 * MIB), "{seen:?}");
    inside.sh("rm -rf [0-9]*; echo x >after && cat after").await.ok();
    inside.answers().await;
}

/// GV-4
async fn limits_move_while_programs_run() {
    let inside = limited(ResourceLimits { memory_bytes: 64 * MIB, disk_bytes: 32 * MIB, ..Default::default() }).await;
    let mut running = inside.start(inside::command(&["sleep", "1000"])).await;
    let wide = ResourceLimits { memory_bytes: 320 * MIB, disk_bytes: 128 * MIB, ..Default::default() };
    soon(inside.env.set_limits(&wide)).await.unwrap();
    assert_eq!(inside.sh(&hog(160)).await.ok(), "had it\n");
    assert_eq!(inside.sh("dd if=/dev/zero of=fill bs=1M count=64 conv=fsync").await.ended.exit_code, Some(0));
    inside.sh("rm fill").await.ok();

    let narrow = ResourceLimits { memory_bytes: 64 * MIB, pids: 4, disk_bytes: 16 * MIB, ..Default::default() };
    soon(inside.env.set_limits(&narrow)).await.unwrap();
    assert!(inside.sh(&hog(160)).await.out.is_empty());
    assert_eq!(inside.observe().await.disk_limit_bytes, Some(16 * MIB));
    assert_ne!(inside.sh("dd if=/dev/zero of=fill bs=1M count=64 conv=fsync").await.ended.exit_code, Some(0));
    let forks = inside.sh("for n in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo forked").await;
    assert!(!forks.out.contains("forked"), "{forks:?}");
    soon(running.sender.signal(15)).await.unwrap();
    assert_eq!(soon(running.wait()).await.unwrap().signal, Some(15), "it ran all the time");
}

/// GV-4
async fn many_files_can_be_open() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(10_000)]
print(len(files))
try:
    while True: files.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error: print(errno.errorcode[error.errno], len(files) <= 16384)
"#;
    assert_eq!(inside.python(program).await.ok(), "10000\nEMFILE True\n");
}

/// GV-4
async fn watches_are_bounded_for_each_environment() {
    const MOST: u64 = 65_536;
    let of_host: u64 =
        std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").unwrap().trim().parse().unwrap();
    let (inside, neighbour) = (Inside::new(keeper(0)).await, Inside::new(keeper(0)).await);
    let program = r#"
for n in range(600): open(f"{n}", "w").close()
names = [f"{n}".encode() for n in range(600)]
added, why = 0, None
while why is None:
    fd = libc.inotify_init1(0)
    if fd < 0: why = "instances"; break
    for name in names:
        if libc.inotify_add_watch(fd, name, 2) < 0:
            why = errno.errorcode[ctypes.get_errno()]; break
        added += 1
print(added, why, flush=True)
time.sleep(1000)
"#;
    let mut running = inside.start(inside::python(program)).await;
    let Some(Event::Output(text)) = soon(running.next()).await.unwrap() else { panic!("it prints") };
    let expected = MOST.min(of_host);
    assert_eq!(String::from_utf8(text).unwrap(), format!("{expected} ENOSPC\n"));
    // Whoever has used up its own has taken nobody else's.
    let few = "fd = libc.inotify_init1(0)\nprint([libc.inotify_add_watch(fd, b'/tmp', 2)])";
    assert_eq!(neighbour.python(few).await.ok(), "[1]\n");
    let mut watcher = soon(neighbour.connect().await.watch("/workspace", true)).await.unwrap();
    neighbour.write("/workspace/file", b"x").await.unwrap();
    soon(watcher.next()).await.unwrap();
}

/// EN-4
async fn output_past_the_cap_is_dropped_and_counted() {
    let inside = Inside::new(keeper(0)).await;
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let exec =
        Exec { sink: Sink::File { cap_bytes: MIB }, ..inside::shell("head -c 100000000 /dev/zero; echo end >&2") };
    let handed = vec![out.try_clone().unwrap().into(), err.try_clone().unwrap().into()];
    let mut attached = soon(inside.connect().await.exec(exec, handed)).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), attached.wait()).await.unwrap().unwrap();
    assert_eq!(ended.exit_code, Some(0));
    assert_eq!(ended.output.bytes + ended.output.dropped, 100_000_000);
    assert_eq!(ended.output.bytes + ended.error.bytes, MIB, "{ended:?}");
    assert_eq!(out.metadata().unwrap().len(), ended.output.bytes);
}

/// EN-3
async fn a_program_waits_for_a_slow_reader() {
    let inside = limited(ResourceLimits { memory_bytes: 64 * MIB, ..Default::default() }).await;
    let mut flood = inside.start(inside::command(&["head", "-c", "150000000", "/dev/zero"])).await;
    soon(flood.next()).await.unwrap();
    // Nobody reads for a while: it stands still, and nothing grows but what a socket holds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = inside.observe().await;
    assert!(seen.memory_bytes <= Some(40 * MIB), "{seen:?}");
    inside.answers().await;
    let mut heard = 0;
    let begun = Instant::now();
    while let Some(event) = soon(flood.next()).await.unwrap() {
        match event {
            Event::Output(bytes) => heard += bytes.len(),
            Event::Exited(ended) => assert_eq!(ended.exit_code, Some(0)),
            other => panic!("{other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(100), "{heard}");
    }
    assert!((149_000_000..=150_000_000).contains(&heard), "{heard}");
}

/// GV-4
async fn room_for_messages_and_signals_is_bounded() {
    let inside = Inside::new(keeper(0)).await;
    let program = format!(
        r#"
class Attributes(ctypes.Structure): _fields_ = [("flags", ctypes.c_long), ("most", ctypes.c_long), ("size", ctypes.c_long), ("now", ctypes.c_long), ("rest", ctypes.c_long * 4)]
queues = 0
while queues < 1000 and call({mq}, b"q%d" % queues, 0o102, 0o600, ctypes.byref(Attributes(0, 10, 8192))) == "ok": queues += 1
print(0 < queues < 30)
signal.pthread_sigmask(signal.SIG_BLOCK, range(34, 65))
queued = 0
while queued < 100_000 and call({queue}, os.getpid(), 40, info) == "ok": queued += 1
print(0 < queued <= 4096)
"#,
        mq = libc::SYS_mq_open,
        queue = libc::SYS_rt_sigqueueinfo,
    );
    // A siginfo of `sigqueue`: number, no error, SI_QUEUE, and whoever sent it.
    let info = "\nimport struct\ninfo = ctypes.create_string_buffer(struct.pack('iii', 40, 0, -1) + bytes(4) + struct.pack('ii', os.getpid(), 1000), 128)";
    assert_eq!(inside.python(&format!("{info}{program}")).await.ok(), "True\nTrue\n");
    inside.answers().await;
}
