//! Measures what could hold the files of an environment, for the decision record on storage. Needs root; leaves nothing
//! behind: all mounts are in a private namespace, loop devices detach themselves, files are in a temporary directory.
#![allow(unsafe_code)] // a user namespace for the idmapped mount, and a child that is to be killed for its memory

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bench::files::{copy_sparse, copy_tree, errno_name, fill, write_tree};
use bench::kernel::cgroup::{Group, own_group};
use bench::kernel::loopdev::{Io, LoopDevice};
use bench::kernel::pool::Pool;
use bench::kernel::{self, Mounted, btrfs, clone};
use bench::measure::{Samples, Table, repeat, timed};

const MIB: u64 = 1 << 20;
const TREE: usize = 100 << 20;
const SMALL: usize = 30;
const LARGE: usize = 5;
const LIMIT: u64 = 64 * MIB;

fn ms(took: Duration) -> String {
    bench::measure::ms(took.as_secs_f64() * 1e3)
}

fn reap(child: &clone::Child) -> io::Result<(i32, i32)> {
    clone::reap(child.pidfd.as_fd())
}

/// The cells of one candidate, in the order of the columns.
struct Candidate {
    name: &'static str,
    create: Samples,
    snapshot_dirty: Samples,
    snapshot_flushed: Samples,
    fork: Samples,
    destroy: Samples,
    facts: [&'static str; 3],
}

impl Candidate {
    fn new(name: &'static str, facts: [&'static str; 3]) -> Self {
        let none = Samples::default;
        let (create, snapshot_dirty, snapshot_flushed, fork, destroy) = (none(), none(), none(), none(), none());
        Self { name, create, snapshot_dirty, snapshot_flushed, fork, destroy, facts }
    }
}

fn ext4_make(file: &Path, size: u64) -> io::Result<()> {
    File::create(file)?.set_len(size)?;
    let made = std::process::Command::new("mkfs.ext4").args(["-q", "-F", "-b", "4096"]).arg(file).status()?;
    if made.success() { Ok(()) } else { Err(io::Error::other("mkfs.ext4 failed")) }
}

fn ext4_mount(file: &Path, on: &Path) -> io::Result<Mounted> {
    let device = LoopDevice::attach(file, Io::Buffered)?;
    Mounted::new(device.path(), on, "ext4", "")
}

fn ext4_images(dir: &Path) -> io::Result<Candidate> {
    let facts = ["yes (ENOSPC)", "I/O errors", "no"];
    let mut out = Candidate::new("sparse ext4 image per session, loop mount", facts);
    let (blank, on) = (dir.join("blank"), dir.join("mnt"));
    ext4_make(&blank, 2 << 30)?;
    for index in 0..SMALL {
        let image = dir.join(format!("image{index}"));
        let (mount, create) = timed(|| -> io::Result<_> {
            copy_sparse(&blank, &image)?;
            let mount = ext4_mount(&image, &on)?;
            fs::write(mount.path().join("ready"), "")?;
            Ok(mount)
        })?;
        out.create.push(create);
        out.destroy.push(timed(|| mount.unmount().and_then(|()| fs::remove_file(&image)))?.1);
    }
    let (image, copy) = (dir.join("origin"), dir.join("copy"));
    copy_sparse(&blank, &image)?;
    for _ in 0..LARGE {
        let mount = ext4_mount(&image, &on)?;
        write_tree(mount.path(), TREE)?;
        let snapshot = || kernel::syncfs(mount.path()).and_then(|()| copy_sparse(&image, &copy));
        out.snapshot_dirty.push(timed(snapshot)?.1);
        out.snapshot_flushed.push(timed(snapshot)?.1);
        let forked = timed(|| {
            copy_sparse(&copy, &dir.join("fork"))?;
            ext4_mount(&dir.join("fork"), &dir.join("mnt-fork"))
        })?;
        out.fork.push(forked.1);
        drop(forked.0);
        fs::remove_dir_all(mount.path().join("d0"))?;
    }
    Ok(out)
}

