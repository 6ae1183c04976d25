//! Environments that an ordinary user makes: fewer walls, each of which holds all the same.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod ground;

use ground::inside::{self, soon, spec};
use ground::{Inside, Storage, keeper};
use rustix::process::{DumpableBehavior, Gid, Resource, Rlimit, Uid};
use std::time::Duration;
use tenure_environment::agent::Event;
use tenure_environment::{AgentError, Driver as _, EnvironmentError, Limit, ResourceLimits, conformance};

/// Whom the tests become where they are started as root.
const NOBODY: u32 = 65_534;

fn main() {
    become_nobody();
    let trials = trials![
        what_every_driver_promises_of_programs_files_and_ports_holds,
        what_cannot_be_enforced_is_named,
        a_program_has_no_rights_and_no_way_to_any,
        the_agent_is_out_of_reach_though_it_is_the_same_user,
        the_host_is_out_of_sight,
        a_fork_bomb_is_bounded,
        a_tree_that_resists_is_removed_with_its_environment,
        two_environments_of_one_user_keep_to_themselves,
    ];
    ground::main(&[Storage::Pool], trials);
}

/// Gives up being root, as another user's process is not: this one is started anew in every respect but its memory.
fn become_nobody() {
    if ground::is_root() {
        rustix::thread::set_thread_groups(&[]).unwrap();
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).unwrap();
        rustix::process::chdir("/").unwrap();
    }
    // As most users have it: what takes a descriptor per directory does not get far.
    let limit = Rlimit { current: Some(1024), maximum: Some(1024) };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
}

