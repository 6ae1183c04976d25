//! A run: start, load, kill, start again, compare; at the end everything is ended, and nothing may be left.
//!
//! ```text
//!        ┌──────────────────────────────────────────────────────────────┐
//!        ▼                                                              │
//!  start ─► compare ─► load: clients ──┬── kill at a time or at a point ┘
//!                                      └── what was acknowledged, what broke off
//! ```

use crate::check::Depth;
use crate::client::{Client, Weather};
use crate::fault::Faults;
use crate::http::{Connection, Request};
use crate::kernel::Traces;
use crate::point::Held;
use crate::random::Random;
use crate::report::Report;
use crate::schedule::{Kill, Menu, Schedule};
use crate::server::Server;
use crate::spoil::{Spoil, Spoiler};
use crate::strike::Strike;
use crate::tear;
use crate::tracer::{Tracer, Wanted};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The server's log, beside the data directory: not on a disk that is going to be full.
const LOG: &str = "torture.log";
/// The log of the database, below the data directory.
const DATABASE_LOG: &str = "store/tenure.db-wal";
/// The files of the database whose syncs fail where they are to.
const DATABASE: [&str; 2] = ["store/tenure.db", DATABASE_LOG];
/// Every how manieth start everything in the living sessions is compared.
const DEEP_EVERY: u64 = 5;
/// Every how manieth start the whole audit is read again.
const VERIFY_EVERY: u64 = 50;
/// Within it everything is gone once all has ended.
const GONE_WITHIN: Duration = Duration::from_secs(15);

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The server's program.
    pub program: PathBuf,
    /// An empty directory, on a disk.
    pub dir: PathBuf,
    /// The chance of it all.
    pub seed: u64,
    /// Kills, at most.
    pub kills: u64,
    /// How long, at most.
    pub lasts: Duration,
    /// Clients at a time.
    pub clients: u64,
    /// What may be done.
    pub menu: Menu,
    /// What is spoilt on purpose, to see that it is found.
    pub spoil: Option<Spoil>,
}

/// Runs a plan; each kill is told as it comes.
pub fn run(plan: &Plan, mut progress: impl FnMut(&Report, &Kill)) -> anyhow::Result<Report> {
    let mut run = Run::new(plan)?;
    let until = Instant::now() + plan.lasts;
    for kill in Schedule::new(plan.seed, run.faults.menu).take(usize::try_from(plan.kills)?) {
        if Instant::now() > until || run.report.is_bad() {
            break;
        }
        progress(&run.report, &kill);
        if let Err(error) = run.round(&kill) {
            run.report.tally.losses.push(format!("round {}, killed {kill}: {error:#}", run.round));
        }
    }
    if let Err(error) = run.end() {
        run.report.tally.losses.push(format!("at the end: {error:#}"));
    }
    Ok(run.report)
}

struct Run {
    server: Server,
    faults: Faults,
    clients: Vec<Client>,
    weather: Arc<Weather>,
    traces: Traces,
    random: Random,
    round: u64,
    report: Report,
    spoil: Option<Spoil>,
    spoiler: Spoiler,
}

impl Run {
    fn new(plan: &Plan) -> anyhow::Result<Run> {
        let mut report = Report::new(plan.seed);
        let faults = Faults::make(plan, &mut report)?;
        let dir = faults.disk().map_or_else(|| plan.dir.clone(), |disk| disk.dir().join("data"));
        let mut server = Server::new(&plan.program, &dir, plan.dir.with_extension(LOG))?;
        server.set(faults.variables());
        let traces = Traces::watch(server.dir());
        // The first start makes the storage and the administrator's key; from then on any instant will do.
        server.spawn()?;
        server.wait_ready()?;
        let (weather, random) = (Arc::new(Weather::default()), Random::new(plan.seed));
        let client = |number| Client::new(format!("c{number}"), random.branch(1000 + number), weather.clone());
        let clients = (0..plan.clients).map(client).collect();
        server.kill()?;
        let (round, spoil, spoiler) = (0, plan.spoil, Spoiler::default());
        Ok(Run { server, faults, clients, weather, traces, random, round, report, spoil, spoiler })
    }

    fn round(&mut self, kill: &Kill) -> anyhow::Result<()> {
        self.round += 1;
        self.server.note(&format!("round {}: killed {kill}", self.round))?;
        self.server.spawn()?;
        if let Kill::Starting(after) = kill {
            std::thread::sleep(*after);
            self.server.kill()?;
            self.report.killed(kill.kind());
            return self.spoil(false);
        }
        let (address, key) = self.ready()?;
        let is_deep = self.round % DEEP_EVERY == 1 || self.spoil.is_some();
        let depth = if is_deep { Depth::Deep } else { Depth::Light };
        self.compare(address, &key, depth)?;
        let kind = self.load(address, &key, kill)?;
        self.report.killed(kind);
        self.count();
        self.spoil(true)
    }

    fn spoil(&mut self, loaded: bool) -> anyhow::Result<()> {
        match self.spoil {
            Some(spoil) => self.spoiler.after_kill(spoil, self.round, loaded, &self.server),
            None => Ok(()),
        }
    }

    fn ready(&mut self) -> anyhow::Result<(SocketAddr, String)> {
        let begun = Instant::now();
        let address = self.server.wait_ready()?;
        self.report.slowest_start = self.report.slowest_start.max(begun.elapsed());
        Ok((address, self.server.admin_key()?))
    }

