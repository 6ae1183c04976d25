//! The manager's end of the socket to its keeper.

use super::berth::Berth;
use super::start::KeeperProcess;
use super::wire::{self, Answer, Host, Request};
use crate::walls::order::Order;
use crate::walls::step::Failed;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tenure_environment::EnvironmentEnd;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};

/// A keeper, asked by many tasks at once.
#[derive(Debug)]
pub struct KeeperClient {
    socket: Arc<AsyncFd<OwnedFd>>,
    state: Arc<Mutex<State>>,
    host: watch::Receiver<Option<Result<Host, Failed>>>,
    gone: watch::Receiver<bool>,
    next: AtomicU64,
}

/// What is under way.
#[derive(Debug, Default)]
struct State {
    creating: HashMap<u64, oneshot::Sender<Result<Created, Failed>>>,
    lives: HashMap<String, watch::Sender<Life>>,
}

/// A new environment.
#[derive(Debug)]
pub struct Created {
    /// Where it is.
    pub berth: Berth,
    /// Its agent's process descriptor.
    pub pidfd: OwnedFd,
    /// Its volume's directory.
    pub volume_dir: OwnedFd,
    /// How far it is on its way out.
    pub life: watch::Receiver<Life>,
}

/// An environment's life as its keeper sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Its agent runs.
    Alive,
    /// Its agent has ended.
    Ended(EnvironmentEnd),
    /// Nothing of it is left, or this could not be removed.
    Cleaned(EnvironmentEnd, Option<String>),
}

impl Life {
    /// How it ended, if it has.
    pub fn end(&self) -> Option<EnvironmentEnd> {
        match self {
            Life::Alive => None,
            Life::Ended(end) | Life::Cleaned(end, _) => Some(*end),
        }
    }
}

impl KeeperClient {
    /// Takes over the socket and listens on it from now on. Must be called in a runtime.
    pub fn new(keeper: KeeperProcess) -> io::Result<KeeperClient> {
        rustix::io::ioctl_fionbio(&keeper.socket, true)?;
        #[allow(unsafe_code)]
        // SAFETY: the descriptor is owned by what is registered and stays the same until that is dropped.
        let socket = Arc::new(unsafe { AsyncFd::register(keeper.socket) }?);
        let state = Arc::new(Mutex::new(State::default()));
        let (host_sender, host) = watch::channel(None);
        let (gone_sender, gone) = watch::channel(false);
        let (listening, heard) = (socket.clone(), state.clone());
        tokio::spawn(async move {
            while let Ok(Some((answer, files))) = receive(&listening).await {
                hear(&heard, &host_sender, answer, files);
            }
            lock(&heard).abandon();
            let _ = gone_sender.send(true);
        });
        Ok(KeeperClient { socket, state, host, gone, next: AtomicU64::new(1) })
    }

    /// What the keeper found at its start; waits for it.
    pub async fn host(&self) -> Result<Host, Failed> {
        let mut host = self.host.clone();
        match host.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or_else(|| Err(Failed::new("keeper", "no answer"))),
            Err(_) => Err(Failed::new("keeper", "it ended at its start")),
        }
    }

    /// Makes an environment.
    pub async fn create(&self, order: Order) -> Result<Created, Failed> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.state).creating.insert(request, sender);
        let sent = self.send(&Request::Create { request, order: Box::new(order) }).await;
        if let Err(error) = sent {
            lock(&self.state).creating.remove(&request);
            return Err(Failed::new("keeper", error));
        }
        if *self.gone.borrow() {
            // It went before our sender was registered, so nobody will answer it.
            lock(&self.state).abandon();
        }
        receiver.await.unwrap_or_else(|_| Err(Failed::new("keeper", "it is gone")))
    }

    /// Tells the keeper by when an environment ends, whatever state it is in.
    pub async fn deadline(&self, berth: &str, deadline_boot_ms: Option<u64>, grace_ms: u64) -> io::Result<()> {
        self.send(&Request::Deadline { berth: berth.to_owned(), deadline_boot_ms, grace_ms }).await
    }

    /// Ends an environment at once.
    pub async fn kill(&self, berth: &str) -> io::Result<()> {
        self.send(&Request::Kill { berth: berth.to_owned() }).await
    }

    /// Ends everything; returns when nothing is left, or the keeper is gone.
    pub async fn quit(&self) {
        let mut gone = self.gone.clone();
        if self.send(&Request::Quit).await.is_ok() {
            let _ = gone.wait_for(|gone| *gone).await;
        }
    }

    async fn send(&self, request: &Request) -> io::Result<()> {
        loop {
            let mut ready = self.socket.writable().await?;
            match ready.try_io(|socket| wire::send(socket, request, &[])) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

impl State {
    /// The keeper is gone: nobody will hear more of what was under way.
    fn abandon(&mut self) {
        self.creating.clear();
        for (_, life) in self.lives.drain() {
            life.send_if_modified(|life| {
                let alive = *life == Life::Alive;
                if alive {
                    *life = Life::Ended(EnvironmentEnd::Unknown);
                }
                alive
            });
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing that holds it can panic halfway through a change.
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn receive(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(Answer, Vec<OwnedFd>)>> {
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(wire::receive) {
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}

fn hear(state: &Mutex<State>, host: &watch::Sender<Option<Result<Host, Failed>>>, answer: Answer, files: Vec<OwnedFd>) {
    let mut state = lock(state);
    match answer {
        Answer::Up(found) => host.send_replace(Some(Ok(found))).map_or((), drop),
        Answer::Unable(why) => host.send_replace(Some(Err(why))).map_or((), drop),
        Answer::Created { request, berth } => {
            let (sender, life) = watch::channel(Life::Alive);
            let Ok([pidfd, volume_dir]) = <[OwnedFd; 2]>::try_from(files) else { return };
            state.lives.insert(berth.name.clone(), sender);
            if let Some(waiting) = state.creating.remove(&request) {
                let _ = waiting.send(Ok(Created { berth: *berth, pidfd, volume_dir, life }));
            }
        }
        Answer::Failed { request, why } => {
            if let Some(waiting) = state.creating.remove(&request) {
                let _ = waiting.send(Err(why));
            }
        }
        Answer::Ended { berth, exit_code, signal } => {
            let end = match (exit_code, signal) {
                (Some(code), _) => EnvironmentEnd::Exited(code),
                (None, Some(signal)) => EnvironmentEnd::Killed(signal),
                (None, None) => EnvironmentEnd::Unknown,
            };
            if let Some(life) = state.lives.get(&berth) {
                life.send_replace(Life::Ended(end));
            }
        }
        Answer::Cleaned { berth, problem } => {
            if let Some(life) = state.lives.remove(&berth) {
                let end = life.borrow().end().unwrap_or(EnvironmentEnd::Unknown);
                life.send_replace(Life::Cleaned(end, problem));
            }
        }
        Answer::Bye => {}
    }
}
