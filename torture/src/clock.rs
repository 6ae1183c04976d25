//! A wall clock that jumps for the server alone: the host's own, which others live by, is left where it is.
//!
//! A time namespace shifts the clocks that count from boot and never the wall clock, and a tracer does not see a clock that is read without a system
//! call. So a library that is loaded before the C library shifts what the server is told (see `clock.c`), by what a file says.

use anyhow::{Context as _, ensure};
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("clock.c");

/// How far the wall clock may be from the line of time before the server has to say so.
pub const TOLD_FROM_MS: u64 = 2500;

/// The wall clock of the servers that are started with its variables.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
    shift: File,
}

impl Clock {
    /// Builds the library below this directory, and begins with the host's own time.
    pub fn make(dir: &Path, program: &Path) -> anyhow::Result<Clock> {
        ensure!(is_dynamic(program)?, "{} is linked statically: nothing can be loaded before it", program.display());
        let (source, library, file) = (dir.join("clock.c"), dir.join("clock.so"), dir.join("clock.shift"));
        std::fs::write(&source, SOURCE)?;
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).output();
        let built = built.context("there is no C compiler")?;
        ensure!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
        let shift = File::options().read(true).write(true).create(true).truncate(true).open(&file)?;
        let clock = Clock { library, file, shift };
        clock.jump(0)?;
        Ok(clock)
    }

    /// What a server is started with.
    pub fn variables(&self) -> [(&'static str, OsString); 2] {
        [("LD_PRELOAD", self.library.clone().into()), ("TORTURE_CLOCK", self.file.clone().into())]
    }

    /// From now on the wall clock is so many milliseconds away from the host's.
    pub fn jump(&self, shift_ms: i64) -> std::io::Result<()> {
        self.shift.write_all_at(&shift_ms.to_ne_bytes(), 0)
    }
}

/// Whether a program asks for an interpreter that loads libraries.
fn is_dynamic(program: &Path) -> std::io::Result<bool> {
    let bytes = std::fs::read(program)?;
    let head = &bytes[..bytes.len().min(64 << 10)];
    Ok(head.windows(5).any(|part| part == b"ld-li") || head.windows(7).any(|part| part == b"ld-musl"))
}
