//! Ends: each is in time, is told as what it was, and leaves nothing.

use crate::ground::inside::{self, soon};
use crate::ground::{Inside, keeper, leftover};
use crate::{KILLED, STOPPED, USUAL, roles, trials};
use libtest_mimic::Trial;
use std::time::{Duration, Instant};
use tenure_environment::agent::Event;
use tenure_environment::{EnvironmentEnd, EnvironmentError};

pub fn trials() -> Vec<Trial> {
    trials![
        a_program_says_its_last_word_within_the_grace,
        what_ignores_the_request_to_end_is_killed_after_the_grace,
        a_frozen_environment_is_destroyed,
        an_environment_whose_agent_stands_still_is_destroyed,
        the_deadline_holds_without_anybody_outside,
        the_deadline_can_be_moved,
        the_deadline_holds_for_a_frozen_environment,
        an_agent_that_is_killed_is_told_and_cleaned_up,
        an_environment_ends_with_its_keeper_and_the_next_start_cleans_up,
        nothing_outlives_a_manager_that_was_killed,
    ]
}

/// TM-7: nothing may take longer than this after the grace.
const AFTER_GRACE: Duration = Duration::from_secs(5);

async fn destroy_in_time(inside: &Inside, grace: Duration) -> Duration {
    let begun = Instant::now();
    let ended = tokio::time::timeout(grace + AFTER_GRACE, inside.env.destroy(grace)).await;
    ended.expect("within the grace and 5 s").expect("it can be destroyed");
    assert!(matches!(soon(inside.env.connect()).await, Err(EnvironmentError::Gone)));
    begun.elapsed()
}

/// TM-7
async fn a_program_says_its_last_word_within_the_grace() {
    let inside = Inside::new(keeper(USUAL)).await;
    let script = "trap 'sleep 0.2; echo last word; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut attached = inside.start(inside::shell(script)).await;
    assert_eq!(soon(attached.next()).await.unwrap(), Some(Event::Output(b"ready\n".to_vec())));
    let hear = async { attached.capture(1000).await };
    let (took, heard) = tokio::join!(destroy_in_time(&inside, Duration::from_secs(10)), soon(hear));
    let heard = heard.expect("what it said comes before the end of the connection");
    assert_eq!((heard.output.as_slice(), heard.ended.exit_code), (&b"last word\n"[..], Some(3)));
    assert!(took < Duration::from_secs(10), "what has ended is not waited for: {took:?}");
}

/// TM-7
async fn what_ignores_the_request_to_end_is_killed_after_the_grace() {
    let inside = Inside::new(keeper(USUAL)).await;
    let mut attached = inside.start(inside::shell("trap '' TERM HUP INT; echo ready; while :; do sleep 1; done")).await;
    assert_eq!(soon(attached.next()).await.unwrap(), Some(Event::Output(b"ready\n".to_vec())));
    let grace = Duration::from_millis(1500);
    let (took, ended) = tokio::join!(destroy_in_time(&inside, grace), soon(attached.wait()));
    assert!(took >= grace, "{took:?}");
    if let Ok(ended) = ended {
        assert_eq!(ended.signal, Some(9), "{ended:?}");
    }
}

/// TM-7
async fn a_frozen_environment_is_destroyed() {
    let inside = Inside::new(keeper(USUAL)).await;
    inside.background(inside::shell("trap '' TERM; while :; do sleep 1; done")).await;
    soon(inside.env.freeze()).await.unwrap();
    destroy_in_time(&inside, Duration::from_secs(1)).await;
    assert_eq!(soon(inside.env.wait_end()).await, EnvironmentEnd::Killed(9));
}

