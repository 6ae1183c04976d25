//! Audit away from its store: the file of signed heads, and exported logs. Both are lines of JSON.

use super::{AuditEntry, SignedHead};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, Read};

/// Most bytes of one line. An entry has a few kilobytes; what is far longer is no entry.
const LINE_MAX: u64 = 1 << 20;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The host says so.
    #[error("line {line}: {source}")]
    Io {
        /// Which line, from 1.
        line: u64,
        /// What the host says.
        source: io::Error,
    },
    /// A line is not what it should be: the file was damaged, or is another.
    #[error("line {line}: {problem}")]
    Damaged {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// The file of signed heads, as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadFile {
    /// The heads, in the order of the file.
    pub heads: Vec<SignedHead>,
    /// How many bytes hold them. What follows is the torn end of a write that a crash cut off; whoever appends cuts the file to this length first.
    pub intact_bytes: u64,
}

/// The line that stands for a head or an entry, with its end.
pub fn line<T: Serialize>(record: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads the file of signed heads. A last line without its end was cut off by a crash and is left out; any other damage is an error.
pub fn read_heads(reader: impl BufRead) -> Result<HeadFile, LogError> {
    let mut lines = Lines { reader, number: 0 };
    let mut file = HeadFile::default();
    while let Some(line) = lines.next_line()? {
        if !line.ends_with(b"\n") {
            break;
        }
        file.heads.push(lines.parse(&line)?);
        file.intact_bytes += line.len() as u64;
    }
    Ok(file)
}

/// Reads an exported log, entry by entry.
pub fn read_entries(reader: impl BufRead) -> impl Iterator<Item = Result<AuditEntry, LogError>> {
    let mut lines = Some(Lines { reader, number: 0 });
    std::iter::from_fn(move || {
        let next = lines.as_mut()?.next_entry().transpose();
        // Nothing after damage can be trusted to begin where a line begins.
        if !matches!(next, Some(Ok(_))) {
            lines = None;
        }
        next
    })
}

struct Lines<R> {
    reader: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn next_entry(&mut self) -> Result<Option<AuditEntry>, LogError> {
        self.next_line()?.map(|line| self.parse(&line)).transpose()
    }

    /// The next line with its end, where it has one.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        self.number += 1;
        let mut line = Vec::new();
        let read = (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(|source| LogError::Io { line: self.number, source })?;
        if read as u64 == LINE_MAX && !line.ends_with(b"\n") {
            return Err(self.damaged(format!("is longer than {LINE_MAX} bytes")));
        }
        Ok((read > 0).then_some(line))
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, LogError> {
        serde_json::from_slice(line).map_err(|error| self.damaged(error.to_string()))
    }

    fn damaged(&self, problem: String) -> LogError {
        LogError::Damaged { line: self.number, problem }
    }
}
