//! Rights: a tenant has none over anything but its own, and there is no way to more.

use crate::ground::inside::{self, soon, spec};
use crate::ground::{Inside, keeper};
use crate::trials;
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tenure_environment::Driver as _;
use tenure_linux::template::{Settings, Source, Templates};
use tenure_protocol::Exec;

pub fn trials() -> Vec<Trial> {
    trials![
        a_program_has_no_capabilities_and_no_way_to_any,
        the_agent_has_three_capabilities_and_a_range_of_ids,
        two_environments_share_no_id,
        every_namespace_is_its_own,
        set_user_id_programs_give_nothing,
        files_with_capabilities_give_nothing,
        a_program_gets_three_descriptors,
        limits_of_a_process_are_those_that_were_set,
    ]
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {status}")).trim()
}

const NONE: &str = "0000000000000000";

/// EN-2
async fn a_program_has_no_capabilities_and_no_way_to_any() {
    let inside = Inside::new(keeper(0)).await;
    for user in [None, Some("0".to_owned())] {
        let status = inside.run(Exec { user, ..inside::shell("cat /proc/self/status") }).await.ok();
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(&status, set), NONE, "{set}");
        }
        assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"));
    }
    let tries = r#"
print(attempt(lambda: os.setuid(0)), attempt(lambda: os.setgid(0)), attempt(lambda: os.setgroups([0])))
print(attempt(lambda: os.chown("/workspace", 0, 0)), attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -5)))
"#;
    assert_eq!(inside.python(tries).await.ok(), "EPERM EPERM EPERM\nEPERM EACCES\n");
    // The agent's own user would be able to signal the agent.
    for user in ["65535", "agent"] {
        let refused = inside.try_start(Exec { user: Some(user.into()), ..inside::command(&["true"]) }).await;
        assert!(refused.is_err(), "{user}");
    }
}

/// EN-2
async fn the_agent_has_three_capabilities_and_a_range_of_ids() {
    let inside = Inside::new(keeper(0)).await;
    let agent = inside.agent_pid().await;
    let read = |name: &str| fs::read_to_string(format!("/proc/{agent}/{name}")).unwrap();
    let status = read("status");
    // Kill, set user, set group; over its own user namespace alone.
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(&status, set), "00000000000000e0", "{set}");
    }
    assert_eq!((field(&status, "NoNewPrivs"), field(&status, "Seccomp")), ("1", "2"));
    assert_eq!(field(&status, "NSpid").split_whitespace().nth(1), Some("1"));
    let uid: u32 = field(&status, "Uid").split_whitespace().next().unwrap().parse().unwrap();
    assert!(uid >= 0x7000_0000, "{uid}");
    let (uids, gids) = (read("uid_map"), read("gid_map"));
    let numbers: Vec<u32> = uids.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers, [0, uid - 65_535, 65_536]);
    assert_eq!(uids, gids);
    assert_eq!(inside.sh("cut -c1-70 /proc/self/uid_map | awk '{print $1, $3}'; id -u").await.ok(), "0 65536\n1000\n");
    // Nothing of the keeper's but what it was given: no more than its streams, its sockets and its counters.
    let files = fs::read_dir(format!("/proc/{agent}/fd")).unwrap().flatten();
    let named: Vec<String> =
        files.filter_map(|fd| fs::read_link(fd.path()).ok()?.to_str().map(str::to_owned)).collect();
    let data_dir = keeper(0).data_dir.to_str().unwrap();
    assert!(!named.iter().any(|link| link.contains(data_dir) && !link.contains("/sockets/")), "{named:?}");
}

/// EN-2
async fn two_environments_share_no_id() {
    let (one, two) = (Inside::new(keeper(0)).await, Inside::new(keeper(0)).await);
    let base = async |of: &Inside| {
        let pid = of.agent_pid().await;
        let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
        map.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    let (one, two) = (base(&one).await, base(&two).await);
    assert!(one.abs_diff(two) >= 65_536, "{one} {two}");
}

/// EN-2
async fn every_namespace_is_its_own() {
    let (one, two) = (Inside::new(keeper(0)).await, Inside::new(keeper(0)).await);
    let list = async |inside: &Inside| {
        let out =
            inside.sh("for kind in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$kind; done").await;
        out.ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, two) = (list(&one).await, list(&two).await);
    assert_eq!(one.len(), 8);
    for (number, kind) in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"].iter().enumerate() {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap().to_owned();
        assert!(one[number] != host && two[number] != host && one[number] != two[number], "{kind}");
    }
}

