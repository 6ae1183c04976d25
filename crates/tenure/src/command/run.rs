//! `tenure run`: a program in an environment of its own, which is gone when it ends.

use super::run_stdio::{self, Outcome};
use super::{run_files, runtime};
use crate::Context;
use crate::failure::{CliCode, Code, Failure, Kind};
use crate::terminal::{self, RawTerminal};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tenure_environment::{
    AgentError, Driver, Environment, EnvironmentId, EnvironmentSpec, ResourceLimits, parse_bytes, parse_cpus,
};
use tenure_linux::LinuxDriver;
use tenure_linux::keeper::{self, Settings};
use tenure_linux::template::{DEFAULT_TEMPLATE, Manifest, Template};
use tenure_protocol::{Ended, Exec, FailureCode, Sink};

/// What a shell says of a program that a signal ended: this and the signal's number.
pub const SIGNALLED: i32 = 128;
/// As timeout(1) says it.
pub const TIMED_OUT: u8 = 124;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: the program's own, 128 and the signal's number if one ended it (137 if the kernel did for memory), \
                        124 after --timeout, 126 and 127 if it cannot be run or found, 125 if tenure itself fails."
)]
pub struct Args {
    /// The root it runs in: a template's NAME or NAME@VERSION
    #[arg(long, default_value = DEFAULT_TEMPLATE, value_name = "NAME")]
    template: String,
    /// End it after this time, as in 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// Processor cores it may use, as in 0.5 or 2
    #[arg(long, value_name = "CORES", value_parser = parse_cpus)]
    cpu: Option<u32>,
    /// Memory it may use, as in 512M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Processes and threads it may have
    #[arg(long, value_name = "COUNT")]
    pids: Option<u32>,
    /// Disk it may fill, as in 2G
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    disk: Option<u64>,
    /// Set a variable; without a value it is taken from here
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// Copy a file or directory in before it starts
    #[arg(long, value_name = "HOST:INSIDE", value_parser = run_files::parse)]
    file: Vec<run_files::Copy>,
    /// Its working directory [default: the template's]
    #[arg(long, short = 'w', value_name = "DIR")]
    cwd: Option<String>,
    /// Who it runs as: a name or number that the root knows
    #[arg(long, short = 'u', value_name = "USER")]
    user: Option<String>,
    /// Run even where this host does not enforce a limit
    #[arg(long)]
    allow_unenforced: bool,
    /// Keep standard input open; it always is, this is here for the habit
    #[arg(short = 'i', long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// The program and its arguments [default: the template's]
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    cmd: Vec<String>,
}

/// Reads a time: seconds, or text as in `5m`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let time = match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        None => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if time.is_zero() { Err("must be more than nothing".into()) } else { Ok(time) }
}

/// Reads `NAME=VALUE`, or takes the value of `NAME` from here.
pub fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("a variable needs a name".into()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => std::env::var(text).map(|value| (text.to_owned(), value)).map_err(|error| format!("{text}: {error}")),
    }
}

/// Settings of the keeper of one command. It ends with us, and everything with it.
pub fn keeper_settings(context: &Context, plain_storage: bool) -> Settings {
    Settings {
        data_dir: context.data_dir.clone(),
        dies_with_manager: true,
        berths_ready: 1,
        only_one: true,
        pool_bytes: context.config.pool_bytes,
        plain_storage,
    }
}

/// Runs the program and answers with its exit code.
pub fn run(context: &Context, args: Args) -> Result<u8, Failure> {
    // Before any thread is started.
    let keeper = keeper::start(keeper_settings(context, false))?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let driver = LinuxDriver::connect(keeper)?;
        let result = in_environment(context, &driver, &args).await;
        driver.shut_down().await;
        result
    });
    // Standard input may be waited for still; nobody waits for that.
    runtime.shutdown_background();
    result
}

async fn in_environment(context: &Context, driver: &LinuxDriver, args: &Args) -> Result<u8, Failure> {
    let template = driver.template(&args.template)?;
    let spec = spec(args, &template)?;
    let exec = exec(args, &template.manifest)?;
    let environment = driver.create(spec.clone()).await?;
    run_files::copy_in(environment.as_ref(), &args.file).await?;
    let outcome = execute(&environment, exec, args.tty).await?;
    let ended = match outcome {
        Outcome::Ended(ended) => ended,
        Outcome::NobodyReads => return Ok(exit_code(SIGNALLED + 13)),
        Outcome::Lost(why) => {
            let failure = Failure::new(Code::Internal, format!("the environment ended before its program: {why}"));
            return Err(failure.hint("the agent inside was ended, by the kernel or by somebody on this host"));
        }
    };
    tell(context, args, &spec, environment.as_ref(), &ended)
}

