//! Watching files and directories: what changes, as the kernel tells it, until the connection closes.
//!
//! A slow reader is not waited for: while there is no room, the kernel's own queue fills, and says so when it is full.

use crate::connection::OutBuffer;
use crate::credentials::Tenant;
use crate::failure::Failure;
use crate::file::is_dots;
use crate::path;
use crate::poll::{Poller, Source, Token};
use crate::request::Step;
use crate::upload::TEMPORARY_PREFIX;
use rustix::event::epoll::EventFlags;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::inotify::{self, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Dir, FileType, OFlags};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use tenure_protocol::{ChangeKind, FailureCode, Reply};

/// Most directories watched at once.
const WATCHES_MAX: usize = 10_000;
/// Most bytes of their paths, together.
const PATHS_BYTES_MAX: usize = 4 * 1024 * 1024;
const DIRECTORIES_PER_TURN: usize = 16;
const BATCHES_PER_TURN: usize = 64;
/// Room for one event with the longest name; what is read at once must be answered at once.
const BATCH_BYTES: usize = 512;

const INTEREST: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// A directory that is still to be watched.
#[derive(Debug)]
struct Pending {
    path: Vec<u8>,
    /// It appeared while watching: what is in it already was not seen to come.
    appeared: bool,
}

/// A watch.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    root: i32,
    recursive: bool,
    paths: HashMap<i32, Vec<u8>>,
    paths_bytes: usize,
    pending: VecDeque<Pending>,
    /// Whether the manager was told that the watch stands.
    standing: bool,
}

/// One event, taken out of the kernel's buffer.
struct Change {
    watch: i32,
    flags: ReadFlags,
    name: Option<Vec<u8>>,
}

/// A watch failure: the kernel's limits have error numbers that mean something else elsewhere.
fn failure(errno: Errno, path: &str) -> Failure {
    match errno {
        Errno::NOSPC | Errno::MFILE | Errno::NOMEM => {
            Failure::new(FailureCode::Limit, format!("{path}: too many watches"))
        }
        errno => Failure::of(errno, path),
    }
}

fn add(watcher: impl AsFd, target: &OwnedFd) -> Result<i32, Errno> {
    // The very thing that was opened, whatever has taken its path meanwhile.
    inotify::add_watch(watcher, format!("/proc/self/fd/{}", target.as_raw_fd()), INTEREST)
}

impl Watch {
    /// Watches the path itself; directories below follow step by step.
    pub fn begin(
        poller: &Rc<Poller>,
        token: Token,
        path: String,
        recursive: bool,
        tenant: &Tenant,
    ) -> Result<Watch, Failure> {
        tenant.run(|| {
            let failed = |errno| failure(errno, &path);
            let target = path::open(&path, OFlags::PATH).map_err(failed)?;
            let found = rustix::fs::fstat(&target).map_err(failed)?;
            let is_directory = FileType::from_raw_mode(found.st_mode).is_dir();
            let watcher =
                inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(failed)?;
            let root = add(&watcher, &target).map_err(failed)?;
            let bytes = path.trim_end_matches('/').as_bytes().to_vec();
            let mut watch = Watch {
                source: Source::new(poller, watcher, token),
                root,
                recursive: recursive && is_directory,
                paths_bytes: bytes.len(),
                paths: HashMap::from([(root, bytes.clone())]),
                pending: VecDeque::new(),
                standing: false,
            };
            if watch.recursive {
                watch.enqueue_children(&bytes, false, &mut |_| {});
            }
            Ok(watch)
        })
    }

    /// Watches some more directories, then says what has changed.
    pub fn step(&mut self, out: &mut OutBuffer, tenant: &Tenant) -> Step {
        for _ in 0..DIRECTORIES_PER_TURN {
            if !out.has_room() {
                break;
            }
            let Some(pending) = self.pending.pop_front() else { break };
            if let Err(failure) = tenant.run(|| self.watch_directory(&pending, out)) {
                if !self.standing {
                    out.reply(&failure.reply());
                    return Step::Finished;
                }
                tell(out, ChangeKind::Overflow, &pending.path);
            }
        }
        if !self.pending.is_empty() {
            // What happens meanwhile waits in the kernel's queue.
            self.source.want(EventFlags::empty());
            return if out.has_room() { Step::Again } else { Step::Waiting };
        }
        if !self.standing {
            self.standing = true;
            out.reply(&Reply::Done);
        }
        self.read_changes(out);
        let can_read = out.has_room() && self.pending.is_empty();
        self.source.want(if can_read { EventFlags::IN } else { EventFlags::empty() });
        if self.pending.is_empty() { Step::Waiting } else { Step::Again }
    }

