//! Loop devices that detach themselves when their last user goes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::check;

const CTL_GET_FREE: u64 = 0x4C82;
const CONFIGURE: u64 = 0x4C0A;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

#[repr(C)]
struct Info {
    ids: [u64; 3],
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt: [u32; 2],
    flags: u32,
    names: [[u8; 64]; 2],
    key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// Whether the loop device goes through the page cache of the file below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Data is cached twice: for the file system above and for the file below.
    Buffered,
    /// Past the page cache of the file below.
    Direct,
}

/// An attached loop device; it lives as long as this or a mount of it does.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _open: File,
}

impl LoopDevice {
    /// Attaches `file`, with autoclear.
    ///
    /// # Errors
    /// Those of opening the device and of LOOP_CONFIGURE; a race for a free number is tried again.
    pub fn attach(file: &Path, mode: Io) -> io::Result<Self> {
        let backing = OpenOptions::new().read(true).write(true).open(file)?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        let direct = if mode == Io::Direct { DIRECT_IO } else { 0 };
        for _ in 0..16 {
            // SAFETY: an open descriptor, no memory involved.
            let number = check(unsafe { libc::ioctl(control.as_raw_fd(), CTL_GET_FREE) }.into())?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).write(true).open(&path)?;
            // SAFETY: `Config` holds integers only, for which zero is valid.
            let mut config: Config = unsafe { std::mem::zeroed() };
            config.fd = backing.as_raw_fd() as u32;
            config.block_size = 4096;
            config.info.flags = AUTOCLEAR | direct;
            // SAFETY: `config` is laid out as the kernel's `loop_config` and lives over the call.
            let result = unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) };
            match check(result.into()) {
                Ok(_) => return Ok(Self { path, _open: device }),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no free loop device"))
    }

    /// The device node.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
