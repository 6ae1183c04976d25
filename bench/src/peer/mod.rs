//! The public tools that Tenure is measured against, behind one trait.

pub mod bundle;
pub mod bwrap;
pub mod etcd;
pub mod oci;
pub mod podman;
pub mod postgres;
pub mod tenure_run;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::kernel::{self, cgroup, clone};

const BOUND: Duration = Duration::from_secs(20);

/// A tool that can run a program in an environment of its own.
pub trait Peer {
    /// Its name and version.
    fn name(&self) -> &str;

    /// What it leaves out of what Tenure does, or nothing.
    fn differs(&self) -> &str;

    /// Whether one call takes so long that fewer samples must do.
    fn is_slow(&self) -> bool {
        false
    }

    /// From starting the tool to its end, with `/bin/true` run inside an environment made and removed for it.
    ///
    /// # Errors
    /// When the tool fails or does not end in time.
    fn create_and_destroy(&mut self) -> io::Result<Duration>;

    /// Starts an environment for [`Peer::exec`]; `false` when the tool has no such thing.
    ///
    /// # Errors
    /// When the tool fails or does not end in time.
    fn start(&mut self) -> io::Result<bool>;

    /// Runs `/bin/true` in the environment that was started.
    ///
    /// # Errors
    /// When the tool fails or does not end in time.
    fn exec(&mut self) -> io::Result<Duration>;

    /// Removes what was started.
    fn stop(&mut self);
}

/// What [`all`] found.
pub struct Found {
    /// The peers that work on this host.
    pub there: Vec<Box<dyn Peer>>,
    /// A line for each that does not, with the reason.
    pub absent: Vec<String>,
}

/// Looks for all peers; `dir` takes their files.
///
/// # Errors
/// Those of making what they are to run.
pub fn all(dir: &Path) -> io::Result<Found> {
    let rootfs = bundle::rootfs(dir)?;
    let (mut there, mut absent) = (Vec::new(), Vec::new());
    let mut take = |name: &str, found: io::Result<Box<dyn Peer>>| match found {
        Ok(peer) => there.push(peer),
        Err(error) => absent.push(format!("{name} was not there: {error}")),
    };
    take("bwrap", bwrap::Bwrap::find(dir, &rootfs));
    take("crun", oci::Oci::find("crun", dir));
    take("runc", oci::Oci::find("runc", dir));
    take("podman", podman::Podman::find(dir, &rootfs));
    Ok(Found { there, absent })
}

/// Moves the caller into a view of the host in which the peers can work and leave nothing behind: mounts of its own, the
/// caller's own control groups as the roots, and v1 alone where both versions are mounted (crun refuses a mixture).
///
/// # Errors
/// Those of `unshare` and `mount`.
pub fn host_view() -> io::Result<()> {
    kernel::private_mounts()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let of_kind = |wanted: &str| -> Vec<(PathBuf, String)> {
        let parts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mine = parts.filter(|p| p.get(2) == Some(&wanted));
        mine.filter_map(|p| Some((PathBuf::from(p.get(1)?), (*p.get(3)?).to_owned()))).collect()
    };
    let old = of_kind("cgroup");
    for (on, options) in &old {
        let controller = options.rsplit(',').next().unwrap_or_default();
        let own = cgroup::own_group(controller)?;
        if own != *on {
            kernel::bind(&own, on)?;
        }
    }
    if !old.is_empty() {
        of_kind("cgroup2").iter().try_for_each(|(on, _)| kernel::unmount(on))?;
    }
    kernel::own_cgroup_view()
}

/// Runs a command to its end without terminal or input, and says how long that took.
///
/// # Errors
/// When it cannot be started, fails, or takes longer than 20 s.
pub fn timed_run(command: &mut Command, log: &Path) -> io::Result<Duration> {
    let errors = File::create(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let start = Instant::now();
    let mut child = command.spawn()?;
    let pidfd = clone::pidfd_open(child.id() as i32)?;
    if !clone::readable(pidfd.as_fd(), BOUND)? {
        child.kill()?;
    }
    let status = child.wait()?;
    let took = start.elapsed();
    if status.success() {
        return Ok(took);
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = said.lines().last().unwrap_or_default();
    Err(io::Error::other(format!("{status}: {last}")))
}

/// The first line of `program --version`.
///
/// # Errors
/// When the program is not installed.
pub fn version(program: &str) -> io::Result<String> {
    let output = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next().unwrap_or(program);
    Ok(first.replace(" version", ""))
}
