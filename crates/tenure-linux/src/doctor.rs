//! What this host gives: one line per wall and per limit, with what to do where something is missing.

use crate::keeper::Host;
use crate::walls::mounts::exists;
use crate::walls::privilege::Privilege;
use tenure_environment::{Enforced, EnvironmentError, HostReport, Wall, WallState};

/// The report on this host, from what a keeper found at its start and what the kernel says.
pub fn report(keeper: Result<Host, EnvironmentError>) -> HostReport {
    let privilege = Privilege::of_this_process();
    let mut walls = vec![kernel(), rights(privilege), namespaces(), time_namespace(), seccomp(), landlock()];
    let enforced = match keeper {
        Ok(host) => {
            walls.push(groups(&host));
            walls.push(storage(&host, privilege));
            host.enforced
        }
        Err(error) => {
            walls.push(wall("keeper", WallState::Down, error.to_string(), Some("see the error above".into())));
            Enforced::default()
        }
    };
    HostReport { walls, enforced, notes: notes(privilege) }
}

fn wall(name: &str, state: WallState, detail: impl Into<String>, remedy: Option<String>) -> Wall {
    Wall { name: name.into(), state, detail: detail.into(), remedy }
}

fn kernel() -> Wall {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let mut parts = release.split(['.', '-']);
    let version = (number(parts.next()), number(parts.next()));
    // Overlays over layers with mapped IDs are the newest thing needed.
    match version >= (5, 19) {
        true => wall("kernel", WallState::Up, release, None),
        false => wall("kernel", WallState::Down, release, Some("Linux 5.19 or later is needed".into())),
    }
}

fn rights(privilege: Privilege) -> Wall {
    match privilege {
        Privilege::Root => wall("user IDs", WallState::Up, "root: 65,536 IDs of its own for each environment", None),
        Privilege::Rootless { uid, .. } => wall(
            "user IDs",
            WallState::Partial,
            format!("user {uid}: one ID can be mapped, so the agent and the programs share it"),
            Some("run as root for an ID range per environment".into()),
        ),
    }
}

fn namespaces() -> Wall {
    let limit = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    if limit.trim() == "0" {
        let remedy = "sysctl user.max_user_namespaces=10000".to_owned();
        return wall("namespaces", WallState::Down, "user namespaces are switched off", Some(remedy));
    }
    let restricted = |file: &str, off: &str| std::fs::read_to_string(file).is_ok_and(|value| value.trim() == off);
    let refused = restricted("/proc/sys/kernel/unprivileged_userns_clone", "0")
        || restricted("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1");
    if refused && Privilege::of_this_process().single_id() {
        let remedy = "allow unprivileged user namespaces, or run as root".to_owned();
        return wall("namespaces", WallState::Down, "user namespaces are kept from ordinary users", Some(remedy));
    }
    wall("namespaces", WallState::Up, "user, mount, PID, network, IPC, UTS, cgroup", None)
}

fn time_namespace() -> Wall {
    match exists("/proc/self/ns/time") {
        true => wall("time namespace", WallState::Up, "present", None),
        false => wall("time namespace", WallState::Partial, "this kernel has none; clocks show the host's start", None),
    }
}

fn seccomp() -> Wall {
    match exists("/proc/sys/kernel/seccomp/actions_avail") {
        true => wall("seccomp", WallState::Up, "system calls are on an allow-list", None),
        false => wall(
            "seccomp",
            WallState::Down,
            "this kernel filters no system calls",
            Some("CONFIG_SECCOMP_FILTER=y".into()),
        ),
    }
}

fn landlock() -> Wall {
    let enabled = std::fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|list| list.contains("landlock"));
    let detail = if enabled { "present; programs inside may use it" } else { "absent; no wall depends on it" };
    wall("landlock", if enabled { WallState::Up } else { WallState::Partial }, detail, None)
}

fn groups(host: &Host) -> Wall {
    let missing: Vec<String> =
        host.enforced.missing().iter().map(ToString::to_string).filter(|limit| limit != "disk").collect();
    if missing.is_empty() && host.freezes {
        return wall("control groups", WallState::Up, host.groups.clone(), None);
    }
    let mut detail = host.groups.clone();
    if !missing.is_empty() {
        detail += &format!("; not enforced: {}", missing.join(", "));
    }
    if !host.freezes {
        detail += "; nothing can be paused";
    }
    let remedy = "run as root, or have a version 2 group delegated (systemd: Delegate=yes, or `systemd-run --user --scope -p Delegate=yes`)";
    wall(
        "control groups",
        if missing.len() < 3 { WallState::Partial } else { WallState::Down },
        detail,
        Some(remedy.into()),
    )
}

fn storage(host: &Host, privilege: Privilege) -> Wall {
    match &host.pool_problem {
        None => wall("storage", WallState::Up, format!("{}; the disk limit is enforced", host.storage), None),
        Some(problem) => {
            let remedy = if privilege.single_id() {
                "run as root"
            } else {
                "install btrfs-progs, on a kernel with btrfs and loop devices"
            };
            let detail = format!("{}; the disk limit is not enforced: {problem}", host.storage);
            wall("storage", WallState::Partial, detail, Some(remedy.into()))
        }
    }
}

fn notes(privilege: Privilege) -> Vec<String> {
    let mut notes = vec!["All environments share this host's kernel.".to_owned()];
    if privilege.single_id() {
        notes.push("As an ordinary user only what control groups were delegated can be limited.".into());
    }
    notes
}
