//! The btrfs calls that volumes need: subvolumes and their quota groups. Layouts are those of `linux/btrfs.h`.
#![allow(unsafe_code)]

use crate::sys;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

const SUBVOL_CREATE: u64 = 0x5000_940e;
const SNAP_DESTROY: u64 = 0x5000_940f;
const SYNC: u64 = 0x9408;
const TREE_SEARCH: u64 = 0xd000_9411;
const INO_LOOKUP: u64 = 0xd000_9412;
const QUOTA_CTL: u64 = 0xc010_9428;
const QGROUP_CREATE: u64 = 0x4010_942a;
const QGROUP_LIMIT: u64 = 0x8030_942b;

const ROOT_TREE: u64 = 1;
const QUOTA_TREE: u64 = 8;
const ORPHAN_KEY: u32 = 48;
const QGROUP_INFO_KEY: u32 = 242;
const QGROUP_LIMIT_KEY: u32 = 244;
const FIRST_FREE_OBJECT: u64 = 256;
/// Quota items have no object of their own.
const NO_OBJECT: u64 = 0;
/// Under it the tree of roots lists what is removed and not freed yet.
const ORPHAN_OBJECT: u64 = 5_u64.wrapping_neg();

#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

impl VolArgs {
    fn new(name: &str) -> io::Result<Box<VolArgs>> {
        let mut args = Box::new(VolArgs { fd: 0, name: [0; 4088] });
        if name.is_empty() || name.len() > 255 || name.contains('/') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        args.name[..name.len()].copy_from_slice(name.as_bytes());
        Ok(args)
    }
}

/// Makes an empty subvolume in a directory.
pub fn subvolume_create(dir: &Path, name: &str) -> io::Result<()> {
    let mut args = VolArgs::new(name)?;
    // SAFETY: SUBVOL_CREATE takes a btrfs_ioctl_vol_args.
    unsafe { sys::ioctl(File::open(dir)?, SUBVOL_CREATE, &raw mut *args) }?;
    Ok(())
}

/// Removes a subvolume, and asks for its quota group to go too. The space comes back in the background, while the file system is mounted and the
/// kernel's cleaner is awake.
pub fn subvolume_remove(dir: &Path, name: &str) -> io::Result<()> {
    let id = subvolume_id(&File::open(dir.join(name))?)?;
    let parent = File::open(dir)?;
    let mut args = VolArgs::new(name)?;
    // SAFETY: SNAP_DESTROY takes a btrfs_ioctl_vol_args.
    unsafe { sys::ioctl(&parent, SNAP_DESTROY, &raw mut *args) }?;
    // A kernel that still accounts for the removal refuses this, and removes the group itself once it is done (Linux 6.11), or leaves it behind empty.
    let _ = quota_group_remove(&parent, id);
    Ok(())
}

/// Commits what was done, and wakes the kernel's cleaner, which otherwise sleeps for half a minute.
pub fn sync(file: &File) -> io::Result<()> {
    // SAFETY: SYNC takes no argument.
    unsafe { sys::ioctl(file, SYNC, std::ptr::null_mut::<u8>()) }?;
    Ok(())
}

/// Whether the space of removed subvolumes is still to be freed.
pub fn has_removed(file: &File) -> io::Result<bool> {
    Ok(!search(file, ROOT_TREE, (ORPHAN_OBJECT, ORPHAN_KEY), FIRST_FREE_OBJECT..=u64::MAX)?.is_empty())
}

/// The number of the subvolume that a file or directory is in.
pub fn subvolume_id(file: &File) -> io::Result<u64> {
    #[repr(C)]
    struct InoLookup {
        tree: u64,
        object: u64,
        name: [u8; 4080],
    }
    let mut args = Box::new(InoLookup { tree: 0, object: FIRST_FREE_OBJECT, name: [0; 4080] });
    // SAFETY: INO_LOOKUP takes a btrfs_ioctl_ino_lookup_args.
    unsafe { sys::ioctl(file, INO_LOOKUP, &raw mut *args) }?;
    Ok(args.tree)
}

