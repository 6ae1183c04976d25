//! The pool: environments that are made ahead of time, given away once, and never taken back.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod ground;

use ground::{Storage, leftover};
use libtest_mimic::{Arguments, Trial};
use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tenure_environment::{Driver, Environment, EnvironmentId, EnvironmentSpec, ResourceLimits};
use tenure_linux::LinuxDriver;
use tenure_protocol::{Exec, Sink};
use tokio::runtime::Runtime;

/// How many wait.
const READY: usize = 2;
const TEMPLATE: &str = "default";
/// The keeper's instance, whose name is part of all that the kernel lists of it.
static INSTANCE: OnceLock<String> = OnceLock::new();

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let dir = tempfile::Builder::new().prefix("pool-").tempdir_in(home()).unwrap();
    let keeper = ground::start_keeper(dir.path(), Storage::Pool, true);
    let uuids = leftover::instances(dir.path());
    INSTANCE.set(uuids[0].clone()).unwrap();
    let runtime = Arc::new(Runtime::new().unwrap());
    let driver = runtime.block_on(async { LinuxDriver::connect_with_pool(keeper, READY) }).unwrap();

    macro_rules! trial {
        ($test:ident) => {{
            let (runtime, driver) = (runtime.clone(), driver.clone());
            Trial::test(stringify!($test), move || Ok(runtime.block_on($test(&driver))))
        }};
    }
    let trials = vec![
        trial!(a_pooled_environment_is_given_away_once_under_its_sessions_name),
        trial!(an_exhausted_pool_costs_the_wait_and_nothing_else),
        trial!(limits_that_differ_from_the_pools_are_the_sessions_own),
        trial!(what_is_fixed_when_an_environment_is_made_is_never_taken_from_the_pool),
        trial!(a_pooled_environment_that_died_is_not_given_away),
        trial!(a_drained_pool_lets_go_of_its_template),
    ];
    // One after another: they look at the same pool.
    let one = Arguments { test_threads: Some(1), ..arguments };
    let conclusion = libtest_mimic::run(&one, trials);
    runtime.block_on(driver.shut_down());
    let left = leftover::wait_for_nothing(dir.path(), &uuids);
    left.iter().for_each(|line| eprintln!("left behind: {line}"));
    if conclusion.has_failed() || !left.is_empty() { ExitCode::from(101) } else { ExitCode::SUCCESS }
}

fn home() -> &'static Path {
    if ground::is_root() { Path::new(env!("CARGO_TARGET_TMPDIR")) } else { Path::new("/var/tmp") }
}

fn spec() -> EnvironmentSpec {
    let mut spec = EnvironmentSpec::new(EnvironmentId::generate().unwrap(), TEMPLATE);
    spec.allow_unenforced = true;
    spec
}

