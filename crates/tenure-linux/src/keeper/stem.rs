//! A stem: it readies a berth, waits in it for an order, builds the environment there, and ends.
//!
//! Whatever it makes is named after the berth, so that a cleaner finds all of it wherever the stem stopped.

use super::berth::{Berth, SOCKET_NAME};
use super::ground::Ground;
use super::wire::{self, Build, Built};
use crate::cgroup::Group;
use crate::process::started_ticks;
use crate::storage::Volume;
use crate::sys::{self, Cloned};
use crate::walls::ids::IdRange;
use crate::walls::init::{self, Start};
use crate::walls::order::{Order, Over};
use crate::walls::step::{Failed, Named, Step};
use crate::walls::{mounts, root};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use tenure_environment::Enforced;

/// All namespaces there are.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// What may be written past the limit while an environment is made again.
const REMAKING_ROOM: u64 = 16 << 20;
/// The step that fails where there are no files to make an environment over.
pub const NO_FILES: &str = "files";

/// What a stem has made ready before it is told what for.
struct Ready {
    name: String,
    group: Group,
    /// None where there is too little space for another one: then it waits for an order whose files are there already.
    volume: Option<Volume>,
    socket_dir: PathBuf,
    ids: Option<IdRange>,
}

/// Runs in the stem's own process, from its fork to its end.
pub fn run(ground: &Ground, name: &str, keeper: &OwnedFd) {
    if let Err(failed) = serve(ground, name, keeper) {
        let _ = wire::send(keeper, &Built::Failed(failed), &[]);
    }
}

fn serve(ground: &Ground, name: &str, keeper: &OwnedFd) -> Step<()> {
    let ready = prepare(ground, name)?;
    let said = |result: std::io::Result<()>| result.step("talk to the keeper");
    said(wire::send(keeper, &Built::Ready, &[]))?;
    // The keeper's end is a quiet end of this one: it was never needed.
    let Some((Build { order }, _)) = wire::receive(keeper).step("talk to the keeper")? else { return Ok(()) };
    let (berth, files) = build(ground, ready, &order, keeper)?;
    let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    said(wire::send(keeper, &Built::Started { berth: Box::new(berth) }, &files))
}

fn prepare(ground: &Ground, name: &str) -> Step<Ready> {
    if !ground.shared.privilege.single_id() {
        // Layers are staged here, and seen nowhere else.
        mounts::leave_host_namespace().step("mount namespace")?;
    }
    let group = ground.groups.group(name);
    group.create().step("control group")?;
    if ground.groups.wants_waiting_process() {
        group.enter().step("enter the control group")?;
    }
    let volume = match ground.volumes.create(name) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => None,
        created => Some(created.step("volume")?),
    };
    let socket_dir = ground.socket_dir(name);
    std::fs::create_dir(&socket_dir).step("socket directory")?;
    let ids = match ground.shared.privilege.single_id() {
        true => None,
        false => Some(IdRange::take().step("user IDs")?),
    };
    Ok(Ready { name: name.to_owned(), group, volume, socket_dir, ids })
}

fn build(ground: &Ground, ready: Ready, order: &Order, keeper: &OwnedFd) -> Step<(Berth, [OwnedFd; 2])> {
    ready.group.set_limits(&order.limits).step("limits")?;
    let volume = match (&order.over, &ready.volume) {
        (Some(over), _) => take_over(ground, over, &ready.name)?,
        (None, Some(blank)) => blank.clone(),
        (None, None) => ground.volumes.create(&ready.name).step("volume")?,
    };
    // An overlay that is mounted again needs some room, also in a volume that is full.
    let room = if order.over.is_some() { REMAKING_ROOM } else { 0 };
    volume.set_limit(order.limits.disk_bytes.saturating_add(room)).step("disk limit")?;
    give_socket_dir(ground, &ready)?;
    let (our_end, its_end) = wire::pair().step("socket")?;
    let (control, agent_control) = stream_pair().step("control socket")?;
    let target = ready.group.clone_target().step("control group")?;
    let start = Start {
        order,
        mark: ground.mark(&ready.name),
        volume: volume.path.clone(),
        socket: SOCKET_NAME,
        socket_dir: File::open(&ready.socket_dir).step("socket directory")?.into(),
        control: agent_control,
        oom_counter: ready.group.oom_counter().map(OwnedFd::from),
        id_lock: ready.ids.as_ref().map(|ids| ids.lock.as_fd().try_clone_to_owned()).transpose().step("user IDs")?,
        groups_count_processes: ground.groups.enforced().pids,
    };
    let (pid, pidfd, our_end) = clone(ground, start, our_end, its_end, target.as_ref().map(AsFd::as_fd))?;
    wire::send(keeper, &Built::Cloned, &[pidfd.as_fd()]).step("talk to the keeper")?;
    let started = started_ticks(pid).ok_or_else(|| Failed::new("start time", Errno::SRCH))?;
    hand_over(ground, &ready, &volume, order, pid, &our_end)?;
    if room > 0 {
        volume.set_limit(order.limits.disk_bytes).step("disk limit")?;
    }
    let volume_dir = File::open(&volume.path).step("volume")?.into();
    let berth = Berth {
        enforced: Enforced { disk: volume.limited, pids: true, ..ground.groups.enforced() },
        name: ready.name,
        group: ready.group,
        volume,
        socket_dir: ready.socket_dir,
        pid,
        started_ticks: started,
        id_base: ready.ids.as_ref().map(|ids| ids.base),
    };
    Ok((berth, [control, volume_dir]))
}

