//! What the tests of the driver stand on: keepers that are started before any thread is, environments, and a look for what they left.
//!
//! A test binary calls [`main`] first of all. That forks its keepers, runs the tests it lists with [`trials!`], ends the keepers, and then asks the kernel
//! whether anything is left of them.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

pub mod inside;
pub mod leftover;

pub use inside::Inside;

use libtest_mimic::{Arguments, Trial};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;
use tenure_linux::LinuxDriver;
use tenure_linux::keeper::{self, KeeperProcess, Settings};
use tokio::runtime::Runtime;

/// Longer than any test takes on a busy machine; past it, something hangs.
const PATIENCE: Duration = Duration::from_secs(150);
/// Enough for every environment of one binary, and little enough for any machine.
const POOL_BYTES: u64 = 1 << 30;

/// A keeper and its driver.
pub struct Keeper {
    pub driver: LinuxDriver,
    pub pid: i32,
    pub data_dir: PathBuf,
    /// The name of its instance, which is part of all that the kernel lists of it.
    pub uuid: String,
}

struct Ground {
    keepers: Vec<Keeper>,
    runtime: Runtime,
}

static GROUND: OnceLock<Ground> = OnceLock::new();

/// The keeper that was asked for as number `index`.
pub fn keeper(index: usize) -> &'static Keeper {
    &GROUND.get().unwrap().keepers[index]
}

/// Where its keeper may keep its files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    Pool,
    Plain,
}

/// Names the tests of a binary.
#[macro_export]
macro_rules! trials {
    ($($name:ident),* $(,)?) => { vec![$($crate::ground::trial(stringify!($name), $name)),*] };
}

/// One test of the list.
pub fn trial<F: Future<Output = ()> + 'static>(name: &'static str, test: fn() -> F) -> Trial {
    Trial::test(name, move || {
        let ground = GROUND.get().unwrap();
        let bounded = async { tokio::time::timeout(PATIENCE, test()).await };
        ground.runtime.block_on(bounded).map_err(|_elapsed| format!("{name} hangs").into())
    })
}

/// Runs the tests over as many keepers as storages are named, and ends the process. Must be called before any thread is started.
pub fn main(storages: &[Storage], trials: Vec<Trial>) -> ! {
    let arguments = Arguments::from_args();
    if arguments.list {
        libtest_mimic::run(&arguments, trials).exit();
    }
    // On a disk: a file system in memory has neither loop devices with direct I/O nor the limits of a disk.
    let home = if is_root() { Path::new(env!("CARGO_TARGET_TMPDIR")) } else { Path::new("/var/tmp") };
    let dirs = [Storage::Pool, Storage::Plain].map(|storage| (storage, private_dir(home)));
    let dir_of = |storage| dirs.iter().find(|(of, _)| *of == storage).unwrap().1.path();
    let processes: Vec<KeeperProcess> =
        storages.iter().map(|storage| start_keeper(dir_of(*storage), *storage, true)).collect();
    let uuids: Vec<Vec<String>> = dirs.iter().map(|(_, dir)| leftover::instances(dir.path())).collect();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ground = runtime.block_on(async { processes.into_iter().map(connect).collect() });
    assert!(GROUND.set(Ground { keepers: ground, runtime }).is_ok());
    let conclusion = libtest_mimic::run(&arguments, trials);
    let ground = GROUND.get().unwrap();
    ground.runtime.block_on(async {
        for keeper in &ground.keepers {
            let ended = tokio::time::timeout(Duration::from_secs(30), keeper.driver.shut_down()).await;
            assert!(ended.is_ok(), "a keeper does not end");
        }
    });
    let mut clean = true;
    for ((_, dir), uuids) in dirs.into_iter().zip(uuids) {
        let left = leftover::wait_for_nothing(dir.path(), &uuids);
        clean &= left.is_empty();
        left.iter().for_each(|line| eprintln!("left behind: {line}"));
        drop(dir);
    }
    println!("nothing is left behind (TM-8): {}\n", if clean { "ok" } else { "FAILED" });
    std::process::exit(if clean && !conclusion.has_failed() { 0 } else { 101 });
}

/// Forks a keeper.
pub fn start_keeper(data_dir: &Path, storage: Storage, dies_with_manager: bool) -> KeeperProcess {
    keeper::start(Settings {
        data_dir: data_dir.to_owned(),
        dies_with_manager,
        berths_ready: 1,
        only_one: false,
        pool_bytes: Some(POOL_BYTES),
        plain_storage: storage == Storage::Plain,
    })
    .unwrap()
}

fn connect(process: KeeperProcess) -> Keeper {
    let (pid, data_dir) = (process.pid, process.settings.data_dir.clone());
    let uuid = leftover::instance_of(pid, &data_dir).unwrap_or_default();
    Keeper { driver: LinuxDriver::connect(process).unwrap(), pid, data_dir, uuid }
}

fn private_dir(home: &Path) -> TempDir {
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(home).unwrap();
    tempfile::Builder::new().prefix("ground-").tempdir_in(home).unwrap()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test cannot run here. The caller returns.
pub fn skipped(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {reason}\n");
    // One who dropped root's rights may not write to root's log; then it is printed, and found in the output.
    let log = std::env::var_os("SKIP_LOG")
        .and_then(|log| std::fs::OpenOptions::new().append(true).create(true).open(log).ok());
    match log {
        Some(mut log) => log.write_all(line.as_bytes()).unwrap(),
        None => eprint!("{line}"),
    }
}
