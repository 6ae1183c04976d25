//! The system calls a tenant may make: an allow-list, installed before the agent starts, so that everything inside inherits it.
//!
//! ```text
//! another architecture                    the process is killed
//! on the allow-list                       allowed; clone, socket, socketpair and ioctl after a look at their arguments
//! known and forbidden                     EPERM, as without the capability
//! anything else, clone3 and x32 included  ENOSYS, as on a kernel that has never heard of it, so that programs fall back
//! ```
//!
//! `clone3` has its flags in memory, where a filter cannot look; every C library falls back to `clone`.
//!
//! The filter is a binary search over ranges of numbers. The kernel walks a filter once for every number there is when it is installed: the
//! usual chain of comparisons, one per call on the list, costs a millisecond there, the tree a seventh of that.

use super::syscalls::{ALLOWED, FORBIDDEN};
use crate::sys;
use rustix::io::Errno;

/// Namespace flags of `clone`. `CLONE_NEWTIME` is not one of them: for `clone` that bit is part of the exit signal.
const CLONE_NEW_ANY: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
/// Socket families that open a way to nothing but the environment itself. Netlink is a question of its own.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Protocols of the internet families. For others the kernel loads modules at the mere wish.
const PROTOCOLS: [i32; 5] = [0, libc::IPPROTO_ICMP, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_ICMPV6];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`, little-endian: the number, the architecture, the low halves of the arguments.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const fn argument_at(index: u32) -> u32 {
    16 + index * 8
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNHEARD: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What happens to one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Always(u32),
    Clone,
    Socket,
    SocketPair,
    Ioctl,
}

fn rule(number: i64) -> Rule {
    match number {
        libc::SYS_clone => Rule::Clone,
        libc::SYS_socket => Rule::Socket,
        libc::SYS_socketpair => Rule::SocketPair,
        libc::SYS_ioctl => Rule::Ioctl,
        number if FORBIDDEN.contains(&number) => Rule::Always(REFUSE),
        number if ALLOWED.contains(&number) => Rule::Always(ALLOW),
        _ => Rule::Always(UNHEARD),
    }
}

/// The compiled filter.
#[derive(Debug, Clone)]
pub struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// Compiles it for the machine this runs on.
    pub fn compile() -> Filter {
        let mut program = vec![
            load(ARCHITECTURE_AT),
            jump(JUMP_EQUAL, ARCHITECTURE, 1, 0),
            give(libc::SECCOMP_RET_KILL_PROCESS),
            load(NUMBER_AT),
        ];
        program.extend(tree(&ranges()));
        Filter(program)
    }

    /// Installs it for the calling thread and all it starts.
    pub fn install(&self) -> Result<(), Errno> {
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
        sys::seccomp_install(&self.0)
    }
}

/// The first number of each range of calls that are treated alike, from 0 on. The last range has no end: numbers of x32 are in it.
fn ranges() -> Vec<(u32, Rule)> {
    let last = ALLOWED.iter().chain(FORBIDDEN).max().copied().unwrap_or_default();
    let mut ranges: Vec<(u32, Rule)> = Vec::new();
    for number in 0..=last + 1 {
        let rule = rule(number);
        if ranges.last().is_none_or(|(_, before)| *before != rule) {
            ranges.push((number as u32, rule));
        }
    }
    ranges
}

fn tree(ranges: &[(u32, Rule)]) -> Vec<libc::sock_filter> {
    match ranges {
        [] => vec![give(UNHEARD)],
        [(_, rule)] => leaf(*rule),
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let (low, high) = (tree(below), tree(above));
            let over =
                u8::try_from(low.len()).expect("half of the tree is far below 256 instructions: a test compiles it");
            [vec![jump(JUMP_AT_LEAST, above[0].0, over, 0)], low, high].concat()
        }
    }
}

fn leaf(rule: Rule) -> Vec<libc::sock_filter> {
    // TIOCSTI and TIOCLINUX put words into somebody else's terminal.
    let terminal_input = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32];
    let families = FAMILIES.map(|family| family as u32);
    match rule {
        Rule::Always(answer) => vec![give(answer)],
        Rule::Clone => vec![load(argument_at(0)), jump(JUMP_ANY_BIT, CLONE_NEW_ANY, 0, 1), give(REFUSE), give(ALLOW)],
        Rule::Ioctl => one_of(1, &terminal_input, vec![give(REFUSE)], vec![give(ALLOW)]),
        Rule::SocketPair => one_of(0, &families, vec![give(ALLOW)], vec![give(REFUSE)]),
        Rule::Socket => {
            let route = one_of(2, &[libc::NETLINK_ROUTE as u32], vec![give(ALLOW)], vec![give(REFUSE)]);
            let netlink = one_of(0, &[libc::AF_NETLINK as u32], route, vec![give(REFUSE)]);
            let usual = one_of(2, &PROTOCOLS.map(|protocol| protocol as u32), vec![give(ALLOW)], vec![give(REFUSE)]);
            let internet = one_of(0, &[libc::AF_INET as u32, libc::AF_INET6 as u32], usual, netlink);
            one_of(0, &[libc::AF_UNIX as u32], vec![give(ALLOW)], internet)
        }
    }
}

/// Looks whether the low half of an argument is one of these values. The kernel reads no more of them than that.
fn one_of(
    argument: u32,
    values: &[u32],
    yes: Vec<libc::sock_filter>,
    no: Vec<libc::sock_filter>,
) -> Vec<libc::sock_filter> {
    let mut program = vec![load(argument_at(argument))];
    for (index, value) in values.iter().enumerate() {
        let to_yes = (values.len() - index - 1) as u8;
        let to_no = if to_yes == 0 { yes.len() as u8 } else { 0 };
        program.push(jump(JUMP_EQUAL, *value, to_yes, to_no));
    }
    program.extend(yes);
    program.extend(no);
    program
}

fn load(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn give(answer: u32) -> libc::sock_filter {
    libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel would.
    fn answer(architecture: u32, number: u32, arguments: [u32; 3]) -> u32 {
        let program = Filter::compile().0;
        let word = |offset: u32| match offset {
            NUMBER_AT => number,
            ARCHITECTURE_AT => architecture,
            offset => arguments[(offset as usize - 16) / 8],
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            at += 1;
            let jumps = |holds: bool| usize::from(if holds { instruction.jt } else { instruction.jf });
            match instruction.code {
                LOAD => accumulator = word(instruction.k),
                RETURN => return instruction.k,
                JUMP_AT_LEAST => at += jumps(accumulator >= instruction.k),
                JUMP_EQUAL => at += jumps(accumulator == instruction.k),
                JUMP_ANY_BIT => at += jumps(accumulator & instruction.k != 0),
                code => panic!("unknown instruction {code}"),
            }
        }
    }

    fn ours(number: i64, arguments: [u32; 3]) -> u32 {
        answer(ARCHITECTURE, number as u32, arguments)
    }

    /// EN-2: every number there is gets the answer of the list it is on.
    #[test]
    fn every_call_is_answered_as_its_list_says() {
        for number in (0..2000).filter(|number| matches!(rule(*number), Rule::Always(_))) {
            assert_eq!(Rule::Always(ours(number, [0; 3])), rule(number), "call {number}");
        }
        for call in ALLOWED.iter().filter(|call| matches!(rule(**call), Rule::Always(_))) {
            assert_eq!(ours(*call, [0; 3]), ALLOW, "call {call}");
        }
        for call in FORBIDDEN {
            assert_eq!(ours(*call, [0; 3]), REFUSE, "call {call}");
        }
        for unheard in [libc::SYS_clone3, 0x4000_0000, 0x4000_0000 | libc::SYS_getpid, i64::from(u32::MAX)] {
            assert_eq!(ours(unheard, [0; 3]), UNHEARD, "call {unheard:x}");
        }
    }

    /// EN-2: nothing is on both lists, and nothing that the requirement forbids is allowed.
    #[test]
    fn no_call_is_both_allowed_and_forbidden() {
        assert!(ALLOWED.iter().all(|call| !FORBIDDEN.contains(call)));
        for never in [libc::SYS_clone3, libc::SYS_mount, libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_io_uring_setup] {
            assert!(!ALLOWED.contains(&never), "{never}");
        }
    }

    /// EN-2: no nested namespaces; threads and processes are nobody's business.
    #[test]
    fn clone_makes_processes_and_no_namespaces() {
        assert_eq!(ours(libc::SYS_clone, [libc::SIGCHLD as u32, 0, 0]), ALLOW);
        assert_eq!(ours(libc::SYS_clone, [(libc::CLONE_VM | libc::CLONE_THREAD) as u32, 0, 0]), ALLOW);
        for bit in (0..32).map(|bit| 1u32 << bit).filter(|bit| CLONE_NEW_ANY & bit != 0) {
            assert_eq!(ours(libc::SYS_clone, [bit | libc::SIGCHLD as u32, 0, 0]), REFUSE, "{bit:x}");
        }
    }

    /// EN-2: socket families UNIX, INET, INET6, and of NETLINK only ROUTE.
    #[test]
    fn only_four_families_of_sockets_open() {
        for family in 0..64 {
            let allowed = FAMILIES.contains(&family);
            assert_eq!(ours(libc::SYS_socketpair, [family as u32, 0, 0]) == ALLOW, allowed, "pair of {family}");
            if family != libc::AF_NETLINK {
                assert_eq!(ours(libc::SYS_socket, [family as u32, 0, 0]) == ALLOW, allowed, "family {family}");
            }
        }
        for protocol in 0..300 {
            let answer = ours(libc::SYS_socket, [libc::AF_INET6 as u32, 0, protocol as u32]);
            assert_eq!(answer == ALLOW, PROTOCOLS.contains(&protocol), "protocol {protocol}");
        }
        for protocol in 0..32 {
            let allowed = protocol == libc::NETLINK_ROUTE;
            let answer = ours(libc::SYS_socket, [libc::AF_NETLINK as u32, 0, protocol as u32]);
            assert_eq!(answer == ALLOW, allowed, "netlink {protocol}");
        }
    }

    /// EN-2: nobody types into another one's terminal.
    #[test]
    fn terminals_take_no_input_from_programs() {
        assert_eq!(ours(libc::SYS_ioctl, [0, libc::TIOCGWINSZ as u32, 0]), ALLOW);
        assert_eq!(ours(libc::SYS_ioctl, [0, libc::TIOCSTI as u32, 0]), REFUSE);
        assert_eq!(ours(libc::SYS_ioctl, [0, libc::TIOCLINUX as u32, 0]), REFUSE);
    }

    /// EN-2: a call through another architecture ends the process.
    #[test]
    fn another_architecture_is_fatal() {
        const I386: u32 = 0x4000_0003;
        assert_eq!(answer(I386, 1, [0; 3]), libc::SECCOMP_RET_KILL_PROCESS);
    }
}