/// TM-7
async fn an_environment_whose_agent_stands_still_is_destroyed() {
    let inside = Inside::new(keeper(USUAL)).await;
    inside.background(inside::command(&["sleep", "1000"])).await;
    let agent = inside.agent_pid().await;
    signal(agent, rustix::process::Signal::STOP);
    destroy_in_time(&inside, Duration::from_secs(1)).await;
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Whether a process is gone, or dead and not reaped.
fn is_dead(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

async fn until_dead(pid: i32, until_boot_ms: u64) {
    while !is_dead(pid) {
        assert!(boot_ms() < until_boot_ms, "it outlives its deadline");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// TM-6: neither the manager nor the keeper does anything.
async fn the_deadline_holds_without_anybody_outside() {
    let mut deadline = 0;
    let inside = Inside::with(keeper(STOPPED), |spec| {
        deadline = boot_ms() + 3000;
        spec.deadline_boot_ms = Some(deadline);
        spec.grace_ms = 500;
    })
    .await;
    inside.background(inside::shell("trap '' TERM; while :; do sleep 1; done")).await;
    inside.background(inside::command(&["sleep", "1000"])).await;
    let agent = inside.agent_pid().await;
    signal(keeper(STOPPED).pid, rustix::process::Signal::STOP);
    assert!(!is_dead(agent) && boot_ms() < deadline, "it lives until then");
    // The grace, and what a busy machine needs.
    let outcome = tokio::time::timeout(Duration::from_secs(20), until_dead(agent, deadline + 500 + 5000)).await;
    signal(keeper(STOPPED).pid, rustix::process::Signal::CONT);
    outcome.unwrap();
    assert!(boot_ms() >= deadline, "not before");
    assert_eq!(soon(inside.env.wait_end()).await, EnvironmentEnd::Exited(0));
    assert_eq!(inside.destroy().await, EnvironmentEnd::Exited(0));
}

/// TM-6: a frozen agent hears no timer; then it is the keeper's to end it.
async fn the_deadline_holds_for_a_frozen_environment() {
    let deadline = boot_ms() + 2000;
    let inside = Inside::with(keeper(USUAL), |spec| {
        spec.deadline_boot_ms = Some(deadline);
        spec.grace_ms = 500;
    })
    .await;
    let agent = inside.agent_pid().await;
    soon(inside.env.freeze()).await.unwrap();
    until_dead(agent, deadline + 500 + 5000).await;
    assert!(boot_ms() >= deadline, "not before");
    assert_eq!(soon(inside.env.wait_end()).await, EnvironmentEnd::Killed(9));
}

/// TM-6
async fn the_deadline_can_be_moved() {
    let inside = Inside::with(keeper(USUAL), |spec| {
        spec.deadline_boot_ms = Some(boot_ms() + 2500);
        spec.grace_ms = 100;
    })
    .await;
    soon(inside.connect().await.deadline(Some(boot_ms() + 4500))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    inside.answers().await;
    assert_eq!(soon(inside.env.wait_end()).await, EnvironmentEnd::Exited(0));
}

/// EN-10, TM-8
async fn an_agent_that_is_killed_is_told_and_cleaned_up() {
    let inside = Inside::new(keeper(USUAL)).await;
    inside.background(inside::shell("setsid sleep 1000 & trap '' TERM; while :; do sleep 1; done")).await;
    let namespace = inside.sh("readlink /proc/self/ns/pid").await.ok();
    signal(inside.agent_pid().await, rustix::process::Signal::KILL);
    assert_eq!(soon(inside.env.wait_end()).await, EnvironmentEnd::Killed(9));
    assert!(matches!(soon(inside.env.connect()).await, Err(EnvironmentError::Gone)));
    assert_eq!(inside.destroy().await, EnvironmentEnd::Killed(9));
    let still = leftover::pids()
        .into_iter()
        .filter(|dir| std::fs::read_link(dir.join("ns/pid")).is_ok_and(|link| link.to_str() == Some(namespace.trim())));
    assert_eq!(still.count(), 0);
}

/// TM-8, EN-10
async fn an_environment_ends_with_its_keeper_and_the_next_start_cleans_up() {
    let keeper = keeper(KILLED);
    let inside = Inside::new(keeper).await;
    inside.background(inside::shell("trap '' TERM; while :; do sleep 1; done")).await;
    let agent = inside.agent_pid().await;
    signal(keeper.pid, rustix::process::Signal::KILL);
    assert_eq!(soon(inside.env.wait_end()).await, EnvironmentEnd::Unknown);
    until_dead(agent, boot_ms() + 5000).await;
    let error = soon(inside.env.connect()).await.expect_err("nobody is there");
    assert!(matches!(error, EnvironmentError::Gone), "{error:?}");
    let _ = soon(inside.env.destroy(Duration::ZERO)).await;
    assert!(!leftover::groups(&keeper.uuid).is_empty(), "nobody has cleaned up yet");

    let data_dir = keeper.data_dir.clone();
    tokio::task::spawn_blocking(move || roles::sweep(&data_dir)).await.unwrap();
    assert_eq!(leftover::groups(&keeper.uuid), [] as [String; 0]);
    assert!(!keeper.data_dir.join("instances").join(format!("{}.lock", keeper.uuid)).exists());
}

/// TM-8
async fn nothing_outlives_a_manager_that_was_killed() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_owned();
    let left = tokio::task::spawn_blocking(move || {
        let mut manager = roles::manager(&path);
        let uuids = leftover::instances(&path);
        assert!(!leftover::all(&path, &uuids).is_empty(), "an environment runs");
        manager.kill().unwrap();
        manager.wait().unwrap();
        leftover::wait_for_nothing(&path, &uuids)
    });
    assert_eq!(left.await.unwrap(), [] as [String; 0]);
}
