//! What the process that builds may do, and what the one inside keeps.

use super::ids::{AGENT_ID, RANGE, TENANT_ID};
use crate::sys;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::io;
use std::path::Path;

/// With which rights environments are built here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// As root: a range of IDs each.
    Root,
    /// As an ordinary user: one ID, the builder's own.
    Rootless {
        /// The builder's user.
        uid: u32,
        /// The builder's group.
        gid: u32,
    },
}

impl Privilege {
    /// Of the calling process.
    pub fn of_this_process() -> Privilege {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if uid.is_root() { Privilege::Root } else { Privilege::Rootless { uid: uid.as_raw(), gid: gid.as_raw() } }
    }

    /// Whether only one ID can be mapped.
    pub fn single_id(self) -> bool {
        matches!(self, Privilege::Rootless { .. })
    }

    /// The agent's ID inside.
    pub fn agent_id(self) -> u32 {
        if self.single_id() { TENANT_ID } else { AGENT_ID }
    }

    /// Writes the ID maps of a process that was just cloned into a user namespace.
    pub fn write_id_maps(self, pid: i32, base: u32) -> io::Result<()> {
        let dir = format!("/proc/{pid}");
        let write = |name: &str, text: String| std::fs::write(Path::new(&dir).join(name), text);
        match self {
            Privilege::Root => {
                write("uid_map", format!("0 {base} {RANGE}\n"))?;
                write("gid_map", format!("0 {base} {RANGE}\n"))
            }
            Privilege::Rootless { uid, gid } => {
                write("setgroups", "deny".into())?;
                write("uid_map", format!("{TENANT_ID} {uid} 1\n"))?;
                write("gid_map", format!("{TENANT_ID} {gid} 1\n"))
            }
        }
    }
}

/// What the agent needs: to start programs as somebody else, and to end them.
const KEPT: [u32; 3] = [5, 6, 7]; // CAP_KILL, CAP_SETGID, CAP_SETUID
const HIGHEST_CAPABILITY: u32 = 63;
/// NOROOT, NO_SETUID_FIXUP left alone, NO_CAP_AMBIENT_RAISE later; each with its lock: user 0 inside is nobody special.
const NOROOT_LOCKED: u64 = 0b11;

/// Becomes user 0 inside, to build; the kernel has given the process every capability over its own namespaces.
pub fn become_builder(privilege: Privilege) -> Result<(), Errno> {
    if privilege.single_id() {
        return Ok(());
    }
    rustix::thread::set_thread_groups(&[])?;
    become_user(0)
}

fn become_user(id: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// Becomes the agent's user, with the three capabilities that an exec keeps, and no way to any other.
pub fn become_agent(privilege: Privilege) -> Result<(), Errno> {
    let keep = KEPT.iter().fold(0u64, |bits, capability| bits | 1 << capability);
    for capability in (0..=HIGHEST_CAPABILITY).filter(|capability| !KEPT.contains(capability)) {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability.into(), 0) {
            // Past the last one this kernel has.
            Err(Errno::INVAL) => break,
            result => result?,
        };
    }
    sys::prctl(libc::PR_SET_SECUREBITS, NOROOT_LOCKED, 0)?;
    sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    if !privilege.single_id() {
        become_user(AGENT_ID)?;
    }
    sys::capabilities_set(keep)?;
    for capability in KEPT {
        sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, capability.into())?;
    }
    Ok(())
}
