//! Carrying standard input, output, signals and the window's size between the caller and a program inside.

use crate::failure::Failure;
use crate::terminal;
use std::io;
use std::sync::Arc;
use tenure_environment::agent::{Attached, Event, ExecReceiver, ExecSender};
use tenure_environment::{AgentError, Environment};
use tenure_protocol::{DATA_MAX, Ended};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The one exec of a run.
pub const EXEC_ID: &str = "run";

/// Signals that are meant for the program.
const PASSED_ON: [SignalKind; 6] = [
    SignalKind::interrupt(),
    SignalKind::terminate(),
    SignalKind::hangup(),
    SignalKind::quit(),
    SignalKind::user_defined1(),
    SignalKind::user_defined2(),
];

/// How it came out.
pub enum Outcome {
    /// The program ended.
    Ended(Ended),
    /// Whoever read our output has gone.
    NobodyReads,
    /// The connection broke.
    Lost(AgentError),
}

/// Carries everything until the program ends.
pub async fn carry(environment: &Arc<dyn Environment>, attached: Attached, tty: bool) -> Result<Outcome, Failure> {
    let signals = PASSED_ON.map(|kind| signal(kind).map(|signal| (kind, signal)));
    for passed in signals {
        let (kind, signal) = passed?;
        tokio::spawn(pass_on(environment.clone(), kind, signal));
    }
    let (sender, receiver) = attached.split();
    let input = tokio::spawn(input(sender, tty));
    let outcome = output(receiver).await;
    input.abort();
    outcome
}

/// Signals take a connection of their own: the program's is full when it does not read its input.
async fn pass_on(environment: Arc<dyn Environment>, kind: SignalKind, mut signal: Signal) {
    while signal.recv().await.is_some() {
        if let Ok(mut client) = environment.connect().await {
            let _ = client.signal(EXEC_ID, kind.as_raw_value()).await;
        }
    }
}

async fn input(mut sender: ExecSender, tty: bool) -> Result<(), AgentError> {
    let mut resized = signal(SignalKind::window_change()).ok();
    let (mut stdin, mut buffer, mut open) = (tokio::io::stdin(), vec![0; DATA_MAX], true);
    loop {
        tokio::select! {
            read = stdin.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => {
                    open = false;
                    sender.end_input().await?;
                }
                Ok(count) => sender.input(&buffer[..count]).await?,
            },
            Some(()) = next(&mut resized), if tty => sender.resize(terminal::size()).await?,
            else => return Ok(()),
        }
    }
}

async fn next(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

async fn output(mut receiver: ExecReceiver) -> Result<Outcome, Failure> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    loop {
        let written = match receiver.next().await {
            Ok(Some(Event::Output(bytes))) => write(&mut stdout, &bytes).await,
            Ok(Some(Event::Error(bytes))) => write(&mut stderr, &bytes).await,
            Ok(Some(Event::Progress { .. })) => Ok(()),
            Ok(Some(Event::Exited(ended))) => return Ok(Outcome::Ended(ended)),
            Ok(Some(Event::Detached) | None) => return Ok(Outcome::Lost(AgentError::Closed)),
            Err(error) => return Ok(Outcome::Lost(error)),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Outcome::NobodyReads),
            written => written?,
        }
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
