//! Starting a keeper: what it inherits, what it leaves behind, what it readies before it serves.

use super::door::{self, Door, NotJoined};
use super::facts::FactsDir;
use super::ground::{Ground, Side};
use super::link::Link;
use super::serve::Keeper;
use super::spare::Spare;
use super::wire::{self, Host};
use super::{clean, recover};
use crate::cgroup::{Layout, Parent};
use crate::instance::{Instance, group_name};
use crate::process::KEEPER_NAME;
use crate::storage::{Volumes, pool};
use crate::sys::{self, Cloned};
use crate::walls::ids::RUN_DIR;
use crate::walls::init::Shared;
use crate::walls::mounts;
use crate::walls::privilege::Privilege;
use crate::walls::root::Masked;
use crate::walls::seccomp::Filter;
use crate::walls::step::{Named, Step};
use rustix::fs::{FlockOperation, MemfdFlags, Mode, SealFlags};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The agent, linked statically, carried in every program that can start a keeper.
static AGENT_IMAGE: &[u8] = include_bytes!(env!("TENURE_AGENT_IMAGE"));

/// Places for the template, the volume and the root of an environment that is being built.
const STAGES: [&str; 3] = ["base", "volume", "root"];

/// How long a start waits for space in a full pool.
const FULL_PATIENCE: Duration = Duration::from_secs(10);
/// How long a start waits for a keeper or its children that are about to go, and for a manager that is.
const JOIN_PATIENCE: Duration = Duration::from_secs(30);
const JOIN_LOOK: Duration = Duration::from_millis(20);

/// How a keeper works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory; its pool is shared by all instances in it.
    pub data_dir: PathBuf,
    /// Whether the keeper ends everything when its manager is gone, and every agent when its keeper is. Otherwise both go on, and the next start over
    /// this data directory finds them.
    pub dies_with_manager: bool,
    /// How many berths wait for an order.
    pub berths_ready: usize,
    /// Whether one environment is all that will ever be asked for.
    pub only_one: bool,
    /// The size of the storage pool, if this start makes it.
    pub pool_bytes: Option<u64>,
    /// Use plain directories even where a pool could be had.
    pub plain_storage: bool,
}

/// A running keeper, as its starter has it.
#[derive(Debug)]
pub struct KeeperProcess {
    /// The manager's end of their socket.
    pub socket: OwnedFd,
    /// Its process ID.
    pub pid: i32,
    /// Names exactly this process.
    pub pidfd: OwnedFd,
    /// How it works.
    pub settings: Settings,
    /// The version that it speaks.
    pub(super) version: u32,
    /// Gets another keeper where this one dies and its environments do not.
    pub(super) spare: Option<Spare>,
}

/// A keeper that was forked or joined.
pub struct Obtained {
    /// The manager's end of their socket.
    pub socket: OwnedFd,
    /// Its process ID.
    pub pid: i32,
    /// Names exactly this process.
    pub pidfd: OwnedFd,
    /// The version that it speaks.
    pub version: u32,
}

/// Starts a keeper for a new instance, or, where it is to outlive its manager, joins the one of this data directory: the living one, or a new one
/// in place of one that died. The caller must have one thread only.
pub fn start(mut settings: Settings) -> io::Result<KeeperProcess> {
    if settings.dies_with_manager {
        let instance = Instance::create(&settings.data_dir)?;
        let Obtained { socket, pid, pidfd, version } = fork(&settings, instance)?;
        return Ok(KeeperProcess { socket, pid, pidfd, settings, version, spare: None });
    }
    std::fs::create_dir_all(&settings.data_dir)?;
    // The keeper stays in no directory of its starter's.
    settings.data_dir = settings.data_dir.canonicalize()?;
    let spare = Spare::fork(&settings)?;
    let Obtained { socket, pid, pidfd, version } = spare.obtain()?;
    Ok(KeeperProcess { socket, pid, pidfd, settings, version, spare: Some(spare) })
}

/// Finds the living keeper of a data directory, or forks one. The caller must have one thread only.
pub fn obtain(settings: &Settings) -> io::Result<Obtained> {
    let turn = File::create(settings.data_dir.join("keeper.lock"))?;
    rustix::fs::flock(&turn, FlockOperation::LockExclusive)?;
    let until = Instant::now() + JOIN_PATIENCE;
    loop {
        let Some(uuid) = Instance::lasting(&settings.data_dir)?.into_iter().next() else {
            return fork(settings, Instance::create_lasting(&settings.data_dir)?);
        };
        match Instance::take(&settings.data_dir, &uuid) {
            Ok(Some(instance)) => return fork(settings, instance),
            // It was removed just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(None) => match join(settings, &uuid) {
                Ok(joined) => return Ok(joined),
                Err(NotJoined::NoVersion(min, max)) => return Err(io::Error::other(NotJoined::NoVersion(min, max))),
                // The manager before, or the keeper, may be about to go.
                Err(why) if Instant::now() >= until => return Err(io::Error::other(why)),
                Err(NotJoined::Busy | NotJoined::Absent(_)) => {}
            },
        }
        std::thread::sleep(JOIN_LOOK);
    }
}

