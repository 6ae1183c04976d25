//! Kills what makes and holds environments, at any instant, and looks in the kernel's own tables for what stayed behind.
#![allow(clippy::unwrap_used)]

#[path = "leftovers/kernel.rs"]
mod kernel;
#[path = "leftovers/random.rs"]
mod random;
mod support;
#[path = "leftovers/victim.rs"]
mod victim;

use kernel::Traces;
use random::Random;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{DataDir, Running, answer, code_of, eventually, wait};
use victim::Victim;

const KILLS: usize = 500;
const AT_A_TIME: usize = 4;
/// Within it an environment whose keeper or agent was killed is gone (TM-7: the grace, and five seconds).
const BOUND: Duration = Duration::from_secs(10);

/// What runs while the killing goes on: options and script.
const MIX: [(&str, &str); 7] = [
    ("", "exec sleep 1000"),
    ("", "trap '' TERM HUP INT; sleep 1000 & setsid sleep 1000 & wait; sleep 1000"),
    ("--cpu 0.2 --disk 64M", "while :; do head -c 4M /dev/zero >big; cp big more; done"),
    ("--cpu 0.2 --disk 64M", "i=0; while mkdir -p d$i/e && echo $i >d$i/e/f; do i=$((i+1)); done; exec sleep 1000"),
    ("--cpu 0.2 --pids 32", "while :; do (sleep 0.01 & sleep 0.02 & wait) 2>/dev/null; done"),
    ("--memory 16M", "head -c 1G /dev/zero | tail -c 1G; exec sleep 1000"),
    ("", "exit 0"),
];