    /// Every client compares its own.
    fn compare(&mut self, address: SocketAddr, key: &str, depth: Depth) -> anyhow::Result<()> {
        self.weather.over.store(false, Ordering::Relaxed);
        self.weather.trouble.store(false, Ordering::Relaxed);
        self.weather.full.store(false, Ordering::Relaxed);
        let round = self.round;
        std::thread::scope(|scope| {
            for client in &mut self.clients {
                client.connect(Connection::new(address, key), round);
                scope.spawn(move || {
                    client.check_all(depth);
                    if depth == Depth::Deep {
                        client.settle_in();
                    }
                });
            }
        });
        self.weather.agents.store(false, Ordering::Relaxed);
        self.weather.keeper.store(false, Ordering::Relaxed);
        self.tally_jump();
        if depth == Depth::Everything || self.round.is_multiple_of(VERIFY_EVERY) {
            self.verify(address, key)?;
        }
        self.count();
        Ok(())
    }

    /// A wall clock that jumped was noticed, and said so.
    fn tally_jump(&mut self) {
        if let Some(noticed) = self.faults.jump_was_noticed(&self.server) {
            self.report.tally.checked += 1;
            if !noticed {
                self.report
                    .tally
                    .losses
                    .push(format!("round {}: nobody noticed that the wall clock jumped", self.round));
            }
        }
    }

    fn verify(&mut self, address: SocketAddr, key: &str) -> anyhow::Result<()> {
        let answer = Connection::new(address, key).ask(&Request::new("POST", "/v1/audit/verify"), None);
        let answer = answer.map_err(|broken| anyhow::anyhow!("audit verify: {}", broken.why))?;
        self.report.tally.checked += 1;
        if answer.status != 200 || answer.json()["intact"] != true {
            self.report.tally.losses.push(format!("round {}: audit verify: {}", self.round, answer.told()));
        }
        Ok(())
    }

    /// The clients work until the manager is killed. What kind of kill it was in the end.
    fn load(&mut self, address: SocketAddr, key: &str, kill: &Kill) -> anyhow::Result<String> {
        let round = self.round;
        let mut tracer = self.tracer(kill)?;
        let (server, weather, random) = (&mut self.server, &self.weather, &mut self.random);
        let faults = &mut self.faults;
        let clients = &mut self.clients;
        let kind = std::thread::scope(|scope| {
            for client in clients.iter_mut() {
                client.connect(Connection::new(address, key), round);
                scope.spawn(move || client.work());
            }
            let kind = Strike { server, weather, random, faults }.at(kill, tracer.as_ref());
            weather.over.store(true, Ordering::Relaxed);
            kind
        });
        if let Some(tracer) = &mut tracer {
            tracer.end();
            if let Kill::Tear(_, torn, from) = kill {
                let log = self.server.dir().join(DATABASE_LOG);
                let torn = tracer.was_never_made() && tear::tear(&log, *torn, *from)?;
                return kind.map(|kind| if torn { kind } else { format!("{kind} (nothing to tear)") });
            }
        }
        if matches!(kill, Kill::WithAgents(..)) {
            self.clients.iter_mut().for_each(Client::agents_were_killed);
        }
        if matches!(kill, Kill::Full(..)) {
            self.clients.iter_mut().for_each(Client::disk_was_full);
        }
        kind
    }

    fn tracer(&self, kill: &Kill) -> anyhow::Result<Option<Tracer>> {
        let (wanted, pids) = match kill {
            Kill::Point(point) => match point.held {
                Held::Manager => (Wanted::Point(*point), self.server.pid().into_iter().collect()),
                Held::Keeper => (Wanted::Point(*point), self.server.makers()),
            },
            Kill::Tear(nth, ..) => (Wanted::Unsynced(*nth), self.server.pid().into_iter().collect()),
            Kill::Unsyncable(_, first, count, error) => {
                self.weather.trouble.store(true, Ordering::Relaxed);
                let files = DATABASE.map(|file| self.server.dir().join(file)).to_vec();
                let wanted = Wanted::Failing { files, first: *first, count: *count, error };
                (wanted, self.server.pid().into_iter().collect())
            }
            Kill::Random(_)
            | Kill::Starting(_)
            | Kill::WithKeeper(..)
            | Kill::WithAgents(..)
            | Kill::Full(..)
            | Kill::Jump(..) => return Ok(None),
        };
        anyhow::ensure!(!pids.is_empty(), "there is nobody to hold");
        Tracer::attach(&wanted, &pids).map(Some)
    }

    fn count(&mut self) {
        for client in &mut self.clients {
            self.report.tally.add(&std::mem::take(&mut client.tally));
        }
    }

    /// Compares everything, ends everything, and looks for what is left.
    fn end(&mut self) -> anyhow::Result<()> {
        self.server.kill()?;
        self.round += 1;
        self.server.spawn()?;
        let (address, key) = self.ready()?;
        self.compare(address, &key, Depth::Everything)?;
        let round = self.round;
        std::thread::scope(|scope| {
            for client in &mut self.clients {
                // The one that it had may have been idle for too long.
                client.connect(Connection::new(address, &key), round);
                scope.spawn(move || client.finish());
            }
        });
        self.compare(address, &key, Depth::Everything)?;
        self.server.stop()?;
        let killed = self.weather.agents_killed.load(Ordering::Relaxed);
        if self.report.tally.failed > killed && self.spoil.is_none() {
            let failed = self.report.tally.failed;
            self.report.tally.losses.push(format!("{failed} sessions failed with their agents; {killed} were killed"));
        }
        let until = Instant::now() + GONE_WITHIN;
        self.report.leftovers = self.traces.everything();
        while !self.report.leftovers.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
            self.report.leftovers = self.traces.everything();
        }
        Ok(())
    }
}

/// A directory of its own below this one, on whose disk the data will be.
pub fn directory(below: &Path) -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("torture-").tempdir_in(below)?)
}
