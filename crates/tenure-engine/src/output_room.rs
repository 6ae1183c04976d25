//! How much is kept of what a session's programs print: in all no more than the session may write to its disk (EN-4).
//!
//! A program gets a share before it starts: as much as one may have, but no more than half of what is left, so that whoever comes after a program that runs for
//! long and prints little still has room. What it did not print is given back at its end. What is there already is counted from the files, once, by whoever
//! asks first after a start.

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
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = taken.get_or_insert_with(|| bytes_in(files));
        let bytes = most.min(of.saturating_sub(*taken) / 2);
        *taken += bytes;
        OutputShare { room: self.clone(), bytes }
    }
}

impl OutputShare {
    /// How many bytes it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was not printed is given back.
    pub fn give_back(mut self, printed: u64) {
        self.room.add(self.bytes.saturating_sub(printed));
        self.bytes = 0;
    }
}

impl OutputRoom {
    fn add(&self, bytes: u64) {
        if let Some(taken) = self.taken.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *taken = taken.saturating_sub(bytes);
        }
    }
}

/// One that was never used is given back whole.
impl Drop for OutputShare {
    fn drop(&mut self) {
        self.room.add(self.bytes);
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
        first.give_back(4);
        drop(second);
        assert_eq!(share(100).bytes(), 43);
    }
}
