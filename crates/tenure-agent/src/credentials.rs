//! Whose rights: work for the tenant is done with the tenant's file-system user and group, never with the agent's own.

use tenure_protocol::User;

/// The user that file work is done for.
#[derive(Debug, Clone, Copy)]
pub struct Tenant {
    uid: u32,
    gid: u32,
    own_uid: u32,
    own_gid: u32,
}

/// Sets the file-system group and user of this thread; says whether they are set now. The kernel reports the old value, so each is asked twice.
fn set_fs_ids(uid: u32, gid: u32) -> bool {
    // SAFETY: both calls take two plain numbers and touch only this thread's credentials; an ID of -1 changes nothing.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        libc::syscall(libc::SYS_setfsgid, u32::MAX) as u32 == gid
            && libc::syscall(libc::SYS_setfsuid, u32::MAX) as u32 == uid
    }
}

/// Gives the agent's own rights back, also while a panic passes.
struct Restore(u32, u32);

impl Drop for Restore {
    fn drop(&mut self) {
        if !set_fs_ids(self.0, self.1) {
            std::process::abort();
        }
    }
}

impl Tenant {
    pub fn new(user: &User) -> Self {
        let (own_uid, own_gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Tenant { uid: user.uid, gid: user.gid, own_uid, own_gid }
    }

    /// Whether a program of this user needs another user or group than the agent's: rootless, there is only one.
    pub fn differs_from_agent(&self) -> bool {
        self.uid != self.own_uid || self.gid != self.own_gid
    }

    /// Whether file work can be done as the tenant.
    pub fn reachable(&self) -> bool {
        let reached = set_fs_ids(self.uid, self.gid);
        drop(Restore(self.own_uid, self.own_gid));
        reached
    }

    /// Does something with the tenant's rights.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        if !self.differs_from_agent() {
            return work();
        }
        let _restore = Restore(self.own_uid, self.own_gid);
        // To go on with the agent's rights would be a hole; `reachable` was asked at the start, so this cannot happen.
        if !set_fs_ids(self.uid, self.gid) {
            std::process::abort();
        }
        work()
    }
}
