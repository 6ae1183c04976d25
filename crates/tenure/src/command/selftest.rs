//! `tenure selftest`: tries on this host what is promised, by a server of its own that is killed a few times, and says what the host can promise.
//!
//! ```text
//!  host: walls, limits, disk ─► server of its own ─► sessions ─┬─ work, kill -9, start again, compare ─┐
//!  (selftest_host.rs)           (selftest_server.rs)           └───────────────── a few times ◄────────┘
//!                                                              └─► end everything ─► the kernel's tables (selftest_traces.rs)
//! ```

use super::selftest_host::{self as host, Host};
use super::selftest_server::Server;
use super::selftest_traces::Traces;
use super::selftest_trial::Trial;
use crate::Context;
use crate::failure::{Code, Failure};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A promise was broken.
const BROKEN: u8 = 1;
/// This host cannot give everything that is promised.
const LACKING: u8 = 10;
/// No more kills are begun after so long.
const KILLING: Duration = Duration::from_secs(9);
/// How long everything may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(6);

/// What `selftest` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Needs no server, and touches none: everything happens in a directory of its own below the data directory, and is gone afterwards.\n\n\
                  Exits with 0 where every promise holds, with 1 where one was broken, with 10 where this host lacks something that is promised."
)]
pub struct Args {
    /// How often the server is killed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    kills: u64,
}

/// One promise, and what became of it.
#[derive(Debug)]
pub struct Finding {
    /// The promise.
    pub promise: &'static str,
    /// Whether it held, as often as it was looked at.
    pub holds: bool,
    /// What was seen.
    pub seen: String,
}

/// What was measured.
#[derive(Debug, Default)]
struct Measured {
    kills: u64,
    restart_ms: Vec<u64>,
}

/// Tries everything, reports, and says by the exit code whether all promises hold.
pub fn run(context: &Context, args: &Args) -> Result<u8, Failure> {
    let place = Place::make(&context.data_dir)?;
    let own = Context { data_dir: place.dir.clone(), json: context.json, config: context.config.clone() };
    let progress = Progress { shown: std::io::stderr().is_terminal() };
    progress.tell("looking at the host");
    // Before the runtime: keepers are forked from one thread only.
    let host = Host::look(&own)?;
    let (mut findings, mut measured) = (Vec::new(), Measured::default());
    if host.can_run() {
        let tried = super::runtime()?.block_on(try_all(&place, &host, args.kills, &progress, &mut measured));
        findings = tried?;
    }
    progress.clear();
    let code = match (findings.iter().all(|finding| finding.holds), host.lacks().is_empty()) {
        (false, _) => BROKEN,
        (true, false) => LACKING,
        (true, true) => 0,
    };
    let text =
        if context.json { as_json(&host, &findings, &measured, code) } else { in_words(&host, &findings, &measured) };
    super::print(&text)?;
    Ok(code)
}

/// The trial; whatever happens in it, everything is ended.
async fn try_all(
    place: &Place,
    host: &Host,
    kills: u64,
    progress: &Progress,
    measured: &mut Measured,
) -> Result<Vec<Finding>, Failure> {
    let mut server = Server::new(&place.dir.join("data"), !host.enforces_all())?;
    let mut traces = Traces::of(server.dir());
    let mut trial = Trial::default();
    let tried = tokio::select! {
        tried = kill_again_and_again(&mut server, &mut traces, &mut trial, kills, progress, measured) => tried,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Code::Unavailable, "the self-test was interrupted")),
    };
    progress.tell("ending everything");
    let ended = end_all(&mut server, &mut traces, &trial).await;
    tried?;
    let mut findings = trial.findings();
    findings.push(ended?);
    Ok(findings)
}

async fn kill_again_and_again(
    server: &mut Server,
    traces: &mut Traces,
    trial: &mut Trial,
    kills: u64,
    progress: &Progress,
    measured: &mut Measured,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let client = server.start().await?;
    traces.note();
    trial.begin(&client).await?;
    while measured.kills < kills && begun.elapsed() < KILLING {
        progress.tell(&format!("kill {} of {kills}", measured.kills + 1));
        // Whatever is asked for while the server dies has no answer, and nothing was promised.
        let worked = tokio::time::timeout(host::chance_ms(50..400)?, trial.work(server)).await;
        server.kill()?;
        if let Ok(Err(error)) = worked {
            return Err(error);
        }
        let before = Instant::now();
        let client = server.start().await?;
        measured.restart_ms.push(u64::try_from(before.elapsed().as_millis()).unwrap_or(u64::MAX));
        measured.kills += 1;
        traces.note();
        trial.compare(&client, server).await?;
    }
    Ok(())
}

/// Ends every session and the server, and looks for what is left of them.
async fn end_all(server: &mut Server, traces: &mut Traces, trial: &Trial) -> Result<Finding, Failure> {
    let client = match server.client() {
        Some(client) => client,
        None => server.start().await?,
    };
    trial.end(&client).await?;
    traces.note();
    server.stop()?;
    let until = Instant::now() + GONE_WITHIN;
    let mut left = traces.left();
    while !left.is_empty() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = traces.left();
    }
    let seen =
        if left.is_empty() { "no process, mount, control group or loop device".to_owned() } else { left.join("; ") };
    Ok(Finding { promise: "nothing stays behind", holds: left.is_empty(), seen })
}

fn as_json(host: &Host, findings: &[Finding], measured: &Measured, code: u8) -> String {
    let promise =
        |finding: &Finding| json!({ "promise": finding.promise, "holds": finding.holds, "seen": finding.seen });
    let findings: Vec<Value> = findings.iter().map(promise).collect();
    let measured = json!({
        "fsync_us": host.fsync_us, "kills": measured.kills, "restart_ms": measured.restart_ms,
    });
    let value = json!({
        "holds": code == 0, "promises": findings, "measured": measured, "host": host.as_json(), "lacks": host.lacks(),
    });
    format!("{value}\n")
}

fn in_words(host: &Host, findings: &[Finding], measured: &Measured) -> String {
    let mut text = String::new();
    for Finding { promise, holds, seen } in findings {
        text += &format!("{:8} {promise:32} {seen}\n", if *holds { "holds" } else { "BROKEN" });
    }
    if let Some(slowest) = measured.restart_ms.iter().max() {
        text += &format!("\nkilled {} times; the slowest start took {slowest} ms\n", measured.kills);
    }
    text += &host.in_words();
    let broken: Vec<&str> = findings.iter().filter(|finding| !finding.holds).map(|finding| finding.promise).collect();
    text += &match (broken.is_empty(), host.lacks()) {
        (false, _) => format!("\nBroken: {}. This is a fault; please report it.\n", broken.join(", ")),
        (true, lacks) if lacks.is_empty() => "\nThis host can give everything that is promised.\n".to_owned(),
        (true, lacks) => format!("\nThis host cannot give everything that is promised: {}.\n", lacks.join("; ")),
    };
    text
}

/// A directory for this trial, which goes with it.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn make(below: &Path) -> Result<Place, Failure> {
        let dir = below.join(format!("selftest-{}", std::process::id()));
        // Left by one of our number that was killed: its sessions have ended since, by their lifetime.
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Place { dir })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What somebody still holds is found by whoever looks.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Tells on a terminal what is being done; elsewhere nothing.
struct Progress {
    shown: bool,
}

impl Progress {
    fn tell(&self, what: &str) {
        if self.shown {
            eprint!("\r\x1b[K{what} …");
            let _ = std::io::stderr().flush();
        }
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}