/// Switches quota accounting on for a whole file system. On already is no error.
pub fn quota_enable(file: &File) -> io::Result<()> {
    #[repr(C)]
    struct QuotaCtl {
        command: u64,
        status: u64,
    }
    let mut args = QuotaCtl { command: 1, status: 0 };
    // SAFETY: QUOTA_CTL takes a btrfs_ioctl_quota_ctl_args.
    match unsafe { sys::ioctl(file, QUOTA_CTL, &raw mut args) } {
        Ok(_) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Limits the bytes that a subvolume refers to.
pub fn set_limit(subvolume: &File, bytes: u64) -> io::Result<()> {
    #[repr(C)]
    struct Limit {
        group: u64,
        flags: u64,
        max_referenced: u64,
        max_exclusive: u64,
        reserved: [u64; 2],
    }
    const MAX_REFERENCED: u64 = 1;
    let mut args = Limit {
        group: subvolume_id(subvolume)?,
        flags: MAX_REFERENCED,
        max_referenced: bytes,
        max_exclusive: 0,
        reserved: [0; 2],
    };
    // Asked of a full subvolume itself, the kernel finds no room for its own notes.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let above = rustix::fs::openat(subvolume, "..", flags, Mode::empty())?;
    // SAFETY: QGROUP_LIMIT takes a btrfs_ioctl_qgroup_limit_args.
    unsafe { sys::ioctl(&above, QGROUP_LIMIT, &raw mut args) }?;
    Ok(())
}

/// What a subvolume refers to and how much it may, in bytes. The first is as of the file system's last commit, at most half a minute old.
pub fn usage(subvolume: &File) -> io::Result<(u64, Option<u64>)> {
    let id = subvolume_id(subvolume)?;
    let number = |key, at: usize| -> io::Result<Option<u64>> {
        let item = quota_item(subvolume, key, id)?;
        Ok(item.as_deref().and_then(|item| item.get(at..at + 8)?.try_into().ok()).map(u64::from_le_bytes))
    };
    // btrfs_qgroup_info_item: generation, referenced, …; btrfs_qgroup_limit_item: flags, max referenced, …
    let used = number(QGROUP_INFO_KEY, 8)?.ok_or(io::ErrorKind::NotFound)?;
    Ok((used, number(QGROUP_LIMIT_KEY, 8)?.filter(|limit| *limit > 0)))
}

fn quota_group_remove(file: &File, id: u64) -> io::Result<()> {
    #[repr(C)]
    struct GroupCreate {
        create: u64,
        group: u64,
    }
    let mut args = GroupCreate { create: 0, group: id };
    // SAFETY: QGROUP_CREATE takes a btrfs_ioctl_qgroup_create_args.
    unsafe { sys::ioctl(file, QGROUP_CREATE, &raw mut args) }?;
    Ok(())
}

fn quota_item(file: &File, key: u32, id: u64) -> io::Result<Option<Vec<u8>>> {
    Ok(search(file, QUOTA_TREE, (NO_OBJECT, key), id..=id)?.into_iter().next().map(|(_, item)| item))
}

/// Items of one object and kind in a tree, by their offset; as many as one call returns.
fn search(
    file: impl AsFd,
    tree: u64,
    (object, kind): (u64, u32),
    offsets: std::ops::RangeInclusive<u64>,
) -> io::Result<Vec<(u64, Vec<u8>)>> {
    #[repr(C)]
    struct Search {
        tree: u64,
        min_object: u64,
        max_object: u64,
        min_offset: u64,
        max_offset: u64,
        min_transaction: u64,
        max_transaction: u64,
        min_kind: u32,
        max_kind: u32,
        items: u32,
        unused: [u32; 9],
        buffer: [u8; 4096 - 104],
    }
    const HEADER: usize = 32;
    let mut args = Box::new(Search {
        tree,
        min_object: object,
        max_object: object,
        min_offset: *offsets.start(),
        max_offset: *offsets.end(),
        min_transaction: 0,
        max_transaction: u64::MAX,
        min_kind: kind,
        max_kind: kind,
        items: 64,
        unused: [0; 9],
        buffer: [0; 4096 - 104],
    });
    // SAFETY: TREE_SEARCH takes a btrfs_ioctl_search_args: a key of 104 bytes and a buffer, 4096 in all.
    unsafe { sys::ioctl(file, TREE_SEARCH, &raw mut *args) }?;
    let mut found = Vec::new();
    let mut rest: &[u8] = &args.buffer;
    for _ in 0..args.items {
        // btrfs_ioctl_search_header: transaction, object, offset, kind, length.
        let Some((header, body)) = rest.split_at_checked(HEADER) else { break };
        let word = |at: usize| header[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or_default();
        let length = (word(24) >> 32) as usize;
        let Some((item, after)) = body.split_at_checked(length) else { break };
        if word(24) as u32 == kind && offsets.contains(&word(16)) {
            found.push((word(16), item.to_vec()));
        }
        rest = after;
    }
    Ok(found)
}
