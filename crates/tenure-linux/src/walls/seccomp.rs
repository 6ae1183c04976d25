//! The system calls a tenant may make: an allow-list, installed before the agent starts, so that everything inside inherits it.
//!
//! Two filters stand one behind the other. The kernel takes the stricter answer, and of two errors that of the filter installed last:
//!
//! 1. the allow-list: what is not on it answers `ENOSYS`, as on a kernel that has never heard of it, so that programs fall back;
//! 2. the known and forbidden: they answer `EPERM`, as they would without the capability.
//!
//! `clone3` is on neither list and answers `ENOSYS`: its flags lie in memory, where a filter cannot look, and every C library falls back to
//! `clone`. Both filters check the architecture, and end a process that calls through another one. The x32 calls of x86-64 have
//! numbers of their own, which are on no list.

use super::syscalls::{ALLOWED, FORBIDDEN};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Namespace flags of `clone` and `unshare`.
const CLONE_NEW_ANY: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWTIME) as u64;
/// Socket families that open a way to nothing but the environment itself.
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The compiled filters, in the order in which they are installed.
#[derive(Clone)]
pub struct Filters([BpfProgram; 2]);

impl Filters {
    /// Compiles the filters for the machine this runs on.
    pub fn compile() -> Result<Filters, BackendError> {
        let arch = std::env::consts::ARCH.try_into()?;
        let errno = |errno: i32| SeccompAction::Errno(errno as u32);
        let allowed = SeccompFilter::new(allowed_rules()?, errno(libc::ENOSYS), SeccompAction::Allow, arch)?;
        let forbidden = SeccompFilter::new(forbidden_rules()?, SeccompAction::Allow, errno(libc::EPERM), arch)?;
        Ok(Filters([allowed.try_into()?, forbidden.try_into()?]))
    }

    /// Installs them for the calling thread and all it starts. Sets `no_new_privs`.
    pub fn install(&self) -> Result<(), seccompiler::Error> {
        self.0.iter().try_for_each(|program| seccompiler::apply_filter(program))
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed_rules() -> Result<Rules, BackendError> {
    Ok(ALLOWED.iter().map(|call| (*call, Vec::new())).collect())
}

fn forbidden_rules() -> Result<Rules, BackendError> {
    let mut rules: Rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    // A rule per flag: the flag is set.
    let flag_set = |flag: u64| SeccompRule::new(vec![Condition::new(0, Len::Qword, Op::MaskedEq(flag), flag)?]);
    let namespaces =
        (0..64).map(|bit| 1u64 << bit).filter(|bit| CLONE_NEW_ANY & bit != 0 && *bit != libc::CLONE_NEWTIME as u64);
    // For clone the bit of CLONE_NEWTIME is part of the exit signal: a time namespace comes from unshare or clone3 only.
    rules.insert(libc::SYS_clone, namespaces.map(flag_set).collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_socket, vec![not_one_of(&FAMILIES)?, netlink_but_route()?]);
    rules.insert(libc::SYS_socketpair, vec![not_one_of(&FAMILIES)?]);
    // TIOCSTI and TIOCLINUX put words into somebody else's terminal.
    let request = |number: u64| SeccompRule::new(vec![Condition::new(1, Len::Dword, Op::Eq, number)?]);
    rules.insert(libc::SYS_ioctl, vec![request(libc::TIOCSTI)?, request(libc::TIOCLINUX)?]);
    Ok(rules)
}

fn not_one_of(families: &[i32]) -> Result<SeccompRule, BackendError> {
    let differs = |family: &i32| Condition::new(0, Len::Dword, Op::Ne, *family as u64);
    SeccompRule::new(families.iter().map(differs).collect::<Result<_, _>>()?)
}

fn netlink_but_route() -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![
        Condition::new(0, Len::Dword, Op::Eq, libc::AF_NETLINK as u64)?,
        Condition::new(2, Len::Dword, Op::Ne, libc::NETLINK_ROUTE as u64)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EN-2: nothing is on both lists, and nothing that the requirement forbids is allowed.
    #[test]
    fn no_call_is_both_allowed_and_forbidden() {
        assert!(ALLOWED.iter().all(|call| !FORBIDDEN.contains(call)));
        for never in [libc::SYS_clone3, libc::SYS_mount, libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_io_uring_setup] {
            assert!(!ALLOWED.contains(&never), "{never}");
        }
    }

    #[test]
    fn the_filters_compile() {
        Filters::compile().unwrap();
    }
}
