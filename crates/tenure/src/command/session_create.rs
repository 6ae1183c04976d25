//! `tenure session create`: what a new session is to be.

use super::run::{parse_time, parse_variable};
use super::session::given;
use super::show::{Show, text};
use crate::client::Client;
use crate::failure::{CliCode, Failure};
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tenure_environment::{parse_bytes, parse_cpus};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// What it is made from: a template's NAME or NAME@VERSION
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Whose it is to be; administrators may name somebody else
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Set a variable for its programs; without a value it is taken from here
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// Words of one's own about it
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    metadata: Vec<(String, String)>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Begin with a lease that holds so long, as in 60s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    lease_ttl: Option<Duration>,
    /// How often the lease is to be renewed, as in 5s
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "lease_ttl")]
    heartbeat_interval: Option<Duration>,
    /// Make no environment
    #[arg(long)]
    no_environment: bool,
    /// Go without limits that the server's host does not enforce
    #[arg(long)]
    allow_unenforced: bool,
    /// Make at most one session for this key, however often it is asked for
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Limits.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LimitArgs {
    /// How long it may live, as in 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    max_lifetime: Option<Duration>,
    /// How long it may live without work, as in 10m
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    idle_timeout: Option<Duration>,
    /// How many programs it may run at once
    #[arg(long, value_name = "COUNT")]
    max_execs: Option<u32>,
    /// What one too many does: terminate or reject
    #[arg(long, value_name = "WORD")]
    on_exec_limit: Option<String>,
    /// Processor cores, as in 0.5
    #[arg(long, value_name = "CORES", value_parser = parse_cpus)]
    cpu: Option<u32>,
    /// Memory, as in 512M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Processes and threads
    #[arg(long, value_name = "COUNT")]
    pids: Option<u32>,
    /// Disk, as in 2G
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    disk: Option<u64>,
}

impl LimitArgs {
    /// As a request has them.
    pub fn body(&self) -> Value {
        let ms = |time: Option<Duration>| time.map(|time| time.as_millis() as u64);
        given(json!({
            "max_lifetime_ms": ms(self.max_lifetime),
            "idle_timeout_ms": ms(self.idle_timeout),
            "max_concurrent_execs": self.max_execs,
            "on_exec_limit": self.on_exec_limit,
            "cpu_millis": self.cpu,
            "memory_bytes": self.memory,
            "pids": self.pids,
            "disk_bytes": self.disk,
        }))
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".into()),
    }
}

fn map(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect::<Map<_, _>>().into()
}

/// Makes one.
pub async fn run(client: &Client, show: Show, args: CreateArgs) -> Result<(), Failure> {
    let ms = |time: Duration| time.as_millis() as u64;
    let lease = args
        .lease_ttl
        .map(|ttl| given(json!({ "ttl_ms": ms(ttl), "heartbeat_interval_ms": args.heartbeat_interval.map(ms) })));
    let body = given(json!({
        "template": args.template,
        "owner": args.owner,
        "limits": args.limits.body(),
        "lease": lease,
        "metadata": map(&args.metadata),
        "env": map(&args.env),
        "environment": args.no_environment.then_some("none"),
        "allow_unenforced": args.allow_unenforced,
    }));
    let mut request = client.request(Method::POST, &["sessions"], &[])?.json(&body);
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let response = client.send(request).await?;
    let session: Value = response
        .json()
        .await
        .map_err(|error| Failure::new(CliCode::NotOurs, format!("the server's answer is no JSON: {error}")))?;
    show.line(&session, &text(&session["id"]))?;
    if !show.json && session["lease"]["token"].is_number() {
        eprintln!("lease token: {}", session["lease"]["token"]);
    }
    Ok(())
}
