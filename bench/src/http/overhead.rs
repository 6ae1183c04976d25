//! What the API costs beside a bare route: requests per second for one session's record.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::client::Client;
use super::server::Server;
use crate::goal::verdict;
use crate::side_by_side::Effort;
use anyhow::{Context as _, anyhow};
use bench::measure::Table;

const CONNECTIONS: usize = 16;
const WINDOW: Duration = Duration::from_secs(2);
const GOAL: f64 = 0.5;

/// Both in turns, by the same client.
pub fn table(program: &Path, work: &Path, effort: Effort) -> anyhow::Result<Table> {
    let server = Server::start(program, work, 0)?;
    let mut client = server.client()?;
    let id = client.expect("POST", "/v1/sessions", Some(r#"{"environment":"none"}"#), 201)?;
    let path = format!("/v1/sessions/{}", id["id"].as_str().context("no ID")?);
    client.ask("GET", &path, None)?;
    let answer = client.body().len();
    let bare = Bare::start(answer)?;
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for _ in 0..effort.blocks().min(5) {
        own.push(rate(&path, || server.client())?);
        other.push(rate(&path, || Client::connect(bare.address, "none"))?);
    }
    let (own, other) = (middle(own), middle(other));
    let title = "GET /v1/sessions/{id} beside a bare axum route";
    let mut table = Table::new(title, &["route", "requests/s, median of windows", "share", "goal ≥ 50 %"]);
    let share = own / other;
    table.row([
        "bare axum, an answer of the same size".to_owned(),
        format!("{other:.0}"),
        String::new(),
        String::new(),
    ]);
    let cells = [format!("{own:.0}"), format!("{:.0} %", share * 100.0), verdict(share >= GOAL).to_owned()];
    table.row(["Tenure, authenticated, read from the store".to_owned()].into_iter().chain(cells));
    table.note(format!(
        "{CONNECTIONS} connections of one client on the same machine, one request at a time on each; windows of {} s in turns; answers of {answer} bytes.",
        WINDOW.as_secs()
    ));
    Ok(table)
}

fn rate(path: &str, connect: impl Fn() -> anyhow::Result<Client>) -> anyhow::Result<f64> {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut clients = (0..CONNECTIONS).map(|_| connect()).collect::<anyhow::Result<Vec<_>>>()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let callers: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let (stop, done) = (&stop, &done);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let status = client.ask("GET", path, None)?;
                        anyhow::ensure!(status == 200, "{status}");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        std::thread::sleep(WINDOW);
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().try_for_each(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?)
    })?;
    Ok(done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

/// A server with one bare route, in a process of its own: this program again.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start(answer: usize) -> anyhow::Result<Bare> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve-bare", &answer.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Bare { child, address: line.trim().parse()? })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves one route that answers with so many bytes, until it is killed.
pub fn serve_bare(answer: usize) -> anyhow::Result<()> {
    use axum::http::header::CONTENT_TYPE;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let body: &'static str = Box::leak("x".repeat(answer).into_boxed_str());
        let route = axum::routing::get(move || async move { ([(CONTENT_TYPE, "application/json")], body) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        axum::serve(listener, axum::Router::new().route("/v1/sessions/{id}", route)).await?;
        Ok(())
    })
}
