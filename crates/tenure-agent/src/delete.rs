//! Removing a directory with all it holds: some entries per turn, however deep the tree is.
//!
//! Nothing is ever reached by its path again: a level is opened below the one above, never through a link, and left through `..`, which must
//! be the very directory it was entered from. Only the deepest levels are kept open; the stack of the others is their names.

use crate::failure::Failure;
use crate::file::is_dots;
use crate::path;
use crate::request::Step;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use tenure_protocol::{FailureCode, Reply};

const OPERATIONS_PER_TURN: usize = 128;
/// Levels kept open at once.
const OPEN_MAX: usize = 16;
/// Deepest tree that is removed; the stack's memory is bounded by it.
const DEPTH_MAX: usize = 32 * 1024;
/// How often somebody may put something new into a directory that was just emptied.
const REFILLS_MAX: usize = 64;

/// One directory on the way down.
#[derive(Debug)]
struct Level {
    name: CString,
    identity: (u64, u64),
    open: Option<Dir>,
}

impl Level {
    fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<Level, Errno> {
        let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
        let found = rustix::fs::fstat(&directory)?;
        let identity = (found.st_dev, found.st_ino);
        Ok(Level { name: name.to_owned(), identity, open: Some(Dir::new(directory)?) })
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A tree being removed.
#[derive(Debug)]
pub struct Delete {
    path: String,
    /// The directory that holds the tree.
    parent: OwnedFd,
    levels: Vec<Level>,
    refills: usize,
}

/// Removes what takes one step; gives back the work where there is more.
pub fn begin(path: String, recursive: bool) -> Result<Option<Delete>, Failure> {
    let failed = |errno| Failure::of(errno, &path);
    let (parent, name) = path::open_parent(&path)?;
    let found = path::stat_entry(&parent, name).map_err(failed)?;
    let flags = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        _ => AtFlags::empty(),
    };
    match rustix::fs::unlinkat(&parent, name, flags) {
        Err(Errno::NOTEMPTY | Errno::EXIST) if recursive => {}
        done => return done.map(|()| None).map_err(failed),
    }
    let name = CString::new(name).map_err(|_| failed(Errno::INVAL))?;
    let level = Level::open(parent.as_fd(), &name).map_err(failed)?;
    Ok(Some(Delete { path, parent, levels: vec![level], refills: 0 }))
}

/// What the top of the stack says is next.
enum Next {
    Empty,
    Entry(CString, FileType),
}

impl Delete {
    /// Some steps; gives an answer once it is over.
    pub fn step(&mut self) -> (Step, Option<Reply>) {
        for _ in 0..OPERATIONS_PER_TURN {
            if self.levels.is_empty() {
                return (Step::Finished, Some(Reply::Done));
            }
            if let Err(failure) = self.operate() {
                return (Step::Finished, Some(failure.reply()));
            }
        }
        (Step::Again, None)
    }

    fn failed(&self, errno: Errno) -> Failure {
        Failure::of(errno, &self.path)
    }

    fn operate(&mut self) -> Result<(), Failure> {
        match self.next().map_err(|errno| self.failed(errno))? {
            Next::Empty => self.ascend(),
            Next::Entry(name, FileType::Directory) => self.descend(&name),
            Next::Entry(name, _) => self.remove(&name),
        }
    }

    fn top(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.levels.last().and_then(|level| level.open.as_ref()).ok_or(Errno::BADF)?.fd()
    }

    fn next(&mut self) -> Result<Next, Errno> {
        let directory = self.levels.last_mut().and_then(|level| level.open.as_mut()).ok_or(Errno::BADF)?;
        loop {
            match directory.read() {
                None => return Ok(Next::Empty),
                Some(entry) => {
                    let entry = entry?;
                    if !is_dots(entry.file_name()) {
                        return Ok(Next::Entry(entry.file_name().to_owned(), entry.file_type()));
                    }
                }
            }
        }
    }

    fn remove(&mut self, name: &CStr) -> Result<(), Failure> {
        let removed = self.top().and_then(|top| rustix::fs::unlinkat(top, name, AtFlags::empty()));
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // The file system does not say what an entry is, or it was swapped.
            Err(Errno::ISDIR) => self.descend(name),
            Err(errno) => Err(self.failed(errno)),
        }
    }

    fn descend(&mut self, name: &CStr) -> Result<(), Failure> {
        if self.levels.len() >= DEPTH_MAX {
            return Err(Failure::new(FailureCode::Limit, format!("{}: too deep", self.path)));
        }
        match self.top().and_then(|top| Level::open(top, name)) {
            Ok(level) => self.levels.push(level),
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => return self.remove(name),
            Err(errno) => return Err(self.failed(errno)),
        }
        if let Some(index) = self.levels.len().checked_sub(OPEN_MAX + 1) {
            self.levels[index].open = None;
        }
        Ok(())
    }

    /// Leaves an empty directory and removes it.
    fn ascend(&mut self) -> Result<(), Failure> {
        self.reopen_above().map_err(|errno| self.failed(errno))?;
        let Some(mut level) = self.levels.pop() else { return Ok(()) };
        let above = match self.levels.last() {
            Some(_) => self.top(),
            None => Ok(self.parent.as_fd()),
        };
        match above.and_then(|above| rustix::fs::unlinkat(above, &level.name, AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if self.refills < REFILLS_MAX => {
                self.refills += 1;
                level.open.iter_mut().for_each(Dir::rewind);
                self.levels.push(level);
                Ok(())
            }
            Err(errno) => Err(self.failed(errno)),
        }
    }

    /// Opens the level above the top, where it had to be closed on the way down.
    fn reopen_above(&mut self) -> Result<(), Errno> {
        let Some(above) = self.levels.len().checked_sub(2) else { return Ok(()) };
        if self.levels[above].open.is_none() {
            let directory = rustix::fs::openat(self.top()?, c"..", DIRECTORY, Mode::empty())?;
            let found = rustix::fs::fstat(&directory)?;
            if (found.st_dev, found.st_ino) != self.levels[above].identity {
                return Err(Errno::BUSY);
            }
            self.levels[above].open = Some(Dir::new(directory)?);
        }
        Ok(())
    }
}