fn join(settings: &Settings, uuid: &str) -> Result<Obtained, NotJoined> {
    let (socket, version, pid) = door::join(&Instance::dir_of(&settings.data_dir, uuid), settings.berths_ready)?;
    let named = rustix::process::Pid::from_raw(pid).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
    let pidfd = rustix::process::pidfd_open(named, rustix::process::PidfdFlags::empty()).map_err(io::Error::from)?;
    Ok(Obtained { socket, pid, pidfd, version })
}

fn fork(settings: &Settings, instance: Instance) -> io::Result<Obtained> {
    let (ours, its) = wire::pair()?;
    #[allow(unsafe_code)]
    // SAFETY: our caller has one thread.
    match unsafe { sys::fork() }? {
        Cloned::Parent { pid, pidfd } => Ok(Obtained { socket: ours, pid, pidfd, version: wire::VERSION_MAX }),
        Cloned::Child => {
            drop(ours);
            let code = match run(settings, instance, its) {
                Ok(()) => 0,
                Err(_) => 1,
            };
            sys::exit_now(code)
        }
    }
}

fn run(settings: &Settings, instance: Instance, manager: OwnedFd) -> Step<()> {
    detach(KEEPER_NAME).step("keeper")?;
    if !settings.dies_with_manager {
        let kept = [manager.as_raw_fd(), instance.lock.as_raw_fd()];
        leave_everything(&kept).step("keeper")?;
    }
    let (ground, host, sweep) = match prepare(settings, instance) {
        Ok(prepared) => prepared,
        Err(failed) => {
            let _ = wire::send(&manager, &wire::Answer::Unable(failed.clone()), &[]);
            return Err(failed);
        }
    };
    let mut link = Link::new(manager).step("talk to the manager")?;
    let mut keeper = match settings.dies_with_manager {
        true => Keeper::new(ground, host.clone(), settings, sweep, FactsDir::nowhere()),
        false => {
            let facts = FactsDir::at(ground.instance.facts());
            let door = Door::open(&ground.instance.dir).step("keeper's socket")?;
            let recovered = recover::everything(&ground, &facts);
            Keeper::new(ground, host.clone(), settings, sweep, facts).lasting(door, recovered)
        }
    };
    link.tell(&wire::Answer::Up(host), &[]);
    keeper.serve_manager(link);
    keeper.serve().step("keeper")
}

/// Leaves the manager's terminal, signals and name.
pub fn detach(name: &std::ffi::CStr) -> io::Result<()> {
    rustix::process::setsid()?;
    sys::ignore_terminal_signals()?;
    Ok(sys::name_process(name)?)
}

/// Keeps nothing of whoever started it: not its standard streams, which somebody may be reading to their end, no directory, no other descriptor.
pub fn leave_everything(kept: &[i32]) -> io::Result<()> {
    rustix::process::chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    for stream in 0..3 {
        sys::dup_to(&null, stream)?;
    }
    drop(null);
    // Each environment takes some descriptors of its keeper's.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: files.maximum, ..files };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, all);
    Ok(sys::close_all_but(kept)?)
}

/// The processes that may be moved out of the way of control groups: the keeper, and those that started it.
fn family(settings: &Settings) -> Vec<u32> {
    let parent = std::os::unix::process::parent_id();
    let mut family = vec![std::process::id(), parent];
    if !settings.dies_with_manager {
        // The parent is the spare, and its parent the manager.
        family.extend(crate::process::parent_of(parent as i32).map(|pid| pid as u32));
    }
    family
}

