//! System calls that no tenant may make, and what the kernel shows of the host.

use crate::ground::{Inside, inside, keeper};
use crate::trials;
use libtest_mimic::Trial;
use tenure_protocol::{Exec, WindowSize};

pub fn trials() -> Vec<Trial> {
    trials![
        a_forbidden_call_answers_as_without_the_capability,
        a_call_that_is_on_no_list_does_not_exist,
        no_namespace_can_be_made_or_joined,
        calls_of_another_architecture_end_the_process,
        nobody_types_on_a_terminal_for_others,
        the_kernels_settings_cannot_be_written,
        what_the_kernel_says_of_the_host_reads_as_empty,
        there_are_no_devices_but_the_harmless_ones,
        no_device_can_be_made,
        control_groups_are_out_of_sight,
        a_crash_leaves_nothing_on_the_host,
    ]
}

/// A Python table of calls by name.
fn table(calls: &[(&str, i64)]) -> String {
    let lines: Vec<String> = calls.iter().map(|(name, number)| format!("({name:?}, {number})")).collect();
    format!("[{}]", lines.join(", "))
}

macro_rules! calls {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Tries all of them with arguments that mean nothing; answers with those that did not fail as expected.
async fn try_all(inside: &Inside, calls: &[(&str, i64)], expected: &str) -> String {
    let program = format!(
        "for name, number in {}:\n    answer = call(number, 0, 0, 0, 0, 0, 0)\n    if answer != {expected:?}: print(name, answer)",
        table(calls)
    );
    inside.python(&program).await.ok()
}

/// EN-2
async fn a_forbidden_call_answers_as_without_the_capability() {
    let inside = Inside::new(keeper(0)).await;
    let forbidden = calls![
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_open_tree,
        SYS_move_mount,
        SYS_fsopen,
        SYS_fsconfig,
        SYS_fsmount,
        SYS_fspick,
        SYS_mount_setattr,
        SYS_unshare,
        SYS_setns,
        SYS_open_by_handle_at,
        SYS_swapon,
        SYS_swapoff,
        SYS_quotactl,
        SYS_quotactl_fd,
        SYS_add_key,
        SYS_request_key,
        SYS_keyctl,
        SYS_io_uring_setup,
        SYS_io_uring_enter,
        SYS_io_uring_register,
        SYS_bpf,
        SYS_userfaultfd,
        SYS_perf_event_open,
        SYS_fanotify_init,
        SYS_fanotify_mark,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_kexec_load,
        SYS_reboot,
        SYS_syslog,
        SYS_acct,
        SYS_vhangup,
        SYS_settimeofday,
        SYS_clock_settime,
        SYS_clock_adjtime,
        SYS_adjtimex,
        SYS_sethostname,
        SYS_setdomainname,
        SYS_mbind,
        SYS_set_mempolicy,
        SYS_migrate_pages,
        SYS_move_pages,
    ];
    assert_eq!(try_all(&inside, forbidden, "EPERM").await, "");
    #[cfg(target_arch = "x86_64")]
    assert_eq!(
        try_all(&inside, calls![SYS_ioperm, SYS_iopl, SYS_modify_ldt, SYS_kexec_file_load, SYS_uselib], "EPERM").await,
        ""
    );
    let chroot = inside.python("print(attempt(lambda: os.chroot('/tmp')))").await.ok();
    assert_eq!(chroot, "EPERM\n");
    inside.answers().await;
}

/// EN-2
async fn a_call_that_is_on_no_list_does_not_exist() {
    let inside = Inside::new(keeper(0)).await;
    // Newer than the lists, or without any use in here.
    let unknown = &[
        ("clone3", libc::SYS_clone3),
        ("set_mempolicy_home_node", 450),
        ("map_shadow_stack", 453),
        ("statmount", 457),
        ("listmount", 458),
        ("lsm_get_self_attr", 459),
        ("open_tree_attr", 467),
        ("none", 5000),
    ];
    assert_eq!(try_all(&inside, unknown, "ENOSYS").await, "");
    #[cfg(target_arch = "x86_64")]
    {
        // x32: getpid, execve and mount, by numbers of their own.
        let x32 = &[("getpid", 0x4000_0000 | 39), ("execve", 0x4000_0000 | 520), ("mount", 0x4000_0000 | 165)];
        assert_eq!(try_all(&inside, x32, "ENOSYS").await, "");
    }
}

/// EN-2
async fn no_namespace_can_be_made_or_joined() {
    let inside = Inside::new(keeper(0)).await;
    let kinds = [
        ("mount", libc::CLONE_NEWNS),
        ("uts", libc::CLONE_NEWUTS),
        ("ipc", libc::CLONE_NEWIPC),
        ("user", libc::CLONE_NEWUSER),
        ("pid", libc::CLONE_NEWPID),
        ("net", libc::CLONE_NEWNET),
        ("cgroup", libc::CLONE_NEWCGROUP),
    ];
    let flags: Vec<String> = kinds.iter().map(|(name, flag)| format!("({name:?}, {flag})")).collect();
    let program = format!(
        r#"
for name, flag in [{}]:
    for both in (flag, flag | {user}, flag | 1 << 40):
        pid = libc.syscall(ctypes.c_long({clone}), ctypes.c_long(both | signal.SIGCHLD), 0, 0, 0, 0)
        if pid == 0: os._exit(0)
        if pid != -1 or ctypes.get_errno() != errno.EPERM: print("clone", name, pid, ctypes.get_errno())
        if call({unshare}, both) != "EPERM": print("unshare", name)
if call({unshare}, {time}) != "EPERM": print("unshare time")
for kind in os.listdir("/proc/self/ns"):
    fd = os.open("/proc/self/ns/" + kind, os.O_RDONLY)
    if call({setns}, fd, 0) != "EPERM": print("setns", kind)
"#,
        flags.join(", "),
        user = libc::CLONE_NEWUSER,
        time = libc::CLONE_NEWTIME,
        clone = libc::SYS_clone,
        unshare = libc::SYS_unshare,
        setns = libc::SYS_setns,
    );
    assert_eq!(inside.python(&program).await.ok(), "");
}

/// EN-2
async fn calls_of_another_architecture_end_the_process() {
    #[cfg(target_arch = "x86_64")]
    {
        let inside = Inside::new(keeper(0)).await;
        // mov eax, 20 (getpid of 32 bits); int 0x80; ret
        let ran = inside
            .python(
                r"
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b'\xb8\x14\x00\x00\x00\xcd\x80\xc3')
call_it = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
print('answered', call_it())",
            )
            .await;
        // SIGSYS from the filter; SIGSEGV from a kernel that has no such calls at all.
        assert!(matches!(ran.ended.signal, Some(libc::SIGSYS | libc::SIGSEGV)), "{ran:?}");
        assert_eq!(ran.out, "");
        inside.answers().await;
    }
}