fn btrfs_pool(dir: &Path) -> io::Result<Candidate> {
    let facts = ["yes (EDQUOT)", "nothing (preallocated)", "yes"];
    let mut out = Candidate::new("btrfs subvolume in a preallocated pool file", facts);
    let pool = Pool::new(dir, 4 << 30, true, "nodiscard", Io::Buffered)?;
    for index in 0..SMALL {
        let name = format!("s{index}");
        let create = timed(|| pool.subvolume(&name, LIMIT).and_then(|p| fs::write(p.join("ready"), "")))?;
        out.create.push(create.1);
    }
    out.destroy =
        repeat(SMALL, Duration::ZERO, |i| timed(|| btrfs::delete(pool.path(), &format!("s{i}"))).map(|d| d.1))?;
    for index in 0..LARGE {
        let (name, dirty, flushed) = (format!("o{index}"), format!("d{index}"), format!("f{index}"));
        let origin = pool.subvolume(&name, 1 << 30)?;
        write_tree(&origin, TREE)?;
        out.snapshot_dirty.push(timed(|| btrfs::snapshot(&origin, pool.path(), &dirty, true))?.1);
        kernel::syncfs(pool.path())?;
        out.snapshot_flushed.push(timed(|| btrfs::snapshot(&origin, pool.path(), &flushed, true))?.1);
        for fork in 0..3 {
            let fork_name = format!("x{index}-{fork}");
            let forked = timed(|| -> io::Result<()> {
                btrfs::snapshot(&pool.path().join(&flushed), pool.path(), &fork_name, false)?;
                btrfs::limit(&pool.path().join(&fork_name), 1 << 30)?;
                fs::write(pool.path().join(&fork_name).join("ready"), "")
            })?;
            out.fork.push(forked.1);
        }
    }
    pool.mount.unmount()?;
    Ok(out)
}

fn tmpfs(dir: &Path) -> io::Result<Candidate> {
    let facts = ["yes (ENOSPC), but see below", "nothing", "no"];
    let mut out = Candidate::new("tmpfs with a size", facts);
    for _ in 0..SMALL {
        let (mount, create) = timed(|| -> io::Result<_> {
            let mount = Mounted::new(Path::new("tmpfs"), &dir.join("mnt"), "tmpfs", "size=64m")?;
            fs::write(mount.path().join("ready"), "").map(|()| mount)
        })?;
        out.create.push(create);
        out.destroy.push(timed(|| mount.unmount())?.1);
    }
    let mount = Mounted::new(Path::new("tmpfs"), &dir.join("mnt"), "tmpfs", "size=1g")?;
    write_tree(mount.path(), TREE)?;
    copies(&mut out, mount.path(), dir)?;
    Ok(out)
}

fn plain(dir: &Path) -> io::Result<Candidate> {
    let facts = ["no", "ENOSPC for all", "no (no reflinks on ext4)"];
    let mut out = Candidate::new("plain directory on the host's ext4", facts);
    for index in 0..SMALL {
        let path = dir.join(format!("s{index}"));
        out.create.push(timed(|| fs::create_dir(&path).and_then(|()| fs::write(path.join("ready"), "")))?.1);
        out.destroy.push(timed(|| fs::remove_dir_all(&path))?.1);
    }
    let origin = dir.join("origin");
    write_tree(&origin, TREE)?;
    copies(&mut out, &origin, dir)?;
    Ok(out)
}

/// Snapshot and fork where the only way is to copy file by file.
fn copies(out: &mut Candidate, origin: &Path, dir: &Path) -> io::Result<()> {
    for _ in 0..LARGE {
        let copy = dir.join("copy");
        out.snapshot_dirty.push(timed(|| copy_tree(origin, &copy))?.1);
        fs::remove_dir_all(&copy)?;
        kernel::syncfs(dir)?;
        out.snapshot_flushed.push(timed(|| copy_tree(origin, &copy))?.1);
        out.fork.push(timed(|| copy_tree(&copy, &dir.join("fork")))?.1);
        fs::remove_dir_all(&copy)?;
        fs::remove_dir_all(dir.join("fork"))?;
    }
    Ok(())
}