    /// Watches one directory below the root. One that is gone again, or that the tenant may not read, is passed over.
    fn watch_directory(&mut self, pending: &Pending, out: &mut OutBuffer) -> Result<(), Failure> {
        let shown = String::from_utf8_lossy(&pending.path);
        let full = || Failure::new(FailureCode::Limit, format!("{shown}: too many directories to watch"));
        if self.paths.len() >= WATCHES_MAX || self.paths_bytes + pending.path.len() > PATHS_BYTES_MAX {
            return Err(full());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let opened = path::open_at(rustix::fs::CWD, OsStr::from_bytes(&pending.path), flags);
        let added = opened.and_then(|target| add(&self.source, &target));
        match added {
            Ok(watch) => {
                self.paths_bytes += pending.path.len();
                if let Some(before) = self.paths.insert(watch, pending.path.clone()) {
                    self.paths_bytes -= before.len();
                }
            }
            Err(errno @ (Errno::NOSPC | Errno::NOMEM)) => return Err(failure(errno, &shown)),
            Err(_) => return Ok(()),
        }
        let mut appeared = |path: &[u8]| tell(out, ChangeKind::Created, path);
        self.enqueue_children(&pending.path, pending.appeared, &mut appeared);
        Ok(())
    }

    /// Notes the directories in a directory; says what is in one that appeared just now.
    fn enqueue_children(&mut self, path: &[u8], appeared: bool, tell: &mut dyn FnMut(&[u8])) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let shown = if path.is_empty() { &b"/"[..] } else { path };
        let Ok(directory) = path::open_at(rustix::fs::CWD, OsStr::from_bytes(shown), flags).and_then(Dir::new) else {
            return;
        };
        for entry in directory.flatten().filter(|entry| !is_dots(entry.file_name())) {
            let is_directory = entry.file_type() == FileType::Directory;
            if !is_directory && !appeared {
                continue;
            }
            let path = join(path, entry.file_name().to_bytes());
            if appeared {
                tell(&path);
            }
            // One past the most is enough to run into the limit.
            if is_directory && self.pending.len() <= WATCHES_MAX {
                self.pending.push_back(Pending { path, appeared });
            }
        }
    }

    fn read_changes(&mut self, out: &mut OutBuffer) {
        for _ in 0..BATCHES_PER_TURN {
            if !out.has_room() || !self.pending.is_empty() {
                return;
            }
            let changes = self.read_batch();
            if changes.is_empty() {
                return;
            }
            for change in changes {
                self.take(change, out);
            }
        }
    }

    fn read_batch(&self) -> Vec<Change> {
        let mut buffer = [MaybeUninit::uninit(); BATCH_BYTES];
        let mut reader = Reader::new(&self.source, &mut buffer);
        let mut changes = Vec::new();
        while changes.is_empty() || !reader.is_buffer_empty() {
            let Ok(event) = reader.next() else { break };
            let name = event.file_name().map(|name| name.to_bytes().to_vec());
            changes.push(Change { watch: event.wd(), flags: event.events(), name });
        }
        changes
    }

    fn take(&mut self, change: Change, out: &mut OutBuffer) {
        let Change { watch, flags, name } = change;
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return tell(out, ChangeKind::Overflow, self.paths.get(&self.root).map_or(b"", Vec::as_slice));
        }
        if flags.contains(ReadFlags::IGNORED) {
            if let Some(path) = self.paths.remove(&watch) {
                self.paths_bytes -= path.len();
            }
            return;
        }
        let Some(directory) = self.paths.get(&watch) else { return };
        if name.as_ref().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX.as_bytes())) {
            return;
        }
        let path = name.as_ref().map_or_else(|| directory.clone(), |name| join(directory, name));
        let Some(kind) = kind_of(flags, name.is_some(), watch == self.root) else { return };
        tell(out, kind, &path);
        if self.recursive && flags.contains(ReadFlags::ISDIR) && name.is_some() {
            if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                self.pending.push_back(Pending { path, appeared: true });
            } else if flags.contains(ReadFlags::MOVED_FROM) {
                self.forget_below(&path);
            }
        }
    }

    /// What was moved away is not below the watched path any more.
    fn forget_below(&mut self, path: &[u8]) {
        let below =
            |candidate: &[u8]| candidate == path || (candidate.starts_with(path) && candidate[path.len()] == b'/');
        let gone: Vec<i32> = self.paths.iter().filter(|(_, path)| below(path)).map(|(watch, _)| *watch).collect();
        for watch in gone {
            let _ = inotify::remove_watch(&self.source, watch);
            if let Some(path) = self.paths.remove(&watch) {
                self.paths_bytes -= path.len();
            }
        }
    }
}

/// A directory other than the root tells about its own end through the one above.
fn kind_of(flags: ReadFlags, named: bool, is_root: bool) -> Option<ChangeKind> {
    if !named && !is_root {
        return None;
    }
    if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
        Some(ChangeKind::Created)
    } else if flags.intersects(
        ReadFlags::DELETE | ReadFlags::MOVED_FROM | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT,
    ) {
        Some(ChangeKind::Deleted)
    } else if flags.intersects(ReadFlags::MODIFY | ReadFlags::ATTRIB) {
        Some(ChangeKind::Modified)
    } else {
        None
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

fn tell(out: &mut OutBuffer, kind: ChangeKind, path: &[u8]) {
    let path = if path.is_empty() { "/".into() } else { String::from_utf8_lossy(path).into_owned() };
    out.reply(&Reply::Change { kind, path });
}