/// TM-8, CL-1: after 500 kills with -9 at random instants of `tenure run`, its keeper, a stem or cleaner, or the agent, and one more run, nothing is
/// left: no process, mount, control group, loop device, directory, subvolume or lock.
#[test]
fn nothing_stays_behind_whoever_is_killed_and_whenever() {
    let dir = DataDir::new();
    // The pool and the template are made in peace; the killing is about environments.
    assert_eq!(answer(&mut dir.script("", "exit 0")).code, 0);
    let traces = Traces::watch(dir.path());
    let seed = random::seed("TENURE_TEST_SEED");
    println!("seed: TENURE_TEST_SEED={seed}");

    let (next, told) = (AtomicUsize::new(0), Mutex::new(Told::default()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= KILLS {
                        return;
                    }
                    let outcome = one_kill(&dir, &traces, Random::new(seed ^ ((round as u64) << 32)), round);
                    told.lock().unwrap().add(outcome);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    println!("killed: {:?}", told.killed);
    println!("exit codes: {:?}", told.codes);
    assert!(told.hung.is_empty(), "seed {seed}: did not end: {:#?}", told.hung);
    Victim::ALL.iter().for_each(|victim| assert!(told.killed.contains_key(victim.name()), "{victim:?} was never met"));

    // Keepers whose manager was killed take down their own; that is bound as well.
    let still = || traces.processes();
    assert!(eventually(BOUND, || still().is_empty()), "seed {seed}: still running: {:#?}", still());
    let last = answer(&mut dir.run("", &["/bin/true"]));
    assert_eq!((last.code, last.err().as_str()), (0, ""), "seed {seed}");
    // The kernel lets go of a loop device a little after its last mount.
    eventually(BOUND, || traces.everything().is_empty());
    let left = traces.everything();
    assert!(left.is_empty(), "seed {seed}: left over: {left:#?}");
}

/// TM-8, GV-4: a disk that a run filled is free again after it, so that a pool serves for ever.
#[test]
fn a_pool_that_is_filled_again_and_again_has_room() {
    if support::needs_root() {
        return;
    }
    let dir = DataDir::new();
    for round in 0..8 {
        let answer = answer(&mut dir.script("", "head -c 150M /dev/zero >big"));
        assert_eq!(answer.to_string(), "", "round {round}");
    }
}

/// TM-8: nor does it stay full of what the killed had in it.
#[test]
fn a_pool_that_the_killed_had_filled_has_room() {
    if support::needs_root() {
        return;
    }
    let dir = DataDir::new();
    let full = "head -c 230M /dev/zero >big 2>/dev/null; echo full; exec sleep 1000";
    let start = |_| {
        let run = dir.script("", full).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut run = Running(run);
        let mut line = String::new();
        BufReader::new(run.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "full\n");
        run
    };
    let mut runs: Vec<_> = (0..2).map(start).collect();
    for Running(run) in &mut runs {
        let killed = victim::kill(Victim::Keeper, run.id() as i32, &mut Random::new(0));
        assert_eq!(killed, Some(Victim::Keeper));
        assert!(wait(run, BOUND).is_some_and(|status| !status.success()));
    }
    assert_eq!(answer(&mut dir.script("", "head -c 150M /dev/zero >big")).to_string(), "");
}

/// TM-8: what was started in another control group than ours, another login's say, is found all the same.
#[test]
fn what_hangs_below_another_control_group_is_taken_down_too() {
    if support::needs_root() {
        return;
    }
    let dir = DataDir::new();
    assert_eq!(answer(&mut dir.script("", "exit 0")).code, 0);
    let traces = Traces::watch(dir.path());
    let group = kernel::make_group(&format!("cli-test-{}", std::process::id()));
    let run = dir.script("", "echo up; exec sleep 1000");
    let mut moved = Command::new("sh");
    moved.args(["-c", &format!("echo $$ >'{}/cgroup.procs' && exec \"$0\" \"$@\"", group.display())]);
    moved.arg(run.get_program()).args(run.get_args()).stdout(Stdio::piped()).stderr(Stdio::null());
    moved.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut moved = Running(moved.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(moved.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    assert_eq!(victim::kill(Victim::Keeper, moved.0.id() as i32, &mut Random::new(0)), Some(Victim::Keeper));
    assert!(wait(&mut moved.0, BOUND).is_some());
    assert!(traces.everything().iter().any(|left| left.starts_with("control group")), "nothing to find");

    assert_eq!(answer(&mut dir.run("", &["/bin/true"])).to_string(), "");
    eventually(BOUND, || traces.everything().is_empty());
    let left = traces.everything();
    let removed = std::fs::remove_dir(&group);
    assert!(left.is_empty(), "left over: {left:#?}");
    removed.unwrap();
}

#[derive(Default)]
struct Told {
    killed: BTreeMap<&'static str, usize>,
    codes: BTreeMap<i32, usize>,
    hung: Vec<String>,
}

struct Outcome {
    victim: Option<Victim>,
    code: Result<i32, String>,
}

impl Told {
    fn add(&mut self, outcome: Outcome) {
        if let Some(victim) = outcome.victim {
            *self.killed.entry(victim.name()).or_default() += 1;
        }
        match outcome.code {
            Ok(code) => *self.codes.entry(code).or_default() += 1,
            Err(hung) => self.hung.push(hung),
        }
    }
}

/// Starts a run, kills somebody, and sees it end.
fn one_kill(dir: &DataDir, traces: &Traces, mut random: Random, round: usize) -> Outcome {
    let (options, script) = random.pick(&MIX);
    let wanted = random.pick(&Victim::ALL);
    let mut run = dir.script(&format!("--env {} {options}", traces.variable()), script);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Half of the kills fall into the beginning, where most happens.
    let longest_us = random.pick(&[40_000, 400_000]);
    let wait_us = random.below(longest_us);
    std::thread::sleep(Duration::from_micros(wait_us));
    let killed = victim::kill(wanted, run.id() as i32, &mut random);
    // Without its manager, keeper or agent a run ends by itself. A stem or a cleaner may be one that it does not need.
    let ends = matches!(killed, Some(Victim::Run | Victim::Keeper | Victim::Agent));
    if !ends && !eventually(Duration::from_millis(300), || run.try_wait().unwrap().is_some()) {
        run.kill().unwrap();
    }
    let code = wait(&mut run, BOUND)
        .map(code_of)
        .ok_or_else(|| format!("round {round}: {script:?} after {killed:?} was killed at {wait_us} µs"));
    Outcome { victim: killed, code }
}
