//! Reading what cannot be trusted: hashed, metered, decompressed.

use super::TemplateError;
use super::stage::Bounds;
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};

/// Most bytes between the content of one tar entry and the next: its headers, with long names and extensions.
const HEADERS_MAX: u64 = 4 * 1024 * 1024;
/// What tar counts in.
const BLOCK: usize = 512;
/// The grain of holes in sparse files.
const HOLE: usize = 4096;

/// Hashes what is read through it.
pub(super) struct Hashed<R> {
    inner: R,
    hash: Sha256,
    count: u64,
}

impl<R: Read> Hashed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), count: 0 }
    }

    /// Reads what is left; answers the digest (`sha256:…`) and the length of the whole.
    pub(super) fn finish(mut self) -> io::Result<(String, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((format!("sha256:{}", hex::encode(self.hash.finalize())), self.count))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.count += read as u64;
        Ok(read)
    }
}

/// What may still be read and written. Each reader fails once its part is used up, and `refusal` says which it was.
pub(super) struct Meter {
    bounds: Bounds,
    entries: Cell<u64>,
    unpacked: Cell<u64>,
    written: Cell<u64>,
    headers: Cell<Option<u64>>,
    tripped: Cell<Option<Trip>>,
}

/// What was used up.
#[derive(Clone, Copy)]
enum Trip {
    Headers,
    Bytes,
}

impl Meter {
    pub(super) fn new(bounds: Bounds) -> Self {
        let fresh = || Cell::new(0);
        let (headers, tripped) = (Cell::new(None), Cell::new(None));
        Self { bounds, entries: fresh(), unpacked: fresh(), written: fresh(), headers, tripped }
    }

    /// Counts an entry.
    pub(super) fn entry(&self) -> Result<(), TemplateError> {
        self.entries.set(self.entries.get() + 1);
        let limit = self.bounds.entries;
        if self.entries.get() > limit { Err(TemplateError::TooLarge { limit, unit: "entries" }) } else { Ok(()) }
    }

    /// What is read from here on is headers.
    pub(super) fn headers_begin(&self) {
        self.headers.set(Some(HEADERS_MAX));
    }

    /// What is read from here on is content.
    pub(super) fn headers_end(&self) {
        self.headers.set(None);
    }

    fn read(&self, count: u64) -> io::Result<()> {
        if let Some(left) = self.headers.get() {
            self.headers.set(Some(left.checked_sub(count).ok_or_else(|| self.trip(Trip::Headers))?));
        }
        self.unpacked.set(self.unpacked.get().saturating_add(count));
        // Headers and padding are no content: they get an allowance of their own.
        let allowance = self.bounds.bytes.saturating_add(self.bounds.entries.saturating_mul(4096));
        if self.unpacked.get() > allowance { Err(self.trip(Trip::Bytes)) } else { Ok(()) }
    }

    /// Counts bytes that have become part of the root.
    pub(super) fn wrote(&self, count: u64) -> io::Result<()> {
        self.written.set(self.written.get().saturating_add(count));
        if self.written.get() > self.bounds.bytes { Err(self.trip(Trip::Bytes)) } else { Ok(()) }
    }

    fn trip(&self, trip: Trip) -> io::Error {
        self.tripped.set(Some(trip));
        io::Error::other("a bound was reached")
    }

    /// What a failed read or write means: a bound, or what `otherwise` says.
    pub(super) fn refusal(
        &self,
        error: io::Error,
        otherwise: impl FnOnce(io::Error) -> TemplateError,
    ) -> TemplateError {
        match self.tripped.get() {
            Some(Trip::Headers) => {
                TemplateError::TooLarge { limit: HEADERS_MAX, unit: "bytes in the headers of one entry" }
            }
            Some(Trip::Bytes) => TemplateError::TooLarge { limit: self.bounds.bytes, unit: "bytes" },
            None => otherwise(error),
        }
    }
}

/// Meters what is read through it.
pub(super) struct Metered<'m, R> {
    /// What is read.
    pub inner: R,
    /// Where it is counted.
    pub meter: &'m Meter,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.meter.read(read as u64)?;
        Ok(read)
    }
}

impl<R: io::Seek> io::Seek for Metered<'_, R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

/// Fills the last block of a tar with zeros, between entries. `umoci insert` leaves that to the reader.
pub(super) struct Padded<'m, R> {
    inner: R,
    meter: &'m Meter,
    count: usize,
}

impl<'m, R: Read> Padded<'m, R> {
    pub(super) fn new(inner: R, meter: &'m Meter) -> Self {
        Self { inner, meter, count: 0 }
    }
}

impl<R: Read> Read for Padded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = self.inner.read(buffer)?;
        let is_content = self.meter.headers.get().is_none();
        if read == 0 && !is_content {
            read = buffer.len().min(self.count.next_multiple_of(BLOCK) - self.count);
            buffer[..read].fill(0);
        }
        self.count = (self.count + read) % BLOCK;
        Ok(read)
    }
}

/// Whether something is compressed is told by its first bytes: media types have been seen to lie.
pub(super) fn decompress<'r>(reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut reader = BufReader::with_capacity(128 * 1024, reader);
    let start = reader.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader)))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skippable(start) {
        Ok(Box::new(zstd::Decoder::with_buffer(reader)?))
    } else {
        Ok(Box::new(reader))
    }
}

/// A frame of zstd that holds no data, such as some writers put first.
fn is_skippable(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18]
}

/// Writes all of `reader` into the empty `file`, leaving holes where there are only zeros. Answers how much that was.
pub(super) fn copy_sparse(reader: &mut impl Read, file: &mut File, meter: &Meter) -> io::Result<u64> {
    let mut buffer = vec![0; 16 * HOLE];
    let mut total = 0;
    loop {
        let read = fill(reader, &mut buffer)?;
        meter.wrote(read as u64)?;
        total += read as u64;
        write_with_holes(&buffer[..read], file)?;
        if read < buffer.len() {
            file.set_len(total)?;
            return Ok(total);
        }
    }
}

fn write_with_holes(mut bytes: &[u8], file: &mut File) -> io::Result<()> {
    let is_hole = |grain: &[u8]| grain.iter().all(|byte| *byte == 0);
    while !bytes.is_empty() {
        let holes = bytes.chunks(HOLE).take_while(|grain| is_hole(grain)).map(<[u8]>::len).sum::<usize>();
        if holes > 0 {
            file.seek(SeekFrom::Current(holes as i64))?;
        }
        let full = bytes[holes..].chunks(HOLE).take_while(|grain| !is_hole(grain)).map(<[u8]>::len).sum::<usize>();
        file.write_all(&bytes[holes..holes + full])?;
        bytes = &bytes[holes + full..];
    }
    Ok(())
}

/// Reads until the buffer is full or the end has come.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