/// Brings the files that another boot left into this berth, wherever a life that was not finished may have left them. As long as the environment is not
/// bound they say that they are of that boot, and are kept.
fn take_over(ground: &Ground, over: &Over, name: &str) -> Step<Volume> {
    let holds = |berth: &str| {
        ground.survivor(berth).is_some_and(|found| {
            found.environment == over.owner.environment && found.generation == over.owner.generation
        })
    };
    let found = match holds(&over.berth) {
        true => over.berth.clone(),
        false => match ground.volumes.existing().into_iter().find(|berth| holds(berth)) {
            Some(found) => found,
            None if ground.volumes.exists(&over.berth) && ground.volumes.owner(&over.berth).is_none() => {
                let volume = File::open(ground.volumes.dir().join(&over.berth)).step("volume")?;
                over.owner.write(&volume).step("volume")?;
                over.berth.clone()
            }
            None => return Err(Failed::new(NO_FILES, "no volume says that it is its")),
        },
    };
    let mark = ground.mark(&found).to_string_lossy().into_owned();
    if crate::process::marks(&mark).contains(&mark) {
        return Err(Failed::new("volume", "a life that was not finished still runs in it"));
    }
    ground.volumes.rename(&found, name).step("volume")
}

/// The agent makes its socket there, as the user it is outside.
fn give_socket_dir(ground: &Ground, ready: &Ready) -> Step<()> {
    let Some(ids) = &ready.ids else { return Ok(()) };
    let agent = ids.base + ground.shared.privilege.agent_id();
    std::os::unix::fs::chown(&ready.socket_dir, Some(agent), Some(agent)).step("socket directory")
}

fn stream_pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    rustix::net::socketpair(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, flags, None)
}

/// Clones the first process as a sibling, so that the keeper is its parent. Each side keeps its own end of their socket only: so each sees when the
/// other is gone.
fn clone(
    ground: &Ground,
    start: Start<'_>,
    our_end: OwnedFd,
    its_end: OwnedFd,
    group: Option<BorrowedFd<'_>>,
) -> Step<(i32, OwnedFd, OwnedFd)> {
    let time = if ground.time_namespace { libc::CLONE_NEWTIME as u64 } else { 0 };
    let flags = NAMESPACES as u64 | libc::CLONE_PARENT as u64 | time;
    #[allow(unsafe_code)]
    // SAFETY: a stem has one thread, as the keeper that it was forked from.
    let cloned = unsafe { sys::clone3(flags, group) }.step("clone")?;
    match cloned {
        Cloned::Parent { pid, pidfd } => Ok((pid, pidfd, our_end)),
        Cloned::Child => {
            drop(our_end);
            if let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(its_end, init::AWAY)
                // Without a word the stem is gone, and with it whoever would hear of a failure.
                && let Ok(Some(((), given))) = wire::receive::<()>(&socket)
            {
                let _ = wire::send(&socket, &init::run(&ground.shared, start, given), &[]);
            }
            sys::exit_now(1)
        }
    }
}

/// Maps the IDs, makes the mounts that take the keeper's rights, gives them to the first process and waits until it is the agent: its end of the
/// socket closes when the agent starts.
fn hand_over(ground: &Ground, ready: &Ready, volume: &Volume, order: &Order, pid: i32, socket: &OwnedFd) -> Step<()> {
    let privilege = ground.shared.privilege;
    privilege.write_id_maps(pid, ready.ids.as_ref().map_or(0, |ids| ids.base)).step("ID maps")?;
    let made = match privilege.single_id() {
        // Without rights of its own out here, the first process takes them, with those it has inside.
        true => Vec::new(),
        false => {
            let userns = File::open(format!("/proc/{pid}/ns/user")).step("user namespace")?;
            root::layers(order, &volume.path, Some(userns.as_fd()))?
        }
    };
    let files: Vec<BorrowedFd<'_>> = made.iter().map(|mount| mount.0.as_fd()).collect();
    wire::send(socket, &(), &files).step("talk to the first process")?;
    match wire::receive::<Failed>(socket).step("talk to the first process")? {
        None => Ok(()),
        Some((failed, _)) => Err(failed),
    }
}
