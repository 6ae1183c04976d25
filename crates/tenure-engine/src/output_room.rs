//! How much is kept of what a session's programs print: in all no more than the session may write to its disk (EN-4).
//!
//! A program gets a share before it starts: as much as one may have, but no more than half of what is left, so that whoever comes after a program that runs for
//! long and prints little still has room. What it did not print is given back at its end, but for the little that is kept of what processes print that it left
//! behind. What is there already is counted from the files, once, by whoever asks first after a start.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The room of one session.
#[derive(Default)]
pub(crate) struct OutputRoom {
    /// What is taken, once it was counted.
    taken: Mutex<Option<u64>>,
}

/// A program's share of it.
pub(crate) struct OutputShare {
    room: Arc<OutputRoom>,
    bytes: u64,
}

impl OutputRoom {
    /// A share of at most so many bytes, of a session that may have so many, and whose files are here.
    pub fn share(self: &Arc<Self>, most: u64, of: u64, files: &Path) -> OutputShare {
        self.take(files, |taken| most.min(of.saturating_sub(taken) / 2))
    }

    /// What a program that runs already may print, whatever is left.
    pub fn share_of_old(self: &Arc<Self>, bytes: u64, files: &Path) -> OutputShare {
        self.take(files, |_| bytes)
    }

    fn take(self: &Arc<Self>, files: &Path, bytes: impl Fn(u64) -> u64) -> OutputShare {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = taken.get_or_insert_with(|| bytes_in(files));
        let bytes = bytes(*taken);
        *taken = taken.saturating_add(bytes);
        OutputShare { room: self.clone(), bytes }
    }

    fn give_back(&self, bytes: u64) {
        if let Some(taken) = self.taken.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *taken = taken.saturating_sub(bytes);
        }
    }
}

impl OutputShare {
    /// How many bytes it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So much of it was printed, or will be by who was left behind; the rest is given back.
    pub fn settle(mut self, used: u64) {
        self.bytes = self.bytes.saturating_sub(used);
    }
}

/// What nobody used is given back.
impl Drop for OutputShare {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

/// How much is in the files of a directory, where there is one.
fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-4
    #[test]
    fn shares_are_what_there_is_and_what_was_not_printed_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.stdout"), [0; 10]).unwrap();
        let room = Arc::new(OutputRoom::default());
        let share = |most| room.share(most, 100, dir.path());
        let first = share(40);
        assert_eq!(first.bytes(), 40);
        let second = share(40);
        assert_eq!(second.bytes(), 25, "ten were there, and half of the rest is for others");
        assert_eq!(share(40).bytes(), 12);
        first.settle(4);
        drop(second);
        assert_eq!(share(100).bytes(), 43);
        let old = room.share_of_old(90, dir.path());
        assert_eq!((old.bytes(), share(100).bytes()), (90, 0), "it was promised before, and stands");
    }
}