/// EN-2
async fn nobody_types_on_a_terminal_for_others() {
    let inside = Inside::new(keeper(0)).await;
    let program = format!(
        r#"
byte = ctypes.create_string_buffer(b"x")
for request in ({sti}, {sti} | 1 << 32, {linux}, {linux} | 1 << 32):
    print(call({ioctl}, 0, request, byte), end=" ")
"#,
        sti = libc::TIOCSTI,
        linux = libc::TIOCLINUX,
        ioctl = libc::SYS_ioctl,
    );
    let tty = Some(WindowSize { rows: 24, cols: 80 });
    let ran = inside.run(Exec { tty, ..inside::python(&program) }).await;
    assert_eq!(ran.ok(), "EPERM EPERM EPERM EPERM ");
}

/// EN-2
async fn the_kernels_settings_cannot_be_written() {
    let inside = Inside::new(keeper(0)).await;
    // As user 0 inside too, who owns what root owns outside in nothing but name.
    for user in [None, Some("0".to_owned())] {
        let program = r#"
for top in ("/proc/sys", "/sys", "/proc/fs"):
    for path, dirs, files in os.walk(top):
        for name in files:
            full = os.path.join(path, name)
            answer = attempt(lambda: os.close(os.open(full, os.O_WRONLY | os.O_NONBLOCK)))
            if answer not in ("EROFS", "EACCES", "EPERM", "ENOENT"): print(full, answer)
        answer = attempt(lambda: os.mkdir(os.path.join(path, "made")))
        if answer not in ("EROFS", "EACCES", "EPERM", "ENOENT"): print("mkdir", path, answer)
for path in ("/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper", "/proc/sys/kernel/modprobe"):
    answer = attempt(lambda: open(path, "w"))
    if answer not in ("EROFS", "EACCES", "ENOENT"): print(path, answer)
# Masked: whatever is written goes nowhere.
for path in ("/proc/sysrq-trigger", "/proc/kcore", "/proc/keys"):
    if os.path.exists(path) and os.stat(path).st_rdev != os.stat("/dev/null").st_rdev: print(path, "is not masked")
"#;
        let ran = inside.run(Exec { user, ..inside::python(program) }).await;
        assert_eq!(ran.ok(), "");
    }
    for path in ["/proc/sys/kernel/core_pattern", "/sys/x", "/proc/sysrq-trigger"] {
        inside.write(path, b"x").await.expect_err(path);
    }
}

