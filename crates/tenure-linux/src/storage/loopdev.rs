//! Loop devices: a file as a block device that goes by itself when nothing uses it any more.
#![allow(unsafe_code)]

use crate::sys;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const LOOP_CONFIGURE: u64 = 0x4c0a;
const LOOP_GET_STATUS64: u64 = 0x4c05;
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

/// The device that serves a file now. Known by the file itself: a path is told as the namespace saw it in which the file was opened, and once that is gone
/// it is cut off at the file's own mount.
pub fn find(file: &Path) -> Option<LoopDevice> {
    let wanted = std::fs::metadata(file).ok()?;
    let is_loop = |entry: &std::fs::DirEntry| entry.path().join("loop").exists();
    std::fs::read_dir("/sys/block").ok()?.flatten().filter(is_loop).find_map(|entry| {
        let path = Path::new("/dev").join(entry.file_name());
        // Opened, it cannot go any more; asked only then, it has not gone just before.
        let open = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        (backing(&open).ok()? == (wanted.dev(), wanted.ino())).then_some(LoopDevice { path, _open: open })
    })
}

/// The device and the inode of the file that a loop device serves.
fn backing(device: &File) -> io::Result<(u64, u64)> {
    // SAFETY: all-zero is a valid loop_info64.
    let mut info: LoopInfo = unsafe { std::mem::zeroed() };
    // SAFETY: LOOP_GET_STATUS64 fills a loop_info64.
    unsafe { sys::ioctl(device, LOOP_GET_STATUS64, &raw mut info) }?;
    let [dev, inode, ..] = info.numbers;
    Ok((dev, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-10: the next keeper finds the pool of the last one, by whatever path either saw it.
    #[test]
    fn a_device_is_known_by_its_file_and_not_by_its_path() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let (file, other) = (dir.path().join("pool"), dir.path().join("elsewhere"));
        File::create(&file).unwrap().set_len(1 << 20).unwrap();
        std::fs::hard_link(&file, &other).unwrap();
        let device = attach(&file).unwrap();
        assert_eq!(attach(&other).unwrap().path, device.path);
        assert_eq!(find(&other).unwrap().path, device.path);
    }
}
