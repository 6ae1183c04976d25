//! The fake keeps the promises that every driver keeps, as far as a map of files and a closure can.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

use std::sync::Arc;
use std::time::Duration;
use tenure_environment::fake::{Adoption, Call, FakeDriver, Script, Then};
use tenure_environment::{Adopt, Adopted, AgentError, Driver, Enforced, Environment, EnvironmentEnd, conformance};
use tenure_environment::{EnvironmentError, EnvironmentId, EnvironmentSpec, Limit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What the programs of the conformance suite do.
fn program(call: &Call) -> Script {
    let words: Vec<&str> = call.exec.cmd.iter().map(String::as_str).collect();
    let variable = |name: &str| call.env.get(name).map_or("", String::as_str);
    match words.as_slice() {
        ["sleep", _] => Script::then(Then::Run),
        ["cat"] => Script::prints(call.stdin.clone()),
        ["/bin/sh", "-c", "kill -9 $$"] => Script::then(Then::Die(9)),
        ["/bin/sh", "-c", "pwd"] => Script::prints(format!("{}\n", call.exec.cwd)),
        ["/bin/sh", "-c", "printf out; printf err >&2"] => Script { error: b"err".to_vec(), ..Script::prints("out") },
        ["/bin/sh", "-c", "printf out; printf error >&2"] => {
            Script { error: b"error".to_vec(), ..Script::prints("out") }
        }
        ["/bin/sh", "-c", "printf 0123456789"] => Script::prints("0123456789"),
        ["/bin/sh", "-c", "test -t 1 && printf yes"] if call.exec.tty.is_some() => Script::prints("yes"),
        ["/bin/sh", "-c", script] if script.contains("$FROM_SPEC") => {
            Script::prints(format!("{},{}", variable("FROM_SPEC"), variable("MINE")))
        }
        ["/bin/sh", "-c", script] => {
            let code = script.strip_prefix("exit ").unwrap_or_else(|| panic!("unknown script {script}"));
            Script::then(Then::Exit(code.parse().unwrap()))
        }
        _ => Script::then(Then::NotFound),
    }
}

fn spec() -> EnvironmentSpec {
    let mut spec = EnvironmentSpec::new(EnvironmentId::generate().unwrap(), "fake");
    spec.env.insert("FROM_SPEC".into(), "spec".into());
    spec
}

async fn environment() -> Arc<dyn Environment> {
    FakeDriver::new(program).create(spec()).await.unwrap()
}

/// EN-3, EN-4
#[tokio::test]
async fn the_fake_keeps_the_promises_of_programs() {
    conformance::every_exec(&*environment().await).await;
}

/// EN-5
#[tokio::test]
async fn the_fake_keeps_the_promises_of_files() {
    conformance::every_file(&*environment().await).await;
}

/// EN-11
#[tokio::test]
async fn the_fake_keeps_the_promises_of_remaking() {
    let driver = FakeDriver::new(program);
    let first = spec();
    let env = driver.create(first.clone()).await.unwrap();
    conformance::what_lives_is_not_made_again(&driver, &*env, "fake").await;
    conformance::leave_files(&*env).await;
    driver.reboot();
    conformance::what_a_boot_ended_is_made_again(&driver, &first).await;
}

/// EN-11
#[tokio::test]
async fn a_fake_whose_files_a_boot_took_is_lost() {
    let driver = FakeDriver::new(program);
    let first = spec();
    driver.create(first.clone()).await.unwrap();
    driver.reboot();
    driver.adopt_as(&first.id, Some(Adoption::LostFiles));
    let found = driver.adopt(Adopt::new(first.id.clone(), first.generation)).await;
    assert!(matches!(found, Ok(Adopted::Lost { .. })), "{found:?}");
    let again = EnvironmentSpec { generation: first.generation.next(), ..first };
    assert!(matches!(driver.remake(again).await, Err(EnvironmentError::Gone)));
}

/// EN-10
#[tokio::test]
async fn the_fake_keeps_the_promises_of_adoption() {
    let driver = FakeDriver::new(program);
    let environment = driver.create(spec()).await.unwrap();
    conformance::every_adoption(&driver, &*environment).await;
}

/// EN-10
#[tokio::test]
async fn the_fake_finds_what_a_test_wants_found() {
    let driver = FakeDriver::new(program);
    let environment = driver.create(spec()).await.unwrap();
    let stored = || Adopt::new(environment.id().clone(), environment.generation());
    let told = |found| driver.adopt_as(environment.id(), found);
    told(Some(Adoption::Silent));
    assert!(matches!(driver.adopt(stored()).await, Ok(Adopted::Silent(_))));
    told(Some(Adoption::Ended(EnvironmentEnd::Unknown)));
    assert!(matches!(driver.adopt(stored()).await, Ok(Adopted::Ended(EnvironmentEnd::Unknown))));
    told(Some(Adoption::Lost("so".into())));
    assert!(matches!(driver.adopt(stored()).await, Ok(Adopted::Lost { .. })));
    told(Some(Adoption::Unavailable));
    assert!(matches!(driver.adopt(stored()).await, Err(EnvironmentError::Unavailable(_))));
    told(None);
    driver.environment(environment.id()).unwrap().die(EnvironmentEnd::Killed(9));
    assert!(matches!(driver.adopt(stored()).await, Ok(Adopted::Ended(EnvironmentEnd::Killed(9)))));
    assert_eq!(driver.known().await.unwrap(), [environment.id().clone()], "until somebody has heard of its end");
}

/// TM-7
#[tokio::test]
async fn the_fake_keeps_the_promises_seen_from_outside() {
    let env = environment().await;
    conformance::dial_where_nobody_listens_is_unreachable(&*env).await;
    conformance::every_outside(&*env).await;
}

/// GV-4
#[tokio::test]
async fn a_limit_that_is_not_enforced_is_refused_unless_it_is_allowed() {
    let driver = FakeDriver::new(program).enforcing(Enforced { disk: false, ..Enforced::ALL });
    match driver.create(spec()).await {
        Err(EnvironmentError::Unenforced(missing)) => assert_eq!(missing, [Limit::Disk]),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was made"),
    }
    let env = driver.create(EnvironmentSpec { allow_unenforced: true, ..spec() }).await.unwrap();
    assert_eq!(env.enforced().missing(), [Limit::Disk]);
}

/// EN-1
#[tokio::test]
async fn a_failure_that_a_test_orders_comes_once() {
    let driver = FakeDriver::new(program);
    driver.fail_next(EnvironmentError::Unavailable("full".into()));
    assert!(matches!(driver.create(spec()).await, Err(EnvironmentError::Unavailable(_))));
    assert!(driver.create(spec()).await.is_ok());
}

/// EN-6
#[tokio::test]
async fn bytes_travel_both_ways_to_a_port_of_the_fake() {
    let driver = FakeDriver::new(program);
    let spec = spec();
    let env = driver.create(spec.clone()).await.unwrap();
    let mut listener = driver.environment(&spec.id).unwrap().listen(8080);
    let mut outside = env.connect().await.unwrap().dial(8080).await.unwrap();
    let mut inside = listener.recv().await.unwrap();
    let echo = tokio::spawn(async move {
        let mut heard = Vec::new();
        inside.read_to_end(&mut heard).await.unwrap();
        inside.write_all(&heard).await.unwrap();
    });
    let sent = vec![7; 300_000];
    outside.write_all(&sent).await.unwrap();
    outside.shutdown().await.unwrap();
    let mut heard = Vec::new();
    outside.read_to_end(&mut heard).await.unwrap();
    assert!(heard == sent);
    echo.await.unwrap();
}

/// TM-7
#[tokio::test]
async fn a_death_is_seen_by_whoever_waits_and_ends_what_is_under_way() {
    let driver = FakeDriver::new(program);
    let spec = spec();
    let env = driver.create(spec.clone()).await.unwrap();
    let fake = driver.environment(&spec.id).unwrap();
    let mut client = env.connect().await.unwrap();
    client.deadline(Some(5)).await.unwrap();
    assert_eq!(fake.deadline_boot_ms(), Some(5));
    let watcher = {
        let env = env.clone();
        tokio::spawn(async move { env.wait_end().await })
    };
    fake.die(EnvironmentEnd::Killed(9));
    assert_eq!(watcher.await.unwrap(), EnvironmentEnd::Killed(9));
    assert!(matches!(client.ping().await, Err(AgentError::Closed | AgentError::Io(_))));
    assert_eq!(env.destroy(Duration::ZERO).await.unwrap(), EnvironmentEnd::Killed(9));
}

/// TM-7
#[tokio::test]
async fn an_agent_that_is_told_to_end_ends() {
    let env = environment().await;
    env.connect().await.unwrap().shutdown(0).await.unwrap();
    assert_eq!(env.wait_end().await, EnvironmentEnd::Exited(0));
    assert!(matches!(env.connect().await, Err(EnvironmentError::Gone)));
}
