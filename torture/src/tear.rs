//! What a power cut may do to the last write of the database's log: nobody was told of it yet, since it was never synced.
//!
//! ```text
//! header 32 bytes: magic, version, page size at 8, salts at 16          big-endian, as SQLite documents it
//! frames: 24 bytes (page, size of the database after a commit at 4, salts at 8) and a page
//!         ... synced, and acknowledged ... | commit │ frame, frame, commit       ◄── of this any part may be missing or anything
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const HEADER: usize = 32;
const FRAME: usize = 24;

/// How the tail of a file is torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// It is not there.
    Missing,
    /// It is all zeros.
    Zeros,
    /// Every byte is another one.
    Garbage,
}

/// Where the commit before the last one ends, and where the last one does. Nothing where no commit is in it.
pub fn last_commit(log: &[u8]) -> Option<(usize, usize)> {
    let word = |at: usize| Some(u32::from_be_bytes(log.get(at..at + 4)?.try_into().ok()?));
    let page = word(8)? as usize;
    let salts = log.get(16..24)?;
    let (mut at, mut before, mut last) = (HEADER, HEADER, None);
    while log.get(at + 8..at + 16) == Some(salts) && at + FRAME + page <= log.len() {
        let is_commit = word(at + 4)? != 0;
        at += FRAME + page;
        if is_commit {
            before = last.unwrap_or(HEADER);
            last = Some(at);
        }
    }
    Some((before, last?))
}

/// Takes so many of the last commits away, or all there are.
pub fn lose(path: &Path, commits: usize) -> std::io::Result<()> {
    for _ in 0..commits {
        if !tear(path, Torn::Missing, 0)? {
            break;
        }
    }
    Ok(())
}

/// Tears the last commit of a log, from so many thousandths of it on. Whether there was one.
pub fn tear(path: &Path, torn: Torn, thousandths: u64) -> std::io::Result<bool> {
    let log = std::fs::read(path)?;
    let Some((from, to)) = last_commit(&log) else { return Ok(false) };
    let from = from + (to - from) * thousandths.min(999) as usize / 1000;
    let file = File::options().write(true).open(path)?;
    match torn {
        Torn::Missing => file.set_len(from as u64)?,
        Torn::Zeros => file.write_all_at(&vec![0; to - from], from as u64)?,
        Torn::Garbage => {
            let garbage: Vec<u8> = log[from..to].iter().map(|byte| !byte).collect();
            file.write_all_at(&garbage, from as u64)?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(salts: [u8; 8], frames: &[(u32, [u8; 8])]) -> Vec<u8> {
        let mut log = vec![0; 8];
        log.extend(512_u32.to_be_bytes());
        log.extend([0; 4]);
        log.extend(salts);
        log.extend([0; 8]);
        for (size, salts) in frames {
            log.extend([0; 4]);
            log.extend(size.to_be_bytes());
            log.extend(salts);
            log.extend([1; 8 + 512]);
        }
        log
    }

    #[test]
    fn the_last_commit_ends_where_frames_of_an_older_log_begin() {
        let (new, old) = ([1; 8], [2; 8]);
        let at = |frames: usize| HEADER + frames * (FRAME + 512);
        assert_eq!(last_commit(&log(new, &[(0, new), (5, new), (0, new), (6, new), (7, old)])), Some((at(2), at(4))));
        assert_eq!(last_commit(&log(new, &[(5, new)])), Some((at(0), at(1))));
        assert_eq!(last_commit(&log(new, &[(0, new), (7, old)])), None);
        assert_eq!(last_commit(&[]), None);
    }
}
