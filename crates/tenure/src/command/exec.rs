//! `tenure exec`: a program in a session, with its output as it comes, its input, its signals, and its exit code.

use super::exec_input;
use super::run::{SIGNALLED, TIMED_OUT, exit_code, parse_time, parse_variable};
use super::session::given;
use super::show::{Show, text};
use crate::client::{Client, Events};
use crate::failure::{CliCode, Code, Failure};
use base64::Engine as _;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};

/// As the kernel's killer does it: 128 and SIGKILL.
const OUT_OF_MEMORY: u8 = 137;

/// Signals that are meant for the program.
const PASSED_ON: [SignalKind; 4] =
    [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: the program's own, 128 and the signal's number if one ended it, 137 if the kernel did for memory, \
                  124 after --timeout, 126 and 127 if it cannot be run or found, 125 if tenure itself fails."
)]
pub struct Args {
    /// The session's ID
    session: String,
    /// End it after this time, as in 30s, 5m [default: what the server is set to]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// Its working directory [default: /workspace]
    #[arg(long, short = 'w', value_name = "DIR")]
    cwd: Option<String>,
    /// Set a variable; without a value it is taken from here
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// Who it runs as: a name or number that the session knows
    #[arg(long, short = 'u', value_name = "USER")]
    user: Option<String>,
    /// Pass standard input on to it
    #[arg(long, short = 'i', conflicts_with = "background")]
    stdin: bool,
    /// Start it, print its ID and go
    #[arg(long, short = 'b')]
    background: bool,
    /// A word of one's own for it
    #[arg(long)]
    tag: Option<String>,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    cmd: Vec<String>,
}

impl Args {
    fn body(&self) -> Map<String, Value> {
        let env: Map<_, _> = self.env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        let body = given(json!({
            "cmd": self.cmd,
            "cwd": self.cwd,
            "env": env,
            "user": self.user,
            "tag": self.tag,
            "timeout_ms": self.timeout.map(|time| time.as_millis() as u64),
        }));
        body.as_object().cloned().unwrap_or_default()
    }
}

/// Runs it and answers with its exit code.
pub async fn run(client: &Client, show: Show, args: Args) -> Result<u8, Failure> {
    let path = ["sessions", args.session.as_str(), "exec"];
    let (mut body, program) = (args.body(), args.cmd[0].clone());
    if args.background || args.stdin {
        body.insert("background".into(), true.into());
        let started = client.post(&path, &body.into()).await.map_err(|failure| not_started(failure, &program))?;
        if args.background {
            show.line(&started, &text(&started["exec_id"]))?;
            return Ok(0);
        }
        let exec = text(&started["exec_id"]);
        tokio::spawn(pass_on(client.clone(), args.session.clone(), exec.clone()));
        let ended = exec_input::carry(client, &args.session, &exec).await?;
        return tell(show, &ended);
    }
    body.insert("stream".into(), true.into());
    let request = client.request(Method::POST, &path, &[])?.json(&body);
    let events = client.events(request).await.map_err(|failure| not_started(failure, &program))?;
    let ended = follow(client, &args.session, events).await?;
    tell(show, &ended)
}

/// What says that the program is not there, or cannot be run, rather than that something else failed.
pub(super) fn not_started(failure: Failure, program: &str) -> Failure {
    let kind = if failure.is(Code::FileNotFound) {
        CliCode::CommandNotFound
    } else if failure.is(Code::FileConflict) {
        CliCode::CommandRefused
    } else {
        return failure;
    };
    Failure::new(kind, format!("cannot run {program:?}: {failure}"))
}

/// Copies output until the end, and answers with what is said of it.
async fn follow(client: &Client, session: &str, mut events: Events) -> Result<Value, Failure> {
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(event) = events.next().await? {
        match event.name.as_str() {
            "started" => {
                tokio::spawn(pass_on(client.clone(), session.to_owned(), text(&event.data["exec_id"])));
            }
            "stdout" => {
                stdout.write_all(&bytes(&event.data)?).await?;
                stdout.flush().await?;
            }
            "stderr" => {
                stderr.write_all(&bytes(&event.data)?).await?;
                stderr.flush().await?;
            }
            "exit" => return Ok(event.data),
            // A newer server may tell more.
            _ => {}
        }
    }
    Err(Failure::new(Code::Unavailable, "the server stopped before the program did")
        .hint("`tenure execs list SESSION` says what became of it"))
}

fn bytes(data: &Value) -> Result<Vec<u8>, Failure> {
    match data["data_base64"].as_str() {
        Some(text) => base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| {
            Failure::new(CliCode::NotOurs, format!("the server sent output that cannot be read: {error}"))
        }),
        None => Ok(data["data"].as_str().unwrap_or_default().as_bytes().to_vec()),
    }
}

/// Passes signals on to the program, as long as we live.
async fn pass_on(client: Client, session: String, exec: String) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
    for kind in PASSED_ON {
        let (Ok(mut signals), sender) = (signal(kind), sender.clone()) else { continue };
        tokio::spawn(async move {
            while signals.recv().await.is_some() && sender.send(kind.as_raw_value()).await.is_ok() {}
        });
    }
    drop(sender);
    while let Some(number) = receiver.recv().await {
        let path = ["sessions", session.as_str(), "execs", exec.as_str(), "kill"];
        // It may have ended; then there is nobody left to tell.
        let _ = client.post(&path, &json!({ "signal": number })).await;
    }
}

/// Says how it ended, where the exit code alone does not, and answers with that code.
pub(super) fn tell(show: Show, ended: &Value) -> Result<u8, Failure> {
    let number = |name: &str| ended[name].as_i64().and_then(|number| i32::try_from(number).ok());
    let is = |name: &str| ended[name].as_bool().unwrap_or(false);
    let code = match (is("timed_out"), is("oom_killed"), number("exit_code"), number("signal")) {
        (true, ..) => TIMED_OUT,
        (false, _, Some(code), _) => exit_code(code),
        (false, true, None, _) => OUT_OF_MEMORY,
        (false, false, None, Some(signal)) => exit_code(SIGNALLED + signal),
        (false, false, None, None) => {
            let why = text(&ended["error"]);
            return Err(Failure::new(Code::Unavailable, format!("nobody saw how the program ended: {why}")));
        }
    };
    if show.json {
        show.raw(ended)?;
        return Ok(code);
    }
    if is("timed_out") {
        eprintln!("tenure: ended after its time limit of {} ms", text(&ended["timeout_ms"]));
    }
    if is("oom_killed") {
        eprintln!("tenure: killed by the kernel, out of memory");
    }
    if ended["truncated_at"].is_number() {
        eprintln!("tenure: its output is kept up to byte {} only", ended["truncated_at"]);
    }
    Ok(code)
}
