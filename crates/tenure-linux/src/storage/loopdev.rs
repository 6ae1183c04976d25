//! Loop devices: a file as a block device that goes by itself when nothing uses it any more.
#![allow(unsafe_code)]

use crate::sys;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const LOOP_CONFIGURE: u64 = 0x4c0a;
const LOOP_CTL_GET_FREE: u64 = 0x4c82;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;
/// How often another process may take the free device that we were told of.
const ATTEMPTS: usize = 64;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
struct LoopInfo {
    numbers: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A loop device; it stays for as long as this, or a mount, keeps it open.
#[derive(Debug)]
pub struct LoopDevice {
    /// Its path.
    pub path: PathBuf,
    _open: File,
}

/// The device that already serves this file, or a new one.
pub fn attach(file: &Path) -> io::Result<LoopDevice> {
    let backing = OpenOptions::new().read(true).write(true).open(file)?;
    if let Some(device) = find(file) {
        return Ok(device);
    }
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..ATTEMPTS {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument.
        let number = unsafe { sys::ioctl(&control, LOOP_CTL_GET_FREE, std::ptr::null_mut::<u8>()) }?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = OpenOptions::new().read(true).write(true).open(&path)?;
        match configure(&device, &backing, AUTOCLEAR | DIRECT_IO) {
            Ok(()) => return Ok(LoopDevice { path, _open: device }),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            // Not every file system below does direct I/O.
            Err(_) => {
                configure(&device, &backing, AUTOCLEAR)?;
                return Ok(LoopDevice { path, _open: device });
            }
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn configure(device: &File, backing: &File, flags: u32) -> io::Result<()> {
    // SAFETY: all-zero is a valid loop_config.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = backing.as_raw_fd() as u32;
    config.block_size = 4096;
    config.info.flags = flags;
    // SAFETY: LOOP_CONFIGURE takes a loop_config.
    unsafe { sys::ioctl(device, LOOP_CONFIGURE, &raw mut config) }?;
    Ok(())
}

/// The device that serves a file now, as the kernel lists them.
pub fn find(file: &Path) -> Option<LoopDevice> {
    let wanted = std::fs::canonicalize(file).ok()?;
    let serving = |entry: &std::fs::DirEntry| {
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        Path::new(backing.trim_end_matches('\n')) == wanted
    };
    let entry = std::fs::read_dir("/sys/block").ok()?.flatten().find(serving)?;
    let path = Path::new("/dev").join(entry.file_name());
    let open = OpenOptions::new().read(true).write(true).open(&path).ok()?;
    // Opened, it cannot go any more; but it may have gone just before.
    serving(&entry).then_some(LoopDevice { path, _open: open })
}
