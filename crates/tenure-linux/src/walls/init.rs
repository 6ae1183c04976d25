//! The first process of an environment, from its clone until it becomes the agent.
//!
//! It runs in a copy of the stem, in namespaces of its own. Whatever goes wrong is told to the stem on their socket, and ends it.

use super::mounts::Mount;
use super::order::{Order, process_limits};
use super::privilege::{Privilege, become_agent, become_builder};
use super::root::{Masked, furnish, layers, overlay};
use super::seccomp::Filter;
use super::step::{Failed, Named, Step};
use crate::sys;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tenure_protocol::{BOOT_FD, Boot, CONTROL_FD, OOM_FD, SOCKET_DIR_FD};

/// What every environment of a keeper has in common.
pub struct Shared {
    /// The agent, in a sealed memfd.
    pub agent: OwnedFd,
    /// The system call filter.
    pub filter: Filter,
    /// What of `/proc` is masked.
    pub masked: Masked,
    /// With which rights the keeper builds.
    pub privilege: Privilege,
    /// Where layers and roots are attached, in the namespaces of those who build.
    pub stage: PathBuf,
}

/// What one environment's first process starts with.
pub struct Start<'a> {
    /// What to build.
    pub order: &'a Order,
    /// The environment's volume.
    pub volume: PathBuf,
    /// How processes name it from outside: argv of the agent.
    pub mark: CString,
    /// The name of the agent's socket.
    pub socket: &'a str,
    /// The directory for the agent's socket.
    pub socket_dir: OwnedFd,
    /// The agent's end of the control socket.
    pub control: OwnedFd,
    /// The control group's count of OOM kills.
    pub oom_counter: Option<OwnedFd>,
    /// The ID range's lock, which lives as long as the agent.
    pub id_lock: Option<OwnedFd>,
    /// Whether the control group bounds the number of processes.
    pub groups_count_processes: bool,
}

/// What the stem took with its rights, to be mounted with those inside: the template, the volume, and the host's `/usr` where it is wanted.
pub type Given = Vec<OwnedFd>;

/// Builds the walls from inside and becomes the agent. Returns only if a step fails.
pub fn run(shared: &Shared, start: Start<'_>, given: Given) -> Failed {
    match build(shared, &start, given).and_then(|()| become_program(shared, start)) {
        Err(failed) => failed,
        Ok(never) => match never {},
    }
}

fn build(shared: &Shared, start: &Start<'_>, given: Given) -> Step<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).step("private mounts")?;
    let usr = stage_layers(shared, start, given)?;
    become_builder(shared.privilege).step("user 0 inside")?;
    // By paths below the working directory: those above it are not for user 0 inside.
    overlay(Path::new("base"), Path::new("volume"))?.attach("root").step("attach the root")?;
    rustix::process::chdir("root").step("enter the root")?;
    if let Some(usr) = usr {
        usr.attach("usr").step("attach /usr")?;
    }
    let name = &start.order.hostname;
    rustix::system::sethostname(name.as_bytes()).step("host name")?;
    sys::keyring_leave().step("keyring")?;
    sys::loopback_up().step("loopback")?;
    furnish(&shared.masked, shared.privilege.single_id())?;
    rustix::process::pivot_root(".", ".").step("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).step("leave the old root")?;
    rustix::process::chdir("/").step("chdir")
}

/// Attaches the layers at the stage, in this process's own mount namespace, and makes the stage the working directory.
fn stage_layers(shared: &Shared, start: &Start<'_>, given: Given) -> Step<Option<Mount>> {
    let given = match given.is_empty() {
        true => layers(start.order, &start.volume, None)?,
        false => given.into_iter().map(Mount).collect(),
    };
    let mut given = given.into_iter();
    rustix::process::chdir(&shared.stage).step("enter the stage")?;
    for layer in ["base", "volume"] {
        let mount = given.next().ok_or_else(|| Failed::new("layers", "the stem sent too few"))?;
        mount.attach(layer).step("attach a layer")?;
    }
    Ok(given.next())
}

fn become_program(shared: &Shared, start: Start<'_>) -> Step<std::convert::Infallible> {
    let boot = boot_line(&start)?;
    become_agent(shared.privilege).step("drop capabilities")?;
    let program = rustix::io::fcntl_dupfd_cloexec(&shared.agent, AWAY).step("agent")?;
    place_descriptors(&boot, &start)?;
    shared.filter.install().step("system call filter")?;
    Err(Failed::new("start the agent", sys::exec_fd(program, &[c"tenure-agent", &start.mark])))
}

/// The boot line in a pipe, which holds it until the agent reads.
fn boot_line(start: &Start<'_>) -> Step<OwnedFd> {
    let order = start.order;
    let boot = Boot {
        environment: order.environment.clone(),
        key: order.key,
        socket: start.socket.to_owned(),
        dies_with_keeper: order.dies_with_keeper,
        user: order.user.clone(),
        grace_ms: order.grace_ms,
        rlimits: process_limits(&order.limits, start.groups_count_processes),
    };
    let mut line = serde_json::to_vec(&boot).map_err(|error| Failed::new("boot line", error))?;
    line.push(b'\n');
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).step("boot pipe")?;
    // A pipe takes this much without a reader: the line is far below 64 KiB.
    rustix::io::write(&write, &line).step("boot line")?;
    Ok(read)
}

/// The last number that [`place_descriptors`] uses.
const PLACED_MAX: i32 = OOM_FD + 1;
/// From here on descriptors are out of the way of [`place_descriptors`].
pub const AWAY: i32 = 100;

/// Puts each descriptor where the agent looks for it, and closes all others. Sources are moved out of the way first, since any of them may
/// stand where another one belongs.
fn place_descriptors(boot: &OwnedFd, start: &Start<'_>) -> Step<()> {
    let away = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, AWAY).step("descriptors");
    let null: OwnedFd = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").step("/dev/null")?.into();
    let mut placed = vec![(away(&null)?, 0), (away(&null)?, 1), (away(&null)?, 2)];
    // Its number may be one of those that are used below, and would be closed with it.
    drop(null);
    placed.push((away(boot)?, BOOT_FD));
    placed.push((away(&start.socket_dir)?, SOCKET_DIR_FD));
    placed.push((away(&start.control)?, CONTROL_FD));
    placed.extend(start.oom_counter.as_ref().map(&away).transpose()?.map(|fd| (fd, OOM_FD)));
    placed.extend(start.id_lock.as_ref().map(&away).transpose()?.map(|fd| (fd, PLACED_MAX)));
    placed.iter().try_for_each(|(fd, number)| sys::dup_to(fd, *number)).step("descriptors")
}