/// An environment, or the reason why an ordinary user cannot have one on this host.
async fn made(test: &str, change: impl FnOnce(&mut tenure_environment::EnvironmentSpec)) -> Option<Inside> {
    let mut spec = spec();
    spec.allow_unenforced = true;
    change(&mut spec);
    match soon(keeper(0).driver.create(spec)).await {
        Ok(env) => Some(Inside { env }),
        Err(EnvironmentError::Init { stage, detail }) if stage == "clone" || stage == "ID maps" => {
            ground::skipped(test, &format!("ordinary users cannot have user namespaces here: {stage}: {detail}"));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// EN-3, EN-5, EN-6
async fn what_every_driver_promises_of_programs_files_and_ports_holds() {
    let test = "what_every_driver_promises_of_programs_files_and_ports_holds";
    let from_spec =
        |spec: &mut tenure_environment::EnvironmentSpec| drop(spec.env.insert("FROM_SPEC".into(), "spec".into()));
    let Some(inside) = made(test, from_spec).await else { return };
    conformance::every_exec(inside.env.as_ref()).await;
    conformance::every_file(inside.env.as_ref()).await;
    conformance::dial_reaches_a_listener(inside.env.as_ref()).await;
    conformance::dial_where_nobody_listens_is_unreachable(inside.env.as_ref()).await;
    conformance::connections_are_independent(inside.env.as_ref()).await;
    conformance::destroy_ends_everything(inside.env.as_ref()).await;
}

/// GV-4
async fn what_cannot_be_enforced_is_named() {
    let error = Inside::refused(keeper(0), spec()).await;
    let EnvironmentError::Unenforced(missing) = &error else { panic!("{error:?}") };
    assert!(missing.contains(&Limit::Disk) && !missing.contains(&Limit::Pids), "{missing:?}");
    let Some(inside) = made("what_cannot_be_enforced_is_named", |_| ()).await else { return };
    assert_eq!(&inside.env.enforced().missing(), missing);
}

/// EN-2
async fn a_program_has_no_rights_and_no_way_to_any() {
    let Some(inside) = made("a_program_has_no_rights_and_no_way_to_any", |_| ()).await else { return };
    let program = format!(
        r#"
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print([status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp")])
print(os.getuid(), os.geteuid())
print([call(number, 0, 0, 0, 0, 0) for number in ({mount}, {unshare}, {setns}, {keyctl}, {bpf}, {clone3})])
print(call({unshare}, {user}), attempt(lambda: os.chroot("/tmp")), attempt(lambda: os.setuid(0)))
print(attempt(lambda: os.mknod("/tmp/device", 0o20666, os.makedev(1, 1))), call({socket}, 40, 1, 0), call({socket}, 17, 3, 0))
print(attempt(lambda: open("/proc/sys/kernel/hostname", "w")), attempt(lambda: open("/usr/bin/env", "w")))
# There is one user, so the root is its own; but only here.
open("/etc/passwd", "w").write("changed")
"#,
        mount = libc::SYS_mount,
        unshare = libc::SYS_unshare,
        setns = libc::SYS_setns,
        keyctl = libc::SYS_keyctl,
        bpf = libc::SYS_bpf,
        clone3 = libc::SYS_clone3,
        user = libc::CLONE_NEWUSER,
        socket = libc::SYS_socket,
    );
    let out = inside.python(&program).await.ok();
    let lines: Vec<&str> = out.lines().collect();
    let none = "'0000000000000000'";
    assert_eq!(lines[0], format!("[{none}, {none}, {none}, {none}, '1', '2']"));
    assert_eq!(lines[1], "1000 1000");
    assert_eq!(lines[2], "['EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM', 'ENOSYS']");
    assert_eq!(lines[3], "EPERM EPERM EINVAL", "user 0 does not exist here");
    assert_eq!(lines[4], "EPERM EPERM EPERM");
    assert!(lines[5].split(' ').all(|answer| matches!(answer, "EROFS" | "EACCES")), "{out}");
    let Some(next) = made("a_program_has_no_rights_and_no_way_to_any", |_| ()).await else { return };
    assert!(!next.sh("cat /etc/passwd").await.ok().contains("changed"));
}

/// EN-2: every signal may be sent to it, and none ends it; nothing of it can be read.
async fn the_agent_is_out_of_reach_though_it_is_the_same_user() {
    let test = "the_agent_is_out_of_reach_though_it_is_the_same_user";
    let Some(inside) = made(test, |_| ()).await else { return };
    let program = format!(
        r#"
for name in ("environ", "mem", "maps", "auxv", "syscall"):
    answer = attempt(lambda: open("/proc/1/" + name, "rb").read(1))
    if answer not in ("EACCES", "EPERM"): print("read", name, answer)
for name in ("mem", "oom_score_adj", "comm", "coredump_filter"):
    answer = attempt(lambda: open("/proc/1/" + name, "r+b", buffering=0).write(b"0"))
    if answer not in ("EACCES", "EPERM"): print("write", name, answer)
for name in ("fd", "root", "cwd", "map_files"):
    answer = attempt(lambda: os.listdir("/proc/1/" + name))
    if answer not in ("EACCES", "EPERM"): print("list", name, answer)
print(call({ptrace}, 16, 1, 0, 0), call({ptrace}, 0x4206, 1, 0, 0))
fd = os.pidfd_open(1)
print(set(call({getfd}, fd, number, 0) for number in range(8)))
for number in range(1, 65):
    call({kill}, 1, number); call({send}, fd, number, 0, 0); call({tgkill}, 1, 1, number)
"#,
        ptrace = libc::SYS_ptrace,
        getfd = libc::SYS_pidfd_getfd,
        kill = libc::SYS_kill,
        send = libc::SYS_pidfd_send_signal,
        tgkill = libc::SYS_tgkill,
    );
    assert_eq!(inside.python(&program).await.ok(), "EPERM EPERM\n{'EPERM'}\n");
    inside.answers().await;
    for path in ["/proc/1/environ", "/proc/self/environ", "/proc/1/mem", "/proc/self/fd/3"] {
        let read = inside.read(path).await;
        assert!(matches!(read, Err(AgentError::Failed { .. })), "{path}: {read:?}");
    }
    inside.answers().await;
}

/// EN-2
async fn the_host_is_out_of_sight() {
    let Some(inside) = made("the_host_is_out_of_sight", |_| ()).await else { return };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let canary = dir.path().join("canary");
    std::fs::write(&canary, "outside").unwrap();
    let outside = canary.to_str().unwrap();
    inside.sh(&format!("ln -s {outside} link; ln -s /proc/1/root root")).await.ok();
    let paths = [
        outside.to_owned(),
        "/workspace/link".into(),
        format!("/workspace/root{outside}"),
        format!("/proc/1/root{outside}"),
    ];
    for path in &paths {
        let read = inside.read(path).await;
        assert!(matches!(read, Err(AgentError::Failed { .. })), "{path}: {read:?}");
    }
    for path in &paths {
        let _ = inside.write(path, b"inside").await;
        assert_eq!(std::fs::read(&canary).unwrap(), b"outside");
    }
    for pid in [std::process::id() as i32, keeper(0).pid] {
        assert_eq!(inside.python(&format!("print(attempt(lambda: os.kill({pid}, 0)))")).await.ok(), "ESRCH\n");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("print(attempt(lambda: socket.create_connection(('127.0.0.1', {port}), 5)))");
    assert_eq!(inside.python(&connect).await.ok(), "ECONNREFUSED\n");
    let seen = inside.sh("cat /proc/self/mountinfo /proc/kallsyms /proc/keys /proc/cmdline").await.out;
    assert!(!seen.contains(keeper(0).data_dir.to_str().unwrap()), "{seen}");
}

/// GV-4: without control groups it is the kernel's count of a user's processes that bounds them.
async fn a_fork_bomb_is_bounded() {
    let few = |spec: &mut tenure_environment::EnvironmentSpec| {
        spec.limits = ResourceLimits { pids: 40, ..Default::default() }
    };
    let Some(bomber) = made("a_fork_bomb_is_bounded", few).await else { return };
    let Some(neighbour) = made("a_fork_bomb_is_bounded", few).await else { return };
    let program = r#"
children = 0
while children < 1000:
    try: pid = os.fork()
    except BlockingIOError: break
    if pid == 0: time.sleep(1000)
    children += 1
print(children, flush=True)
time.sleep(1000)
"#;
    let mut attached = bomber.start(inside::python(program)).await;
    let Some(Event::Output(text)) = soon(attached.next()).await.unwrap() else { panic!("it prints") };
    let children: u32 = String::from_utf8(text).unwrap().trim().parse().unwrap();
    assert!((20..=40).contains(&children), "{children}");
    // The same user outside, and yet not the same count.
    neighbour.answers().await;
    bomber.destroy().await;
    neighbour.answers().await;
}

/// TM-8: too deep for a path, without rights for its owner, and more of it than descriptors.
async fn a_tree_that_resists_is_removed_with_its_environment() {
    let test = "a_tree_that_resists_is_removed_with_its_environment";
    let Some(inside) = made(test, |_| ()).await else { return };
    let program = r#"
os.mkdir("locked"); open("locked/file", "w").close(); os.chmod("locked", 0)
os.mkdir("deep"); os.chdir("deep")
for _ in range(1100):
    os.mkdir("directory"); os.chdir("directory")
open("file", "w").close(); os.mkdir("closed"); os.mkdir("closed/below"); os.chmod("closed", 0)
"#;
    inside.python(program).await.ok();
    // How long a disk takes for so many directories is its own affair; what counts is that it is done.
    let removed = async {
        while let Err(error) = inside.env.destroy(Duration::ZERO).await {
            assert!(matches!(error, EnvironmentError::Timeout), "{error}");
        }
    };
    soon(removed).await;
}

/// EN-2: both are the same user outside.
async fn two_environments_of_one_user_keep_to_themselves() {
    let test = "two_environments_of_one_user_keep_to_themselves";
    let Some(one) = made(test, |_| ()).await else { return };
    let Some(two) = made(test, |_| ()).await else { return };
    one.sh("for dir in /workspace /tmp /dev/shm /home/user; do echo secret >$dir/of-one; done").await.ok();
    let mut sleep = one.start(inside::command(&["sleep", "1000"])).await;
    assert_eq!(
        two.sh("find / -xdev -name 'of-on[e]' 2>/dev/null; ls -A /dev/shm; kill -9 -1 2>/dev/null").await.out,
        ""
    );
    soon(sleep.sender.signal(15)).await.unwrap();
    assert_eq!(soon(sleep.wait()).await.unwrap().signal, Some(15), "it was still there");
}