/// A child in a user namespace where 0 to 65535 are 100000 and up outside; it runs `work` once the map is written.
fn user_child(flags: i32, work: impl FnOnce() -> i32) -> io::Result<(clone::Child, File)> {
    let (start, mut go) = io::pipe()?;
    let child = clone::spawn((libc::CLONE_NEWUSER | flags) as u64, None, || match (&start).read(&mut [0]) {
        Ok(1) if kernel::become_root_inside().is_ok() => work(),
        _ => 1,
    })?;
    let map = |file: &str| fs::write(format!("/proc/{}/{file}", child.pid), "0 100000 65536");
    map("uid_map").and_then(|()| map("gid_map"))?;
    let users = File::open(format!("/proc/{}/ns/user", child.pid))?;
    go.write_all(b"g").map(|()| (child, users))
}

/// Mounts the overlay and makes one file as user 0 of the caller's namespace.
fn overlay(dir: &Path, options: &str) -> io::Result<Duration> {
    let (lower, disk) = (dir.join("lower"), dir.join("disk"));
    let (lower, disk) = (lower.display(), disk.display());
    let all = format!("lowerdir={lower},upperdir={disk}/upper,workdir={disk}/work{options}");
    let (root, took) = timed(|| Mounted::new(Path::new("overlay"), &dir.join("root"), "overlay", &all))?;
    fs::write(root.path().join("file"), "")?;
    fs::write(root.path().join("etc/hostname"), "changed").map(|()| took)
}