fn prepare(settings: &Settings, instance: Instance) -> Step<(Ground, Host, Side)> {
    let privilege = Privilege::of_this_process();
    if !privilege.single_id() {
        mounts::leave_host_namespace().step("mount namespace")?;
    }
    let (pool, pool_problem) = mount_pool(settings, privilege).step("mount the storage pool")?;
    let volumes_of = |uuid: &str| match &pool {
        Some(pool) => Volumes::Pool(pool.join(uuid)),
        None => Volumes::Plain(settings.data_dir.join("instances").join(uuid).join("volumes")),
    };
    let volumes = open_volumes(settings, &instance, volumes_of).step("volumes")?;
    let (layout, name, family) = (Layout::of_this_host(), group_name(&instance.uuid), family(settings));
    let groups = match settings.dies_with_manager {
        true => Parent::create(&layout, &name, &family),
        false => Parent::find_or_create(&layout, &name, &family),
    };
    let host = Host {
        groups: groups.describe().to_owned(),
        enforced: tenure_environment::Enforced { disk: volumes.limited(), pids: true, ..groups.enforced() },
        freezes: groups.freezes(),
        // Without groups, processes are limited by what each of them inherited.
        limits_move: groups.enforced().pids,
        storage: if pool.is_some() { "btrfs pool" } else { "plain directories" }.to_owned(),
        pool_problem,
    };
    let shared = Shared {
        agent: agent_image().step("agent image")?,
        filter: Filter::compile(),
        masked: Masked::of_this_kernel().step("read /proc")?,
        privilege,
        stage: stage(&instance, privilege).step("stage")?,
    };
    // What the dead left is taken down beside the first orders, not before them.
    let time_namespace = Path::new("/proc/self/ns/time").exists();
    let boot_id = crate::process::boot_id().step("boot ID")?;
    let ground = Ground { shared, groups, volumes, instance, boot_id, time_namespace };
    let sweep = ground.beside(|| clean::dead_instances(&settings.data_dir, volumes_of).map(drop)).step("clean up")?;
    Ok((ground, host, sweep))
}

/// Where layers are staged. Seen in private mount namespaces only, so that one place serves all keepers; for root it is one that a process without
/// rights over other people's directories can reach.
fn stage(instance: &Instance, privilege: Privilege) -> io::Result<PathBuf> {
    let stage = if privilege.single_id() { instance.stage() } else { Path::new(RUN_DIR).join("stage") };
    for place in STAGES {
        DirBuilder::new().recursive(true).mode(0o711).create(stage.join(place))?;
    }
    Ok(stage)
}

/// Opens the place for this instance's volumes. All that fills a pool may be what the dead left, or was removed just now: then it waits for that.
/// Whether there is room for a volume, each berth asks for itself.
fn open_volumes(
    settings: &Settings,
    instance: &Instance,
    volumes_of: impl Fn(&str) -> Volumes + Copy,
) -> io::Result<Volumes> {
    let volumes = volumes_of(&instance.uuid);
    let full = volumes.is_full();
    match volumes.open() {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(error),
        Ok(volumes) if !full => return Ok(volumes),
        Ok(_) | Err(_) => {}
    }
    clean::dead_instances(&settings.data_dir, volumes_of)?;
    volumes_of(&instance.uuid).settle_all(FULL_PATIENCE)?;
    volumes_of(&instance.uuid).open()
}

/// The pool, or why there is none. One that is there and lasts has environments' files in it: without them nobody is taken over, so that is a failure.
fn mount_pool(settings: &Settings, privilege: Privilege) -> io::Result<(Option<PathBuf>, Option<String>)> {
    if settings.plain_storage {
        return Ok((None, Some("plain storage was asked for".into())));
    }
    if privilege.single_id() {
        return Ok((None, Some("a storage pool needs root".into())));
    }
    match pool::mount_pool(&settings.data_dir, settings.pool_bytes) {
        Ok(pool) => Ok((Some(pool), None)),
        Err(error) if !settings.dies_with_manager && pool::is_there(&settings.data_dir) => Err(io::Error::other(error)),
        Err(error) => Ok((None, Some(error.to_string()))),
    }
}

/// The agent in a memfd that nobody can change any more.
fn agent_image() -> io::Result<OwnedFd> {
    let sealed = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag, and allow execution without it.
    let image = rustix::fs::memfd_create("tenure-agent", sealed | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("tenure-agent", sealed))?;
    let mut rest = AGENT_IMAGE;
    while !rest.is_empty() {
        let written = rustix::io::write(image.as_fd(), rest)?;
        rest = &rest[written..];
    }
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&image, seals)?;
    // Executing needs a descriptor that cannot write.
    let image = reopen_read_only(&image)?;
    // A program that its own user may not read belongs, in `/proc`, to root outside: user 0 inside could otherwise list the agent's descriptors and
    // tell the kernel to kill the agent first.
    rustix::fs::fchmod(&image, Mode::from_raw_mode(0o111))?;
    Ok(image)
}

fn reopen_read_only(image: &OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    Ok(std::fs::File::open(format!("/proc/self/fd/{}", image.as_raw_fd()))?.into())
}