/// EN-2
async fn what_the_kernel_says_of_the_host_reads_as_empty() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
shown = set("cgroups cpuinfo filesystems loadavg meminfo mounts net self stat swaps sys sysvipc thread-self uptime version vmstat".split())
for name in os.listdir("/proc"):
    path = "/proc/" + name
    if name.isdigit() or name in shown: continue
    what = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(100)
    if what: print(path, what)
for path in ("/sys/kernel", "/sys/class", "/sys/block", "/sys/firmware", "/sys/fs", "/sys/module", "/sys/bus"):
    if os.path.exists(path): print(path)
"#;
    assert_eq!(inside.python(program).await.ok(), "");
    // Only what belongs to this environment is mounted, and the host's paths are not told.
    let mounts = inside.sh("cat /proc/self/mountinfo").await.ok();
    let data_dir = keeper(0).data_dir.to_str().unwrap();
    assert!(!mounts.contains(data_dir) && !mounts.contains(&keeper(0).uuid), "{mounts}");
}

/// EN-2
async fn there_are_no_devices_but_the_harmless_ones() {
    let inside = Inside::new(keeper(0)).await;
    let mut names: Vec<String> = inside.sh("ls -A /dev").await.ok().lines().map(str::to_owned).collect();
    names.sort();
    let expected =
        "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split(' ').collect::<Vec<_>>();
    assert_eq!(names, expected);
    let made =
        inside.sh("touch /dev/made; ln -s x /dev/made; rm /dev/null; echo x >/dev/sda; ls /dev/mem /dev/kmsg").await;
    assert!(made.ended.exit_code != Some(0) && made.out.is_empty(), "{made:?}");
    assert_eq!(inside.sh("test -c /dev/null && echo still").await.ok(), "still\n");
}

/// EN-2
async fn no_device_can_be_made() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
import stat
# Memory, a disk, the kernel's log; and the device that an overlay takes for a deleted file.
for place in ("/workspace", "/tmp"):
    for kind, major, minor in ((stat.S_IFCHR, 1, 1), (stat.S_IFBLK, 8, 0), (stat.S_IFCHR, 1, 11), (stat.S_IFCHR, 0, 0)):
        answer = attempt(lambda: os.mknod(place + "/device", kind | 0o666, os.makedev(major, minor)))
        if answer not in ("EPERM", "EACCES"): print(place, major, minor, answer)
"#;
    assert_eq!(inside.python(program).await.ok(), "");
    let ran = inside.run(Exec { user: Some("0".into()), ..inside::python(program) }).await;
    assert_eq!(ran.ok(), "");
}

/// EN-2
async fn control_groups_are_out_of_sight() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
for line in open("/proc/self/cgroup"):
    if not line.endswith(":/\n"): print("group", line)
for line in open("/proc/self/mountinfo"):
    if " - cgroup" in line: print("mount", line)
for pid in os.listdir("/proc"):
    if pid.isdigit() and "tenure" in open("/proc/" + pid + "/cgroup").read(): print("of", pid)
for path, dirs, files in os.walk("/"):
    dirs[:] = [d for d in dirs if os.path.join(path, d) not in ("/usr", "/proc")]
    if any(name in files for name in ("cgroup.procs", "memory.max", "release_agent")): print(path)
"#;
    assert_eq!(inside.python(program).await.ok(), "");
}

/// EN-2
async fn a_crash_leaves_nothing_on_the_host() {
    let inside = Inside::new(keeper(0)).await;
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let ran = inside.sh("ulimit -c; cd /workspace; kill -SEGV $$").await;
    assert_eq!(ran.ended.signal, Some(libc::SIGSEGV));
    assert!(matches!(ran.out.trim(), "0" | "1"), "{ran:?}");
    assert_eq!(inside.sh("ls -A /workspace").await.ok(), "", "the pattern is {pattern}");
    // Nor can the limit be raised again.
    let raised = inside.sh("ulimit -c unlimited && echo raised").await;
    assert_eq!(raised.out, "", "{raised:?}");
}
