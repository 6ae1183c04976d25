//! `tenure lease`: holding a session, so that nobody else works in it meanwhile.

use super::run::parse_time;
use super::session::given;
use super::show::{Show, text};
use crate::client::Client;
use crate::failure::{CliCode, Code, Failure};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Take the lease of a session, and print its token
    Take(TakeArgs),
    /// Renew the lease that --lease-token names, once
    Heartbeat(One),
    /// Give the lease that --lease-token names up; the session lives on
    Release(One),
    /// Take the lease, print its token, renew it until interrupted, then give it up
    Hold(TakeArgs),
}

/// A session.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The session's ID
    session: String,
}

/// What is taken.
#[derive(Debug, clap::Args)]
pub struct TakeArgs {
    /// The session's ID
    session: String,
    /// How long it holds without a heartbeat, as in 60s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    ttl: Option<Duration>,
    /// How often it is to be renewed, as in 5s
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    heartbeat_interval: Option<Duration>,
    /// Also from somebody who holds it, whose work is broken off
    #[arg(long)]
    takeover: bool,
}

/// Runs one of them.
pub async fn run(client: &Client, show: Show, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Take(args) => {
            let taken = take(client, &args).await?;
            taken_is_shown(show, &taken)?;
        }
        Command::Heartbeat(one) => {
            let beat = client.post(&["sessions", &one.session, "heartbeat"], &Value::Null).await?;
            show.line(&beat, &format!("{} until {}", one.session, text(&beat["lease_expires_at"])))?;
        }
        Command::Release(one) => {
            let free = client.delete(&["sessions", &one.session, "lease"], &[]).await?;
            show.line(&free, &format!("{} is free", one.session))?;
        }
        Command::Hold(args) => hold(client, show, &args).await?,
    }
    Ok(0)
}

async fn take(client: &Client, args: &TakeArgs) -> Result<Value, Failure> {
    let ms = |time: Option<Duration>| time.map(|time| time.as_millis() as u64);
    let terms = json!({
        "ttl_ms": ms(args.ttl),
        "heartbeat_interval_ms": ms(args.heartbeat_interval),
        "takeover": args.takeover,
    });
    client.post(&["sessions", &args.session, "lease"], &given(terms)).await
}

fn taken_is_shown(show: Show, taken: &Value) -> Result<(), Failure> {
    show.line(taken, &text(&taken["lease"]["token"]))
}

/// Holds it until SIGINT or SIGTERM. Once it is lost, that is the failure, and nothing is given up.
async fn hold(client: &Client, show: Show, args: &TakeArgs) -> Result<(), Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let taken = take(client, args).await?;
    let token = taken["lease"]["token"].as_u64();
    let interval = taken["lease"]["heartbeat_interval_ms"].as_u64();
    let (Some(token), Some(interval)) = (token, interval.filter(|ms| *ms > 0)) else {
        return Err(Failure::new(CliCode::NotOurs, "the server's answer names no token or no interval".to_owned()));
    };
    taken_is_shown(show, &taken)?;
    let client = client.holding(token);
    let mut beats = tokio::time::interval(Duration::from_millis(interval));
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beats.tick().await;
    loop {
        tokio::select! {
            _ = beats.tick() => beat(&client, &args.session).await?,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    client.delete(&["sessions", &args.session, "lease"], &[]).await.map(drop)
}

/// Renews it. A server that is not there, or not ready, is asked again at the next beat: until it answers nobody knows that the lease is lost.
async fn beat(client: &Client, session: &str) -> Result<(), Failure> {
    match client.post(&["sessions", session, "heartbeat"], &Value::Null).await {
        Err(failure) if failure.is(Code::Unavailable) || failure.is(Code::Recovering) => {
            eprintln!("tenure: {failure}; asking again");
            Ok(())
        }
        other => other.map(drop),
    }
}
