//! The agent, and everybody else's processes: out of reach for a tenant.

use crate::ground::{Inside, inside, keeper};
use crate::trials;
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    trials![
        the_agent_shows_nothing_of_itself,
        the_agent_cannot_be_traced_or_read,
        the_agent_cannot_be_signalled,
        other_environments_processes_are_not_there,
        messages_between_processes_stay_inside,
        the_key_of_the_environment_is_nowhere_inside,
    ]
}

/// EN-2
async fn the_agent_shows_nothing_of_itself() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
closed = ("EACCES", "EPERM", "ENOENT")
for name in ("root", "exe", "cwd", "ns/mnt", "ns/user"):
    if attempt(lambda: os.readlink("/proc/1/" + name)) not in closed: print("link", name)
for name in ("environ", "mem", "maps", "smaps", "auxv", "io", "stack", "syscall", "pagemap", "personality", "timers"):
    if attempt(lambda: open("/proc/1/" + name, "rb").read(1)) not in closed: print("read", name)
for name in ("mem", "oom_score_adj", "clear_refs", "attr/current", "uid_map", "setgroups", "comm", "coredump_filter", "timerslack_ns"):
    if attempt(lambda: open("/proc/1/" + name, "r+b", buffering=0).write(b"0")) not in closed: print("write", name)
for name in ("fd", "fdinfo", "map_files", "task/1/fd", "cwd", "root"):
    if attempt(lambda: os.listdir("/proc/1/" + name)) not in closed: print("list", name)
if attempt(lambda: os.execv("/proc/1/exe", ["x"])) not in closed: print("exec")
"#;
    // As user 0 inside too.
    for user in [None, Some("0".to_owned())] {
        let ran = inside.run(tenure_protocol::Exec { user, ..inside::python(program) }).await;
        assert_eq!(ran.ok(), "");
    }
}

/// EN-2
async fn the_agent_cannot_be_traced_or_read() {
    let inside = Inside::new(keeper(0)).await;
    let program = format!(
        r#"
class Vec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(64)
own, theirs = Vec(ctypes.addressof(buffer), 64), Vec(0x400000, 64)
print(call({ptrace}, 16, 1, 0, 0), call({ptrace}, 0x4206, 1, 0, 0))
print(call({readv}, 1, ctypes.byref(own), 1, ctypes.byref(theirs), 1, 0), call({writev}, 1, ctypes.byref(own), 1, ctypes.byref(theirs), 1, 0))
fd = os.pidfd_open(1)
print([call({getfd}, fd, number, 0) for number in range(8)])
print(call({kcmp}, os.getpid(), 1, 0, 0, 0), call({prlimit}, 1, 7, 0, ctypes.byref(buffer)))
print(call({madvise}, fd, ctypes.byref(theirs), 1, 4, 0), call({affinity}, 1, 8, ctypes.byref(buffer)))
"#,
        ptrace = libc::SYS_ptrace,
        readv = libc::SYS_process_vm_readv,
        writev = libc::SYS_process_vm_writev,
        getfd = libc::SYS_pidfd_getfd,
        kcmp = libc::SYS_kcmp,
        prlimit = libc::SYS_prlimit64,
        madvise = libc::SYS_process_madvise,
        affinity = libc::SYS_sched_setaffinity,
    );
    for user in [None, Some("0".to_owned())] {
        let out = inside.run(tenure_protocol::Exec { user, ..inside::python(&program) }).await.ok();
        let answers: Vec<&str> = out.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        assert!(
            answers.len() == 16 && answers.iter().all(|answer| matches!(*answer, "EPERM" | "EACCES" | "EINVAL")),
            "{out}"
        );
        assert!(answers[..4].iter().all(|answer| *answer == "EPERM"), "{out}");
    }
    inside.answers().await;
}