/// Asks for one, so that the pool knows the template, and waits until the pool is full.
async fn full(driver: &LinuxDriver) {
    let until = Instant::now() + Duration::from_secs(30);
    if driver.pooled(TEMPLATE) == 0 {
        end(driver.create(spec()).await.unwrap().as_ref()).await;
    }
    while driver.pooled(TEMPLATE) < READY {
        assert!(Instant::now() < until, "the pool is not filled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn end(environment: &dyn Environment) {
    environment.destroy(Duration::ZERO).await.unwrap();
}

async fn output(environment: &dyn Environment, script: &str) -> String {
    let exec = Exec {
        exec_id: EnvironmentId::generate().unwrap().to_string(),
        cmd: vec!["/bin/sh".into(), "-c".into(), script.into()],
        cwd: "/".into(),
        env: Default::default(),
        user: None,
        tag: None,
        timeout_ms: Some(20_000),
        stdin: false,
        tty: None,
        sink: Sink::Frames,
    };
    let mut attached = environment.connect().await.unwrap().exec(exec, Vec::new()).await.unwrap();
    let captured = attached.capture(1 << 16).await.unwrap();
    String::from_utf8(captured.output).unwrap().trim().to_owned()
}

/// EN-1
async fn a_pooled_environment_is_given_away_once_under_its_sessions_name(driver: &LinuxDriver) {
    full(driver).await;
    let (first, second) = (spec(), spec());
    let (a, b) = (driver.create(first.clone()).await.unwrap(), driver.create(second.clone()).await.unwrap());
    assert_eq!((a.id(), b.id()), (&first.id, &second.id));
    output(a.as_ref(), "echo a > /workspace/whose").await;
    assert_eq!(
        output(b.as_ref(), "cat /workspace/whose 2>/dev/null; ls /workspace").await,
        "",
        "nobody's code ran in it"
    );
    end(a.as_ref()).await;
    end(b.as_ref()).await;
}

/// EN-1
async fn an_exhausted_pool_costs_the_wait_and_nothing_else(driver: &LinuxDriver) {
    full(driver).await;
    let wanted: Vec<EnvironmentSpec> = (0..READY + 4).map(|_| spec()).collect();
    let created = wanted.iter().cloned().map(|spec| {
        let driver = driver.clone();
        tokio::spawn(async move { driver.create(spec).await.unwrap() })
    });
    let mut seen = HashSet::new();
    for creating in created.collect::<Vec<_>>() {
        let environment = creating.await.unwrap();
        assert_eq!(output(environment.as_ref(), "echo here").await, "here");
        assert!(seen.insert(environment.id().clone()));
        end(environment.as_ref()).await;
    }
    assert_eq!(seen, wanted.into_iter().map(|spec| spec.id).collect());
}

/// GV-4, EN-1
async fn limits_that_differ_from_the_pools_are_the_sessions_own(driver: &LinuxDriver) {
    full(driver).await;
    let limits = ResourceLimits { pids: 7, memory_bytes: 48 << 20, disk_bytes: 8 << 20, ..ResourceLimits::default() };
    let environment = driver.create(EnvironmentSpec { limits, ..spec() }).await.unwrap();
    if environment.enforced().missing().is_empty() {
        let full_disk = "dd if=/dev/zero of=/workspace/x bs=1M count=16 2>/dev/null || echo full";
        assert_eq!(output(environment.as_ref(), full_disk).await, "full");
        let forks = "i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done 2>/dev/null; echo no";
        output(environment.as_ref(), forks).await;
        let seen = environment.observe().await.unwrap();
        assert!(seen.pids_refused.is_some_and(|refused| refused > 0), "{seen:?}");
        assert_eq!(seen.disk_limit_bytes, Some(8 << 20));
    }
    end(environment.as_ref()).await;
}

/// EN-1
async fn what_is_fixed_when_an_environment_is_made_is_never_taken_from_the_pool(driver: &LinuxDriver) {
    full(driver).await;
    let environment = driver.create(EnvironmentSpec { hostname: "another".into(), ..spec() }).await.unwrap();
    assert_eq!(driver.pooled(TEMPLATE), READY);
    assert_eq!(output(environment.as_ref(), "cat /proc/sys/kernel/hostname").await, "another");
    end(environment.as_ref()).await;
}

/// EN-1, TM-8
async fn a_pooled_environment_that_died_is_not_given_away(driver: &LinuxDriver) {
    full(driver).await;
    let mark = format!("{}/", INSTANCE.get().unwrap());
    assert!(tenure_linux::process::kill_marked(&mark) >= READY);
    let until = Instant::now() + Duration::from_secs(10);
    while driver.pooled(TEMPLATE) > 0 {
        assert!(Instant::now() < until, "the dead still wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let environment = driver.create(spec()).await.unwrap();
    assert_eq!(output(environment.as_ref(), "echo alive").await, "alive");
    end(environment.as_ref()).await;
}

/// TP-1
async fn a_drained_pool_lets_go_of_its_template(driver: &LinuxDriver) {
    full(driver).await;
    driver.pool_drain(TEMPLATE).await;
    assert_eq!(driver.pooled(TEMPLATE), 0);
}
