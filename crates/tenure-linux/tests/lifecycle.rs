//! How environments begin, stand still and end: by request, by deadline, and by violence.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

#[path = "lifecycle/ends.rs"]
mod ends;

mod ground;
#[path = "lifecycle/roles.rs"]
mod roles;

use ground::inside::{self, soon, spec};
use ground::{Inside, Storage, keeper};
use std::time::{Duration, Instant};
use tenure_environment::agent::Event;
use tenure_environment::{AgentError, Driver as _, EnvironmentError, EnvironmentSpec, Limit, ResourceLimits};
use tenure_protocol::{Exec, Sink};

/// The keepers, by what they are for.
const USUAL: usize = 0;
const STOPPED: usize = 1;
const PLAIN: usize = 2;
const KILLED: usize = 3;
const ABANDONED: usize = 4;

fn main() {
    roles::play();
    let mut trials = trials![
        a_frozen_program_stands_still,
        a_time_limit_stands_still_with_a_frozen_environment,
        an_unknown_template_is_told,
        a_limit_that_is_not_enforced_is_refused_unless_allowed,
        a_spec_that_makes_no_sense_makes_nothing,
        an_environment_calls_itself_what_it_was_told,
        a_creation_that_nobody_waits_for_leaves_nothing,
        a_bound_environment_is_never_bound_again,
    ];
    trials.extend(ends::trials());
    let storages = [Storage::Pool, Storage::Pool, Storage::Plain, Storage::Pool, Storage::Pool];
    ground::main(&storages, trials);
}

/// LC-9
async fn a_frozen_program_stands_still() {
    let inside = Inside::new(keeper(USUAL)).await;
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let exec =
        Exec { sink: Sink::File { cap_bytes: 1 << 20 }, ..inside::shell("while :; do echo x; sleep 0.02; done") };
    let handed = vec![out.try_clone().unwrap().into(), err.into()];
    let mut attached = soon(inside.connect().await.exec(exec, handed)).await.unwrap();
    let size = || out.metadata().unwrap().len();
    let until_it_grows = async || {
        let (before, begun) = (size(), Instant::now());
        while size() == before {
            assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until_it_grows().await;
    for _ in 0..3 {
        soon(inside.env.freeze()).await.unwrap();
        let before = size();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(size(), before);
        assert!(inside.observe().await.frozen);
        soon(inside.env.thaw()).await.unwrap();
        until_it_grows().await;
    }
    soon(attached.sender.signal(9)).await.unwrap();
    soon(attached.wait()).await.unwrap();
}

/// EN-3: the agent is not told that it was frozen, so one pause may count for as much as 2 s, and no more.
async fn a_time_limit_stands_still_with_a_frozen_environment() {
    let inside = Inside::new(keeper(USUAL)).await;
    let slow = Exec { timeout_ms: Some(5000), ..inside::shell("sleep 1; exit 7") };
    let mut attached = inside.start(slow).await;
    soon(inside.env.freeze()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5500)).await;
    soon(inside.env.thaw()).await.unwrap();
    let ended = soon(attached.wait()).await.unwrap();
    assert!(!ended.timed_out && ended.exit_code == Some(7), "{ended:?}");
}

/// EN-1
async fn an_unknown_template_is_told() {
    for base in ["no-such-template", "default@999999"] {
        let error = Inside::refused(keeper(USUAL), EnvironmentSpec { base: base.into(), ..spec() }).await;
        assert!(matches!(&error, EnvironmentError::UnknownBase { name } if name == base), "{error:?}");
    }
}

/// GV-4
async fn a_limit_that_is_not_enforced_is_refused_unless_allowed() {
    let error = Inside::refused(keeper(PLAIN), spec()).await;
    assert!(matches!(&error, EnvironmentError::Unenforced(limits) if limits == &[Limit::Disk]), "{error:?}");
    let inside = Inside::with(keeper(PLAIN), |spec| spec.allow_unenforced = true).await;
    let enforced = inside.env.enforced();
    assert!(!enforced.disk && enforced.cpu && enforced.memory && enforced.pids, "{enforced:?}");
    assert_eq!(inside.observe().await.disk_limit_bytes, None);
    inside.answers().await;
    inside.write("/workspace/file", b"x").await.unwrap();
    inside.destroy().await;
}

/// EN-1
async fn a_spec_that_makes_no_sense_makes_nothing() {
    let limits = ResourceLimits { pids: 0, ..Default::default() };
    let error = Inside::refused(keeper(USUAL), EnvironmentSpec { limits, ..spec() }).await;
    assert!(matches!(error, EnvironmentError::InvalidSpec { field: "pids", .. }), "{error:?}");
    let error = Inside::refused(keeper(USUAL), EnvironmentSpec { hostname: "a b".into(), ..spec() }).await;
    assert!(matches!(error, EnvironmentError::InvalidSpec { field: "hostname", .. }), "{error:?}");
}

/// EN-1, EN-3
async fn an_environment_calls_itself_what_it_was_told() {
    let inside = Inside::with(keeper(USUAL), |spec| {
        spec.hostname = "seven-of-nine".into();
        spec.env.insert("GREETING".into(), "hello, a=b\nc".into());
    })
    .await;
    let out =
        inside.sh("hostname; cat /proc/sys/kernel/hostname; printf %s \"$GREETING\"; pwd; echo $HOME $USER").await;
    assert_eq!(out.ok(), "seven-of-nine\nseven-of-nine\nhello, a=b\nc/workspace\n/home/user user\n");
    assert_ne!(rustix::system::uname().nodename().to_str(), Ok("seven-of-nine"));
}

/// TM-8: whoever asked has gone away meanwhile.
async fn a_creation_that_nobody_waits_for_leaves_nothing() {
    let keeper = keeper(ABANDONED);
    for patience_ms in [0, 1, 2, 5, 10, 15, 20, 30, 40, 60, 80] {
        let creating = keeper.driver.create(spec());
        if let Ok(made) = tokio::time::timeout(Duration::from_millis(patience_ms), creating).await {
            made.unwrap().destroy(Duration::ZERO).await.unwrap();
        }
    }
    let until = Instant::now() + Duration::from_secs(10);
    let agents = || tenure_linux::process::marked(&format!("{}/", keeper.uuid));
    while !agents().is_empty() {
        assert!(Instant::now() < until, "{} environments belong to nobody", agents().len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// EN-1
async fn a_bound_environment_is_never_bound_again() {
    let inside = Inside::new(keeper(USUAL)).await;
    let (id, generation) = (inside.env.id().clone(), inside.env.generation());
    let mut client = inside.connect().await;
    let again = soon(client.bind(&id, generation.next(), None, Default::default())).await;
    assert!(matches!(again, Err(AgentError::Failed { .. })), "{again:?}");
    let mut attached = inside.start(inside::shell("echo still")).await;
    assert_eq!(soon(attached.next()).await.unwrap(), Some(Event::Output(b"still\n".to_vec())));
}