/// What was asked for, else what the template chooses, else the defaults.
fn spec(args: &Args, template: &Template) -> Result<EnvironmentSpec, Failure> {
    let id = EnvironmentId::generate().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    let (chosen, defaults) = (&template.manifest.limits, ResourceLimits::default());
    let mut spec = EnvironmentSpec::new(id, template.reference());
    spec.limits = ResourceLimits {
        cpu_millis: args.cpu.or(chosen.cpu_millis).unwrap_or(defaults.cpu_millis),
        memory_bytes: args.memory.or(chosen.memory_bytes).unwrap_or(defaults.memory_bytes),
        pids: args.pids.or(chosen.pids).unwrap_or(defaults.pids),
        disk_bytes: args.disk.or(chosen.disk_bytes).unwrap_or(defaults.disk_bytes),
    };
    spec.env = args.env.iter().cloned().collect();
    spec.allow_unenforced = args.allow_unenforced;
    Ok(spec)
}

fn exec(args: &Args, template: &Manifest) -> Result<Exec, Failure> {
    let cmd = if args.cmd.is_empty() { template.default_cmd.clone() } else { args.cmd.clone() };
    if cmd.is_empty() {
        let failure = Failure::new(CliCode::Usage, "no program was given, and the template has none of its own");
        return Err(failure.hint("tenure run -- CMD…"));
    }
    Ok(Exec {
        exec_id: run_stdio::EXEC_ID.into(),
        cmd,
        cwd: args.cwd.clone().unwrap_or_else(|| template.cwd.clone()),
        env: Default::default(),
        user: args.user.clone(),
        tag: None,
        timeout_ms: args.timeout.map(|time| time.as_millis() as u64),
        stdin: true,
        tty: args.tty.then(terminal::size),
        sink: Sink::Frames,
    })
}

async fn execute(environment: &Arc<dyn Environment>, exec: Exec, tty: bool) -> Result<Outcome, Failure> {
    let program = exec.cmd[0].clone();
    let client = environment.connect().await?;
    let attached = client.exec(exec, Vec::new()).await.map_err(|error| not_started(&program, error))?;
    let raw = if tty { RawTerminal::enter()? } else { None };
    let outcome = run_stdio::carry(environment, attached, tty).await;
    drop(raw);
    outcome
}

fn not_started(program: &str, error: AgentError) -> Failure {
    let kind: Kind = match &error {
        AgentError::Failed { code: FailureCode::NotFound, .. } => CliCode::CommandNotFound.into(),
        AgentError::Failed { code: FailureCode::Denied, .. } => CliCode::CommandRefused.into(),
        _ => return error.into(),
    };
    let message = match error {
        AgentError::Failed { message, .. } => message,
        other => other.to_string(),
    };
    Failure::new(kind, format!("cannot run {program:?}: {message}"))
}

/// Says how it ended, where the exit code alone does not, and answers with that code.
fn tell(
    context: &Context,
    args: &Args,
    spec: &EnvironmentSpec,
    environment: &dyn Environment,
    ended: &Ended,
) -> Result<u8, Failure> {
    let code = match (ended.timed_out, ended.exit_code, ended.signal) {
        (true, ..) => TIMED_OUT,
        (false, Some(code), _) => exit_code(code),
        (false, None, Some(signal)) => exit_code(SIGNALLED + signal),
        (false, None, None) => {
            let why = ended.not_started.clone().unwrap_or_else(|| "nobody saw how".into());
            return Err(Failure::new(Code::Internal, format!("the program ended, {why}")));
        }
    };
    if context.json {
        let line = json!({
            "exit_code": code,
            "program": { "exit_code": ended.exit_code, "signal": ended.signal },
            "timed_out": ended.timed_out,
            "oom_killed": ended.oom_killed,
            "duration_ms": ended.duration_ms,
            "environment": { "id": environment.id(), "generation": environment.generation() },
            "limits": spec.limits,
            "enforced": environment.enforced(),
        });
        super::print(&format!("{line}\n"))?;
        return Ok(code);
    }
    if ended.timed_out {
        let time = humantime::format_duration(args.timeout.unwrap_or_default());
        eprintln!("tenure: ended after its time limit of {time}");
    }
    if ended.oom_killed {
        let limit = spec.limits.memory_bytes;
        eprintln!("tenure: killed by the kernel, out of memory: the limit is {limit} bytes (--memory)");
    }
    Ok(code)
}

/// Exit codes have eight bits.
pub fn exit_code(code: i32) -> u8 {
    (code & 0xff) as u8
}
