//! Execs: what can be asked, and what is told of them.

use crate::wire::words;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use tenure_engine::{ExecLedgerState, ExecRecord, ExecResult};
use tenure_session::{ExecId, SessionId, Timestamp};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

/// A program to run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments; a program without `/` is looked for in `PATH`.
    #[schema(min_items = 1)]
    pub cmd: Vec<String>,
    /// Where; `/workspace` where nothing is given.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Variables, over those of the session.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// As whom: a name or a number inside; the environment's default user where nothing is given.
    #[serde(default)]
    pub user: Option<String>,
    /// How long it may run; where nothing is given 300 000, and in the background as long as the session lives.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 2592000000u64)]
    pub timeout_ms: Option<u64>,
    /// What it reads. Where nothing is given its input is empty, and in the background open, to be fed later.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Whether to answer as soon as it runs.
    #[serde(default)]
    pub background: bool,
    /// Whether to answer with its output as it comes.
    #[serde(default)]
    pub stream: bool,
    /// The caller's own word for it.
    #[serde(default)]
    pub tag: Option<String>,
}

/// A signal for a program.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillRequest {
    /// Its number, or its name with or without `SIG`.
    #[schema(schema_with = signal)]
    pub signal: serde_json::Value,
}

fn signal() -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(64));
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9]{1,16}$"));
    OneOfBuilder::new().item(number).item(name).into()
}

/// One exec.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Exec)]
pub struct ExecBody<'a> {
    /// Which.
    #[schema(value_type = String, pattern = "^x_[0-9a-f]{16}$")]
    exec_id: &'a ExecId,
    /// In which session.
    #[schema(value_type = String)]
    session_id: &'a SessionId,
    /// How far it is.
    #[schema(value_type = words::ExecState)]
    state: ExecLedgerState,
    /// Its exit code, where it exited. Never invented.
    exit_code: Option<i32>,
    /// The signal that ended it.
    signal: Option<i32>,
    /// Whether its own time limit ended it.
    timed_out: bool,
    /// Whether the kernel killed it, or something it started, for memory.
    oom_killed: bool,
    /// Its output as far as it is in this answer: at most 1 MiB, and what is not UTF-8 replaced. `null` where output is not in the answer at all.
    stdout: Option<Cow<'a, str>>,
    /// Its error output, likewise.
    stderr: Option<Cow<'a, str>>,
    /// Where the output was cut, in bytes from its beginning: in this answer, or at the cap of what is kept. `null` where nothing is missing.
    truncated_at: Option<u64>,
    /// Bytes of its output that are kept, as far as is known.
    stdout_bytes: Option<u64>,
    /// Bytes of its error output that are kept.
    stderr_bytes: Option<u64>,
    /// Bytes that were dropped at the cap, of both.
    dropped_bytes: Option<u64>,
    /// From start to end; `null` while it runs, and where nobody saw.
    duration_ms: Option<u64>,
    /// In which life of the environment.
    generation: u64,
    /// The program and its arguments.
    cmd: &'a [String],
    /// Where.
    cwd: &'a str,
    /// As whom, where it was said.
    user: Option<&'a str>,
    /// The caller's own word for it.
    tag: Option<&'a str>,
    /// Whether nobody waited for it.
    background: bool,
    /// How long it may run.
    timeout_ms: Option<u64>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was started.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Why it did not start, or why nothing is known.
    error: Option<&'a str>,
}

impl<'a> ExecBody<'a> {
    /// An exec without its output.
    pub fn new(record: &'a ExecRecord) -> ExecBody<'a> {
        let outcome = record.outcome.as_ref();
        let cut = outcome.and_then(|outcome| {
            let streams = [outcome.stdout, outcome.stderr];
            streams.into_iter().filter(|total| total.dropped > 0).map(|total| total.bytes).min()
        });
        ExecBody {
            exec_id: &record.id,
            session_id: &record.session_id,
            state: record.state,
            exit_code: outcome.and_then(|outcome| outcome.exit_code),
            signal: outcome.and_then(|outcome| outcome.signal),
            timed_out: outcome.is_some_and(|outcome| outcome.timed_out),
            oom_killed: outcome.is_some_and(|outcome| outcome.oom_killed),
            stdout: None,
            stderr: None,
            truncated_at: cut,
            stdout_bytes: outcome.map(|outcome| outcome.stdout.bytes),
            stderr_bytes: outcome.map(|outcome| outcome.stderr.bytes),
            dropped_bytes: outcome.map(|outcome| outcome.stdout.dropped + outcome.stderr.dropped),
            duration_ms: outcome.and_then(|outcome| outcome.duration_ms),
            generation: record.generation,
            cmd: &record.cmd,
            cwd: &record.cwd,
            user: record.user.as_deref(),
            tag: record.tag.as_deref(),
            background: record.background,
            timeout_ms: record.timeout_ms,
            created_at: record.created_at,
            started_at: record.started_at,
            ended_at: outcome.map(|outcome| outcome.ended_at),
            error: outcome.and_then(|outcome| outcome.error.as_deref()),
        }
    }

    /// An exec with the beginning of its output.
    pub fn with_output(result: &'a ExecResult) -> ExecBody<'a> {
        let body = ExecBody::new(&result.record);
        let cut = |inline: &[u8], kept: Option<u64>| {
            let inline = inline.len() as u64;
            kept.filter(|kept| inline < *kept).map(|_| inline)
        };
        let cuts = [body.truncated_at, cut(&result.stdout, body.stdout_bytes), cut(&result.stderr, body.stderr_bytes)];
        ExecBody {
            truncated_at: cuts.into_iter().flatten().min(),
            stdout: Some(String::from_utf8_lossy(&result.stdout)),
            stderr: Some(String::from_utf8_lossy(&result.stderr)),
            ..body
        }
    }
}

/// The event `started`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecStarted<'a> {
    /// Which exec.
    #[schema(value_type = String)]
    pub exec_id: &'a ExecId,
    /// In which life of the environment.
    pub generation: u64,
}

/// The events `stdout` and `stderr`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExecOutputEvent<'a> {
    /// What was printed; what is not UTF-8 replaced.
    data: Cow<'a, str>,
    /// The bytes in base64, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> ExecOutputEvent<'a> {
    /// Something was printed.
    pub fn new(bytes: &'a [u8]) -> ExecOutputEvent<'a> {
        let data = String::from_utf8_lossy(bytes);
        let data_base64 = matches!(data, Cow::Owned(_)).then(|| STANDARD.encode(bytes));
        ExecOutputEvent { data, data_base64 }
    }
}
