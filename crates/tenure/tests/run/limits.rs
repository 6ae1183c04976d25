//! Limits as the caller meets them.

use crate::support::{answer, data_dir, needs_root};
use insta::assert_snapshot;

/// GV-4: the kernel ends what takes too much memory, and we say that it was that.
#[test]
fn out_of_memory_is_137_and_says_so() {
    if needs_root() {
        return;
    }
    let program = ["python3", "-c", "print(len('x' * 10**9))"];
    assert_snapshot!(answer(&mut data_dir().run("--memory 64M", &program)), @r"
    ! tenure: killed by the kernel, out of memory: the limit is 67108864 bytes (--memory)
    [137]
    ");
}

/// GV-4: a full disk is an error inside, not an end.
#[test]
fn a_full_disk_is_an_error_inside() {
    if needs_root() {
        return;
    }
    let answer = answer(
        &mut data_dir().script("--disk 16M", "head -c 64M /dev/zero >big; echo $?; rm big; echo x >small; cat small"),
    );
    assert_eq!(answer.out(), "1\nx\n");
    assert!(answer.err().contains("Disk quota exceeded"), "{answer}");
}

/// GV-4: so are too many processes.
#[test]
fn too_many_processes_are_an_error_inside() {
    if needs_root() {
        return;
    }
    let answer =
        answer(&mut data_dir().script("--pids 8", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo on"));
    assert!(answer.err().contains("Cannot fork"), "{answer}");
}

/// GV-4: a fifth of a processor is less than half of one.
#[test]
fn cpu_time_is_limited() {
    if needs_root() {
        return;
    }
    let program = [
        "python3",
        "-c",
        "
import time
wall = time.monotonic()
while time.monotonic() - wall < 2: pass
print(time.process_time() < 1)",
    ];
    assert_eq!(answer(&mut data_dir().run("--cpu 0.2", &program)).out(), "True\n");
}
