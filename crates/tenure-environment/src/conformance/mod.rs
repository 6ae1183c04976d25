//! What every driver must pass: the promises of the port, tried from outside on one living environment.
//!
//! Each function is one promise, panics where it is broken, and leaves the environment as it may find it; a
//! promise that needs a program uses `sh` and what every Unix has. [`everything`] tries them all, and ends the environment last.
//! The base must have `/bin/sh`, a writable `/tmp` and `/workspace`, and one of `python3`, `perl` or `busybox` to listen on a port.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod adoption;
mod exec;
mod file;
mod outside;
mod port;
mod remaking;

pub use adoption::*;
pub use exec::*;
pub use file::*;
pub use outside::*;
pub use port::*;
pub use remaking::*;

use crate::agent::{Attached, Captured, Client};
use crate::driver::Environment;
use crate::error::AgentError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenure_protocol::{Exec, Sink};

/// Long enough for any promise on a busy machine; past it, something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most output that is looked at.
const OUTPUT_MAX: usize = 1 << 20;

/// Tries every promise on this environment, which must have been made with the variable `FROM_SPEC=spec`. It is gone afterwards.
pub async fn everything(env: &dyn Environment) {
    every_exec(env).await;
    every_file(env).await;
    dial_reaches_a_listener(env).await;
    dial_where_nobody_listens_is_unreachable(env).await;
    every_outside(env).await;
}

/// Bounds a promise in time.
async fn soon<T>(promise: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, promise).await.expect("within the time that any promise may take")
}

async fn connect(env: &dyn Environment) -> Client {
    let client = soon(env.connect()).await.expect("a living environment can be reached");
    assert_eq!(client.generation(), env.generation());
    client
}

/// A new exec of these words, with its output as frames.
fn command(words: &[&str]) -> Exec {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    Exec {
        exec_id: format!("conformance-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)),
        cmd: words.iter().map(|word| (*word).to_owned()).collect(),
        cwd: "/tmp".into(),
        env: BTreeMap::new(),
        user: None,
        tag: None,
        timeout_ms: Some(30_000),
        stdin: false,
        tty: None,
        sink: Sink::Frames,
    }
}

fn shell(script: &str) -> Exec {
    command(&["/bin/sh", "-c", script])
}

async fn start(env: &dyn Environment, exec: Exec) -> Result<Attached, AgentError> {
    soon(connect(env).await.exec(exec, Vec::new())).await
}

async fn run(env: &dyn Environment, exec: Exec) -> Captured {
    let mut attached = start(env, exec).await.expect("the program starts");
    soon(attached.capture(OUTPUT_MAX)).await.expect("the program ends")
}