/// EN-2
async fn the_agent_cannot_be_signalled() {
    let inside = Inside::new(keeper(0)).await;
    let program = format!(
        r#"
fd = os.pidfd_open(1)
for number in range(1, 65):
    for answer in (call({kill}, 1, number), call({send}, fd, number, 0, 0), call({tgkill}, 1, 1, number), call({queue}, 1, number, ctypes.create_string_buffer(128))):
        if answer != "EPERM": print(number, answer)
"#,
        kill = libc::SYS_kill,
        send = libc::SYS_pidfd_send_signal,
        tgkill = libc::SYS_tgkill,
        queue = libc::SYS_rt_sigqueueinfo,
    );
    for user in [None, Some("0".to_owned())] {
        let ran = inside.run(tenure_protocol::Exec { user, ..inside::python(&program) }).await;
        assert_eq!(ran.ok(), "");
        inside.answers().await;
    }
    // Everything but the agent may be ended by its owner.
    let ran = inside.sh("kill -9 -1").await;
    assert!(ran.ended.exit_code.is_some() || ran.ended.signal == Some(9), "{ran:?}");
    inside.answers().await;
}

/// EN-2
async fn other_environments_processes_are_not_there() {
    let (one, two) = (Inside::new(keeper(0)).await, Inside::new(keeper(0)).await);
    let mut sleep = one.start(inside::command(&["sleep", "1000"])).await;
    let host_pids = [std::process::id() as i32, keeper(0).pid, one.agent_pid().await];
    let seen = two.sh("cat /proc/[0-9]*/comm | sort | uniq | tr '\\n' ' '").await.ok();
    assert!(!seen.contains("keeper") && !seen.contains("escapes"), "{seen}");
    for pid in host_pids {
        let answer = two.python(&format!("print(attempt(lambda: os.kill({pid}, 0)))")).await.ok();
        assert_eq!(answer, "ESRCH\n", "{pid}");
    }
    // The highest number that is used in there says how few there are.
    let all = two.python("print(len([n for n in os.listdir('/proc') if n.isdigit()]))").await.ok();
    assert!(all.trim().parse::<u32>().unwrap() <= 8, "{all}");
    two.sh("kill -9 -1").await;
    inside::soon(sleep.sender.signal(15)).await.unwrap();
    assert_eq!(inside::soon(sleep.wait()).await.unwrap().signal, Some(15), "it was still there");
}

/// EN-2
async fn messages_between_processes_stay_inside() {
    let (one, two) = (Inside::new(keeper(0)).await, Inside::new(keeper(0)).await);
    let make = format!(
        r#"
print(call({shm}, 4711, 4096, 0o1666), call({msg}, 4711, 0o1666), call({sem}, 4711, 1, 0o1666), call({mq}, b"mine", 0o102, 0o666, 0))
s = socket.socket(socket.AF_UNIX); s.bind("\0of-one"); s.listen(); print("ready", flush=True); time.sleep(1000)
"#,
        shm = libc::SYS_shmget,
        msg = libc::SYS_msgget,
        sem = libc::SYS_semget,
        mq = libc::SYS_mq_open,
    );
    let mut holder = one.start(inside::python(&make)).await;
    let first = inside::soon(holder.next()).await.unwrap();
    assert!(
        matches!(&first, Some(tenure_environment::agent::Event::Output(text)) if text.starts_with(b"ok ok ok ok")),
        "{first:?}"
    );
    let find = format!(
        r#"
print(call({shm}, 4711, 0, 0), call({msg}, 4711, 0), call({sem}, 4711, 0, 0), call({mq}, b"mine", 0, 0, 0))
print(attempt(lambda: socket.socket(socket.AF_UNIX).connect("\0of-one")))
"#,
        shm = libc::SYS_shmget,
        msg = libc::SYS_msgget,
        sem = libc::SYS_semget,
        mq = libc::SYS_mq_open,
    );
    assert_eq!(two.python(&find).await.ok(), "ENOENT ENOENT ENOENT ENOENT\nECONNREFUSED\n");
}

/// EN-2: what the manager and the agent prove themselves with is not to be had from inside.
async fn the_key_of_the_environment_is_nowhere_inside() {
    let inside = Inside::new(keeper(0)).await;
    let seen = inside
        .sh("env; cat /proc/1/cmdline /proc/self/environ; cat /proc/keys /proc/key-users; ls -la /proc/self/fd")
        .await;
    assert!(!seen.out.contains("key\""), "{seen:?}");
    assert!(!seen.out.contains(keeper(0).data_dir.to_str().unwrap()), "{seen:?}");
}
