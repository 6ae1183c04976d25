//! What programs do in a fake environment: as the test says.

use crate::fake::environment::{State, locked};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tenure_protocol::{Ended, Exec, Sink, Written};
use tokio::sync::{mpsc, watch};

/// A program that was started, as the test's closure sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// What was asked for.
    pub exec: Exec,
    /// All variables: those of the environment and, over them, those of the exec.
    pub env: BTreeMap<String, String>,
    /// Its whole standard input.
    pub stdin: Vec<u8>,
}

/// What a program does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// What it prints.
    pub output: Vec<u8>,
    /// What it prints as error output.
    pub error: Vec<u8>,
    /// What it does then.
    pub then: Then,
}

/// How a program goes on after it has printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Then {
    /// It exits with 0.
    #[default]
    Succeed,
    /// It exits with 0 and leaves somebody behind, of whose words so many bytes are kept.
    Leave(u64),
    /// It exits.
    Exit(i32),
    /// This signal kills it.
    Die(i32),
    /// The kernel kills it for memory.
    OutOfMemory,
    /// It runs until it is signalled or its time is up.
    Run,
    /// As [`Then::Run`], on a terminal: it prints what is typed, and each size as `[ROWSxCOLS]`; Ctrl-D ends it, with 0.
    Echo,
    /// There is no such program: it never started.
    NotFound,
}

impl Script {
    /// It prints this and succeeds.
    pub fn prints(output: impl Into<Vec<u8>>) -> Script {
        Script { output: output.into(), ..Script::default() }
    }

    /// It does this at once.
    pub fn then(then: Then) -> Script {
        Script { then, ..Script::default() }
    }
}

/// The test's closure.
pub type Program = dyn Fn(&Call) -> Script + Send + Sync;

/// One exec, for as long as the fake agent remembers it.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) exec: Exec,
    pub(super) pid: u32,
    pub(super) signals: mpsc::UnboundedSender<i32>,
    /// What is typed on its terminal.
    pub(super) typed: mpsc::UnboundedSender<Vec<u8>>,
    pub(super) seen: watch::Receiver<Seen>,
}

/// What can be seen of an exec.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) printed: Option<Arc<Script>>,
    pub(super) written: (Written, Written),
    pub(super) ended: Option<Ended>,
}

/// Starts a program. It reads its input to the end, prints, and goes on as its script says, attached or not.
pub(super) fn start(
    state: &Arc<State>,
    exec: Exec,
    pid: u32,
    files: Vec<OwnedFd>,
    input: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Run {
    let (signals, signalled) = mpsc::unbounded_channel();
    let (typed, keys) = mpsc::unbounded_channel();
    let (show, seen) = watch::channel(Seen::default());
    let run = Run { exec: exec.clone(), pid, signals, typed, seen };
    tokio::spawn(live(state.clone(), exec, files, Heard { input, signalled, keys }, show));
    run
}

/// What a program hears.
struct Heard {
    input: mpsc::UnboundedReceiver<Vec<u8>>,
    signalled: mpsc::UnboundedReceiver<i32>,
    keys: mpsc::UnboundedReceiver<Vec<u8>>,
}

async fn live(state: Arc<State>, exec: Exec, files: Vec<OwnedFd>, heard: Heard, show: watch::Sender<Seen>) {
    let Heard { mut input, signalled: mut signals, mut keys } = heard;
    let timeout_ms = exec.timeout_ms;
    let work = async {
        let mut stdin = Vec::new();
        while let Some(bytes) = input.recv().await {
            stdin.extend(bytes);
        }
        let mut env = state.spec.env.clone();
        env.extend(exec.env.clone());
        let sink = exec.sink;
        let terminal = files.first().and_then(|file| file.try_clone().ok());
        let script = (state.program)(&Call { exec, env, stdin });
        let written = write_files(sink, &script, files);
        let then = script.then.clone();
        show.send_modify(|seen| (seen.printed, seen.written) = (Some(Arc::new(script)), written));
        match then {
            Then::Run => std::future::pending().await,
            Then::Echo => echo(&mut keys, terminal, &show).await,
            then => then,
        }
    };
    let time = async {
        match timeout_ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    };
    let mut ended = tokio::select! {
        then = work => ended(&then),
        signal = deadly(&mut signals) => Ended { signal: Some(signal), ..ended(&Then::Run) },
        () = time => Ended { signal: Some(15), timed_out: true, ..ended(&Then::Run) },
        _ = state.end() => Ended { signal: Some(9), ..ended(&Then::Run) },
    };
    if *locked(&state.booted) {
        // Whoever could tell is gone as well.
        return;
    }
    (ended.output, ended.error) = show.borrow().written;
    show.send_modify(|seen| seen.ended = Some(ended));
}

async fn echo(
    keys: &mut mpsc::UnboundedReceiver<Vec<u8>>,
    terminal: Option<OwnedFd>,
    show: &watch::Sender<Seen>,
) -> Then {
    const END_OF_INPUT: u8 = 4;
    let Some(mut terminal) = terminal.map(std::fs::File::from) else { return std::future::pending().await };
    while let Some(bytes) = keys.recv().await {
        if bytes.contains(&END_OF_INPUT) {
            return Then::Succeed;
        }
        let kept = if terminal.write_all(&bytes).is_ok() { bytes.len() as u64 } else { 0 };
        show.send_modify(|seen| seen.written.0.bytes += kept);
    }
    std::future::pending().await
}

/// Signals that do not kill are ignored, as programs do that do not know them.
async fn deadly(signals: &mut mpsc::UnboundedReceiver<i32>) -> i32 {
    while let Some(signal) = signals.recv().await {
        if matches!(signal, 1 | 2 | 3 | 6 | 9 | 15) {
            return signal;
        }
    }
    std::future::pending().await
}

fn ended(then: &Then) -> Ended {
    let (exit_code, signal, not_started) = match then {
        Then::Succeed | Then::Leave(_) => (Some(0), None, None),
        Then::Exit(code) => (Some(*code), None, None),
        Then::Die(signal) => (None, Some(*signal), None),
        Then::OutOfMemory => (None, Some(9), None),
        Then::NotFound => (None, None, Some("there is no such program".to_owned())),
        Then::Run | Then::Echo => (None, None, None),
    };
    let none = Written::default();
    let oom_killed = *then == Then::OutOfMemory;
    let room_bytes = if let Then::Leave(bytes) = then { *bytes } else { 0 };
    Ended {
        exit_code,
        signal,
        timed_out: false,
        oom_killed,
        not_started,
        output: none,
        error: none,
        room_bytes,
        duration_ms: 1,
    }
}

/// Writes what a program prints to its files, up to the cap.
fn write_files(sink: Sink, script: &Script, files: Vec<OwnedFd>) -> (Written, Written) {
    let Sink::File { cap_bytes } = sink else { return Default::default() };
    let mut left = usize::try_from(cap_bytes).unwrap_or(usize::MAX);
    let mut put = |bytes: &[u8], file: Option<OwnedFd>| {
        let fits = &bytes[..bytes.len().min(left)];
        let kept = file.is_some_and(|file| std::fs::File::from(file).write_all(fits).is_ok());
        let bytes_kept = if kept { fits.len() } else { 0 };
        left -= bytes_kept;
        Written { bytes: bytes_kept as u64, dropped: (bytes.len() - bytes_kept) as u64 }
    };
    let mut files = files.into_iter();
    (put(&script.output, files.next()), put(&script.error, files.next()))
}