/// EN-2
async fn set_user_id_programs_give_nothing() {
    let inside = Inside::new(keeper(0)).await;
    // One that user 0 inside makes, in every place where it can.
    let make = "for dir in /workspace /tmp /var/tmp /home/user; do cp /usr/bin/cat $dir/cat; chmod 6755 $dir/cat; done; stat -c %a /tmp/cat";
    let as_root = |script: &str| Exec { user: Some("0".into()), ..inside::shell(script) };
    inside.run(as_root("chmod 777 /workspace /home/user 2>/dev/null; true")).await.ok();
    let made = inside.run(as_root(make)).await;
    assert!(made.out.contains("6755"), "{made:?}");
    for dir in ["/tmp", "/var/tmp"] {
        let status = inside.sh(&format!("{dir}/cat /proc/self/status")).await.ok();
        assert_eq!(field(&status, "Uid"), "1000\t1000\t1000\t1000", "{dir}");
        assert_eq!(field(&status, "Gid"), "1000\t1000\t1000\t1000", "{dir}");
        assert_eq!(field(&status, "CapEff"), NONE);
    }
    // And the host's own, behind its /usr: it waits for a password, as whoever started it.
    let su = r#"
reader, writer = os.pipe()
pid = os.posix_spawn("/usr/bin/su", ["su", "root"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)])
time.sleep(0.3)
print([line.split()[1:] for line in open(f"/proc/{pid}/status") if line.startswith(("Uid", "CapEff"))])
"#;
    if Path::new("/usr/bin/su").exists() {
        let ran = inside.python(su).await;
        assert!(ran.out.contains("[['1000', '1000', '1000', '1000'], ['0000000000000000']]"), "{ran:?}");
    }
}

/// EN-2: also where the administrator's own template has them.
async fn files_with_capabilities_give_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = dir.path();
    with_libraries(Path::new("/usr/bin/cat"), root);
    for (name, mode) in [("cat", 0o755), ("suid", 0o6755), ("caps", 0o755)] {
        fs::copy("/usr/bin/cat", root.join(name)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Version 2, effective; every capability there is, permitted and inheritable.
    let mut value = 0x0200_0001u32.to_le_bytes().to_vec();
    value.extend([0xff; 16]);
    let caps = root.join("caps");
    rustix::fs::setxattr(&caps, "security.capability", &value, rustix::fs::XattrFlags::empty()).unwrap();
    let name = "with-capabilities";
    let templates = Templates::open(&keeper(0).data_dir).unwrap();
    templates.add(name, &Source::Directory(root.into()), Settings::default()).unwrap();

    let spec = tenure_environment::EnvironmentSpec { base: name.into(), ..spec() };
    let inside = Inside { env: soon(keeper(0).driver.create(spec)).await.unwrap() };
    for program in ["/cat", "/suid", "/caps"] {
        let exec = Exec { cwd: "/".into(), ..inside::command(&[program, "/proc/self/status"]) };
        let status = inside.run(exec).await.ok();
        assert_eq!(field(&status, "Uid"), "1000\t1000\t1000\t1000", "{program}");
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(field(&status, set), NONE, "{program} {set}");
        }
    }
    inside.destroy().await;
}

/// Copies what the dynamic linker will want.
fn with_libraries(program: &Path, root: &Path) {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(&library[1..]);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(library, &copy).unwrap();
    }
}

/// EN-2
async fn a_program_gets_three_descriptors() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
    try: print(fd, os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
    except FileNotFoundError: pass  # the listing's own
"#;
    assert_eq!(inside.python(program).await.ok(), "0 /dev/null\n1 pipe\n2 pipe\n");
    let fed = Exec { stdin: true, ..inside::python(program) };
    assert_eq!(inside.run(fed).await.ok(), "0 pipe\n1 pipe\n2 pipe\n");
    let tty = Some(tenure_protocol::WindowSize { rows: 24, cols: 80 });
    let ran = inside.run(Exec { tty, ..inside::python(program) }).await.ok();
    assert_eq!(ran.matches("/dev/pts/").count(), 3, "{ran}");
    assert_eq!(ran.lines().count(), 3, "{ran}");
}

/// GV-4
async fn limits_of_a_process_are_those_that_were_set() {
    let inside = Inside::new(keeper(0)).await;
    let limits = [
        (libc::RLIMIT_NOFILE, 16_384),
        (libc::RLIMIT_SIGPENDING, 4_096),
        (libc::RLIMIT_MSGQUEUE, 819_200),
        (libc::RLIMIT_MEMLOCK, 8 << 20),
        (libc::RLIMIT_CORE, 1),
    ];
    for (number, most) in limits {
        let program = format!(
            r#"
import resource
soft, hard = resource.getrlimit({number})
print(0 <= soft <= {most} and 0 <= hard <= {most})
try:
    resource.setrlimit({number}, (hard + 1, hard + 1))
    print("raised")
except ValueError: pass
"#
        );
        assert_eq!(inside.python(&program).await.ok(), "True\n", "{number}");
    }
}