fn overlay_facts(dir: &Path, facts: &mut Table) -> io::Result<()> {
    let pool = Pool::new(dir, 512 * MIB, true, "nodiscard", Io::Buffered)?;
    let disk = pool.subvolume("session", LIMIT)?;
    let base = dir.join("base");
    for part in [&disk.join("upper"), &disk.join("work"), &base.join("etc"), &dir.join("root")] {
        fs::create_dir_all(part)?;
    }
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    fs::set_permissions(dir.join(".."), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    fs::write(base.join("etc/hostname"), "base")?;
    let ((child, users), made) = timed(|| user_child(0, || 0))?;
    reap(&child)?;
    facts.row(["a user namespace for the id map (process, map, open)", &ms(made)]);
    let mut bind = Samples::default();
    let mut rows = |name: &str, work: fn(&Path) -> io::Result<Duration>, flags: i32| -> io::Result<()> {
        let (mut took, mut seen) = (Samples::default(), String::new());
        for _ in 0..SMALL {
            let (lower, took_lower) = timed(|| kernel::bind_idmapped(&base, &dir.join("lower"), &users))?;
            bind.push(took_lower);
            let upper = kernel::bind_idmapped(&disk, &dir.join("disk"), &users)?;
            let (mut answer, tell) = io::pipe()?;
            let run = || {
                let text = work(dir).map_or_else(|e| errno_name(&e), |d| d.as_nanos().to_string());
                i32::from((&tell).write_all(text.as_bytes()).is_err())
            };
            let child = if flags == 0 { clone::spawn(0, None, run)? } else { user_child(flags, run)?.0 };
            reap(&child)?;
            drop(tell);
            seen.clear();
            answer.read_to_string(&mut seen)?;
            if let Ok(nanos) = seen.parse() {
                took.push(Duration::from_nanos(nanos));
                let owner = |file| fs::metadata(disk.join("upper").join(file)).map(|m| m.uid());
                seen = format!("{}; on disk owned by {}", took.cell(), owner("file")?);
            }
            drop((upper, lower));
            for part in ["upper/file", "upper/etc/hostname"] {
                let _absent_when_the_mount_failed = fs::remove_file(disk.join(part));
            }
        }
        facts.row([name, &seen]);
        Ok(())
    };
    rows("overlay over idmapped layers, mounted by root outside", |dir| overlay(dir, ""), 0)?;
    rows(
        "… by root outside with file-system ids of the range",
        |dir| kernel::as_fs_user(100_000).and_then(|()| overlay(dir, "")),
        0,
    )?;
    rows("… inside the user namespace, with userxattr", |dir| overlay(dir, ",userxattr"), libc::CLONE_NEWNS)?;
    facts.row(["one idmapped bind mount", &bind.cell()]);
    Ok(())
}

fn quota_facts(dir: &Path, facts: &mut Table) -> io::Result<()> {
    let (pool, make) = timed(|| Pool::new(dir, 512 * MIB, true, "nodiscard", Io::Buffered))?;
    facts.row(["pool: fallocate, mkfs.btrfs, loop, mount, quotas on", &ms(make)]);
    let disk = pool.subvolume("limited", LIMIT)?;
    facts.row(["btrfs, limit 64 MiB: one large file", &fill(&disk.join("big"), 2 * LIMIT)?.to_string()]);
    fs::remove_file(disk.join("big"))?;
    let again = fill(&disk.join("big"), LIMIT / 2)?;
    facts.row(["… after deleting it at the limit, 32 MiB again at once", &again.to_string()]);
    let small = pool.subvolume("inodes", 8 * MIB)?;
    let mut made = 0;
    let stop = loop {
        match fs::write(small.join(made.to_string()), "") {
            Ok(()) if made < 200_000 => made += 1,
            other => break other,
        }
    };
    let stop = stop.err().map_or("no error".to_owned(), |e| errno_name(&e));
    facts.row(["btrfs, limit 8 MiB: empty files", &format!("{stop} after {made}")]);
    btrfs::snapshot(&disk, pool.path(), "fork", false)?;
    let fork = pool.path().join("fork");
    btrfs::limit(&fork, LIMIT)?;
    let more = fill(&fork.join("more"), LIMIT)?;
    facts.row(["fork that begins with 32 MiB, limit 64 MiB: new data", &more.to_string()]);
    let other = pool.subvolume("other", 1 << 30)?;
    facts.row(["btrfs, pool of 512 MiB full", &fill(&other.join("big"), 1 << 30)?.to_string()]);
    let act = |r: io::Result<()>| r.err().map_or("ok".to_owned(), |e| errno_name(&e));
    let take = act(btrfs::snapshot(&disk, pool.path(), "snap", true));
    let write = act(fs::write(disk.join("tiny"), "x"));
    let remove = act(fs::remove_file(disk.join("big")));
    let delete = act(btrfs::delete(pool.path(), "other"));
    btrfs::sync(pool.path())?;
    std::thread::sleep(Duration::from_millis(500));
    let after = fill(&disk.join("after"), MIB)?;
    let row = format!("snapshot {take}, small write {write}, unlink {remove}, delete subvolume {delete}; then {after}");
    facts.row(["… on the full pool", &row]);
    Ok(())
}

fn pool_file_facts(dir: &Path, facts: &mut Table) -> io::Result<()> {
    for (name, options) in [("discard=async (the default)", ""), ("nodiscard", "nodiscard")] {
        let pool = Pool::new(&dir.join(options), 512 * MIB, true, options, Io::Buffered)?;
        fill(&pool.path().join("big"), 256 * MIB)?;
        fs::remove_file(pool.path().join("big"))?;
        kernel::syncfs(pool.path())?;
        std::thread::sleep(Duration::from_secs(12).min(Duration::from_secs(if options.is_empty() { 12 } else { 1 })));
        let held = fs::metadata(&pool.file)?.blocks() / 2048;
        facts.row([
            format!("pool file of 512 MiB after writing and deleting 256 MiB, {name}"),
            format!("{held} MiB held"),
        ]);
    }
    for (name, io) in [("through the page cache", Io::Buffered), ("direct", Io::Direct)] {
        let pool = Pool::new(&dir.join(name), 1 << 30, true, "nodiscard", io)?;
        let big = timed(|| fill(&pool.path().join("big"), 256 * MIB))?.1;
        let small =
            repeat(SMALL, Duration::ZERO, |i| timed(|| fill(&pool.path().join(format!("f{i}")), 4096)).map(|t| t.1))?;
        let cell = format!("{:.0} ms; {}", big.as_secs_f64() * 1e3, small.cell());
        facts.row([format!("loop {name}: 256 MiB written and flushed; 64 KiB written and flushed"), cell]);
    }
    let small = repeat(SMALL, Duration::ZERO, |i| timed(|| fill(&dir.join(format!("f{i}")), 4096)).map(|t| t.1))?;
    let big = timed(|| fill(&dir.join("big"), 256 * MIB))?.1;
    let cell = format!("{:.0} ms; {}", big.as_secs_f64() * 1e3, small.cell());
    facts.row(["the same on the host's ext4".to_owned(), cell]);
    Ok(())
}

fn full_host_facts(dir: &Path, facts: &mut Table) -> io::Result<()> {
    for (name, preallocated) in [("sparse", false), ("preallocated", true)] {
        let small = dir.join(name);
        fs::create_dir_all(&small)?;
        ext4_make(&small.join("host"), 768 * MIB)?;
        let host = ext4_mount(&small.join("host"), &small.join("mnt"))?;
        let pool = Pool::new(&host.path().join("p"), 384 * MIB, preallocated, "nodiscard", Io::Buffered)?;
        let disk = pool.subvolume("session", 1 << 30)?;
        fill(&host.path().join("ballast"), 1 << 30)?;
        let wrote = fill(&disk.join("big"), 128 * MIB)?;
        let later = fs::write(disk.join("later"), "x").and_then(|()| kernel::syncfs(pool.path()));
        let later = later.err().map_or("ok".to_owned(), |e| errno_name(&e));
        facts.row([format!("host full, {name} btrfs pool"), format!("{wrote}; the next write {later}")]);
        drop(pool);
        if !preallocated {
            fs::remove_file(host.path().join("ballast"))?;
            ext4_make(&host.path().join("image"), 384 * MIB)?;
            let image = ext4_mount(&host.path().join("image"), &small.join("image"))?;
            fill(&host.path().join("ballast"), 1 << 30)?;
            let wrote = fill(&image.path().join("big"), 128 * MIB)?;
            facts.row(["host full, sparse ext4 image".to_owned(), wrote.to_string()]);
        }
    }
    Ok(())
}

fn tmpfs_facts(dir: &Path, facts: &mut Table) -> io::Result<()> {
    let mount = Mounted::new(Path::new("tmpfs"), &dir.join("mnt"), "tmpfs", "size=256m")?;
    let group = Group::new(&own_group("memory")?, &format!("tenure-trial-{}", std::process::id()))?;
    group.set("memory.limit_in_bytes", &(64 * MIB).to_string())?;
    let path = mount.path().join("big");
    let child = clone::fork(|| i32::from(group.attach(0).and_then(|()| fill(&path, 128 * MIB)).is_err()))?;
    let (code, status) = reap(&child)?;
    let held = fs::metadata(&path)?.len() / MIB;
    let end = if code == libc::CLD_KILLED { format!("killed by signal {status}") } else { format!("exit {status}") };
    facts.row(["tmpfs of 256 MiB, memory limit 64 MiB, 128 MiB written", &format!("{end} after {held} MiB")]);
    mount.unmount() // before the group goes, which the pages are charged to
}

fn scale_facts(dir: &Path, facts: &mut Table) -> io::Result<()> {
    let pool = Pool::new(dir, 4 << 30, true, "nodiscard", Io::Buffered)?;
    let make = |i: usize| timed(|| pool.subvolume(&format!("s{i}"), LIMIT)).map(|t| t.1);
    let first = repeat(50, Duration::ZERO, make)?;
    repeat(400, Duration::ZERO, |i| make(i + 50))?;
    let last = repeat(50, Duration::ZERO, |i| make(i + 450))?;
    facts.row(["blank subvolume with limit: the first 50 of 500", &first.cell()]);
    facts.row(["… the last 50 of 500", &last.cell()]);
    let back = reclaim(&pool)?;
    facts.row(["space of a deleted 100 MiB subvolume is back after (with BTRFS_IOC_SYNC)", &ms(back)]);
    let remount = timed(|| {
        let Pool { mount, file } = pool;
        let on = mount.path().to_owned();
        mount.unmount()?;
        let device = LoopDevice::attach(&file, Io::Buffered)?;
        Mounted::new(device.path(), &on, "btrfs", "nodiscard")
    })?;
    facts.row(["unmount and mount of that pool (500 subvolumes)", &ms(remount.1)]);
    Ok(())
}

fn reclaim(pool: &Pool) -> io::Result<Duration> {
    write_tree(&pool.subvolume("gone", 1 << 30)?, TREE)?;
    kernel::syncfs(pool.path())?;
    let before = kernel::free_bytes(pool.path())?;
    btrfs::delete(pool.path(), "gone")?;
    let start = std::time::Instant::now();
    while kernel::free_bytes(pool.path())? < before + 90 * MIB && start.elapsed() < Duration::from_secs(40) {
        btrfs::sync(pool.path())?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(start.elapsed())
}

fn accounting_facts(dir: &Path, facts: &mut Table) -> io::Result<()> {
    for (name, quota) in
        [("classic", btrfs::Quota::Classic), ("simple", btrfs::Quota::Simple), ("no", btrfs::Quota::Off)]
    {
        let pool = Pool::with_quota(&dir.join(name), 2 << 30, true, "nodiscard", Io::Buffered, quota)?;
        btrfs::subvolume_create(pool.path(), "origin")?;
        let origin = pool.path().join("origin");
        write_tree(&origin, TREE)?;
        kernel::syncfs(pool.path())?;
        let fork = |i: usize| timed(|| btrfs::snapshot(&origin, pool.path(), &format!("x{i}"), false)).map(|t| t.1);
        let first = repeat(10, Duration::ZERO, fork)?;
        repeat(80, Duration::ZERO, |i| fork(i + 10))?;
        let last = repeat(10, Duration::ZERO, |i| fork(i + 90))?;
        let limit = btrfs::limit(&pool.path().join("x5"), 120 * MIB);
        let more = fill(&pool.path().join("x5/more"), 128 * MIB)?;
        let change = || write_tree(&pool.path().join("x50/d0"), 10 << 20).and_then(|()| kernel::syncfs(pool.path()));
        let change = timed(change)?.1;
        let limit = limit.map_or_else(|e| format!("limit: {e}"), |()| more.to_string());
        let cell = format!(
            "first 10: {}; last 10: {}; 10 MiB in 1,000 files in one, flushed: {}",
            first.cell(),
            last.cell(),
            ms(change)
        );
        facts.row([format!("{name} quotas, 100 forks of 100 MiB"), cell]);
        facts.row([format!("{name} quotas: fork that begins with 100 MiB, limit 120 MiB"), limit]);
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    anyhow::ensure!(kernel::is_root(), "the trial mounts and needs root");
    kernel::private_mounts()?;
    let work = tempfile::Builder::new().prefix("tenure-trial-").tempdir()?;
    let head = [
        "candidate (ms: median, p99)",
        "create, ready to write",
        "snapshot of 100 MiB, dirty",
        "flushed",
        "fork or restore",
        "destroy",
        "kernel limit",
        "host full",
        "shares layers",
    ];
    let mut table = Table::new("Storage candidates", &head);
    let candidates = [ext4_images, btrfs_pool, tmpfs, plain];
    for (index, candidate) in candidates.iter().enumerate() {
        let dir = work.path().join(format!("c{index}"));
        fs::create_dir(&dir)?;
        let c = candidate(&dir)?;
        let times = [&c.create, &c.snapshot_dirty, &c.snapshot_flushed, &c.fork, &c.destroy].map(Samples::cell);
        let row = std::iter::once(c.name.to_owned()).chain(times).chain(c.facts.map(str::to_owned));
        table.row(row);
        fs::remove_dir_all(&dir)?;
    }
    println!("{}\n\n{}", bench::measure::machine(), table.to_markdown());
    let mut facts = Table::new("Facts", &["what", "seen"]);
    type Trial = fn(&Path, &mut Table) -> io::Result<()>;
    let trials: [(&str, Trial); 7] = [
        ("quota", quota_facts),
        ("overlay", overlay_facts),
        ("pool file", pool_file_facts),
        ("full host", full_host_facts),
        ("tmpfs", tmpfs_facts),
        ("scale", scale_facts),
        ("accounting", accounting_facts),
    ];
    for (name, trial) in trials {
        let dir = work.path().join(name.replace(' ', "-"));
        fs::create_dir(&dir)?;
        if let Err(error) = trial(&dir, &mut facts) {
            facts.row([name.to_owned(), format!("stopped: {error}")]);
        }
        let _gone_at_the_latest_with_its_parent = fs::remove_dir_all(&dir);
    }
    println!("{}", facts.to_markdown());
    Ok(())
}
