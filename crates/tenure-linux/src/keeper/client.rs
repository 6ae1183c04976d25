//! The manager's end of the socket to its keeper.
//!
//! Where environments outlive their keeper, a manager whose keeper has died gets another one from its spare, and asks it what there is; whoever
//! waits for an environment's end goes on waiting.

use super::facts::End;
use super::lives::{Created, Held, Life, State};
use super::spare::Spare;
use super::start::KeeperProcess;
use super::wire::{self, Answer, Host, Request};
use crate::walls::order::Order;
use crate::walls::step::Failed;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tenure_environment::EnvironmentEnd;
use tokio::io::unix::AsyncFd;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How long a request waits for a keeper that is being replaced.
const REPLACE_PATIENCE: Duration = Duration::from_secs(15);
/// How long a manager waits before it asks its spare again.
const REPLACE_AGAIN: Duration = Duration::from_millis(500);
/// How long a keeper may take to answer what it knows without looking.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How many keepers may die over the same question.
const LIST_TRIES: usize = 3;
/// The first version in which environments outlive their manager.
const LASTING_VERSION: u32 = 2;
/// The first version in which they are made again over files that are there.
const REMAKING_VERSION: u32 = 3;

type Socket = Arc<AsyncFd<OwnedFd>>;

/// A keeper, asked by many tasks at once.
#[derive(Debug)]
pub struct KeeperClient {
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// None while there is no keeper.
    socket: watch::Sender<Option<Socket>>,
    state: Mutex<State>,
    host: watch::Sender<Option<Result<Host, Failed>>>,
    /// Whether the keeper is gone for good.
    gone: watch::Sender<bool>,
    version: AtomicU32,
    next: AtomicU64,
}

impl KeeperClient {
    /// Takes over the socket and listens on it from now on. Must be called in a runtime.
    pub fn new(keeper: KeeperProcess) -> io::Result<KeeperClient> {
        let socket = register(keeper.socket)?;
        let shared = Arc::new(Shared {
            socket: watch::Sender::new(Some(socket.clone())),
            state: Mutex::default(),
            host: watch::Sender::new(None),
            gone: watch::Sender::new(false),
            version: AtomicU32::new(keeper.version),
            next: AtomicU64::new(1),
        });
        let listening = tokio::spawn(listen(shared.clone(), socket, keeper.spare.map(Arc::new)));
        Ok(KeeperClient { shared, listening })
    }

    /// What the keeper found at its start; waits for it.
    pub async fn host(&self) -> Result<Host, Failed> {
        let (mut host, mut gone) = (self.shared.host.subscribe(), self.shared.gone.subscribe());
        tokio::select! {
            biased;
            found = host.wait_for(Option::is_some) => match found {
                Ok(found) => found.clone().unwrap_or_else(|| Err(Failed::new("keeper", "no answer"))),
                Err(_) => Err(Failed::new("keeper", "it ended at its start")),
            },
            _ = gone.wait_for(|gone| *gone) => Err(Failed::new("keeper", "it ended at its start")),
        }
    }

    /// Makes an environment, whose agent keeps the descriptor open.
    pub async fn create(&self, order: Order, held: BorrowedFd<'_>) -> Result<Created, Failed> {
        if order.over.is_some() {
            // An older one would make a blank one.
            self.check_version(REMAKING_VERSION).map_err(|error| Failed::new("keeper", error))?;
        }
        let request = self.number();
        let (sender, receiver) = oneshot::channel();
        self.lock().creating.insert(request, sender);
        let sent = self.send_with(&Request::Create { request, order: Box::new(order) }, &[held]).await;
        if let Err(error) = sent {
            self.lock().creating.remove(&request);
            return Err(Failed::new("keeper", error));
        }
        self.nobody_waits_for_the_dead();
        receiver.await.unwrap_or_else(|_| Err(Failed::new("keeper", "it is gone")))
    }

    /// Lets the keeper know whose an environment is; it then outlives its manager, if environments do at all.
    pub async fn bind(
        &self,
        berth: &str,
        (environment, generation): (String, u64),
        deadline_boot_ms: Option<u64>,
        grace_ms: u64,
    ) -> io::Result<()> {
        self.check_version(LASTING_VERSION)?;
        let request = self.number();
        let (sender, receiver) = oneshot::channel();
        self.lock().binding.insert(request, sender);
        let berth = berth.to_owned();
        self.send(&Request::Bind { request, berth, environment, generation, deadline_boot_ms, grace_ms }).await?;
        self.nobody_waits_for_the_dead();
        match answer(receiver).await? {
            None => Ok(()),
            Some(problem) => Err(io::Error::other(problem)),
        }
    }

    /// All bound environments there are, as the keeper knows them now.
    pub async fn list(&self) -> io::Result<Vec<Arc<Held>>> {
        self.check_version(LASTING_VERSION)?;
        for _ in 1..LIST_TRIES {
            match self.list_once().await {
                // It died over it; the next one knows as well.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                result => return result,
            }
        }
        self.list_once().await
    }

    async fn list_once(&self) -> io::Result<Vec<Arc<Held>>> {
        let request = self.number();
        let (sender, receiver) = oneshot::channel();
        self.lock().listing.insert(request, sender);
        self.send(&Request::List { request }).await?;
        self.nobody_waits_for_the_dead();
        answer(receiver).await?;
        Ok(self.lock().held.clone())
    }

    /// All bound environments there are, as the keeper told them last.
    pub fn held(&self) -> Vec<Arc<Held>> {
        self.lock().held.clone()
    }

    /// Tells the keeper by when an environment ends, whatever state it is in.
    pub async fn deadline(&self, berth: &str, deadline_boot_ms: Option<u64>, grace_ms: u64) -> io::Result<()> {
        self.send(&Request::Deadline { berth: berth.to_owned(), deadline_boot_ms, grace_ms }).await
    }

    /// Ends an environment at once.
    pub async fn kill(&self, berth: &str) -> io::Result<()> {
        self.send(&Request::Kill { berth: berth.to_owned() }).await
    }

    /// How many processes of an environment that has ended the kernel had killed for memory, where there were any.
    pub fn oom_kills(&self, berth: &str) -> Option<u64> {
        self.lock().oom_kills.get(berth).copied()
    }

    /// Somebody has heard how an environment ended.
    pub async fn forget(&self, berth: &str) -> io::Result<()> {
        {
            let mut state = self.lock();
            state.held.retain(|held| held.facts.berth.name != berth);
            state.oom_kills.remove(berth);
        }
        match self.check_version(LASTING_VERSION) {
            Ok(()) => self.send(&Request::Forget { berth: berth.to_owned() }).await,
            // There is nothing that it would have to forget.
            Err(_) => Ok(()),
        }
    }

    /// Ends and forgets whatever there is in a berth; answers with its life, which ends in [`Life::Cleaned`].
    pub async fn discard(&self, berth: &str) -> io::Result<watch::Receiver<Life>> {
        self.check_version(LASTING_VERSION)?;
        let life = {
            let mut state = self.lock();
            state.held.retain(|held| held.facts.berth.name != berth);
            state.oom_kills.remove(berth);
            let life = state.lives.entry(berth.to_owned());
            life.or_insert_with(|| watch::Sender::new(Life::Ended(EnvironmentEnd::Unknown))).subscribe()
        };
        self.send(&Request::Discard { berth: berth.to_owned() }).await?;
        Ok(life)
    }

    /// Ends everything; returns when nothing is left, or the keeper is gone.
    pub async fn quit(&self) {
        let mut gone = self.shared.gone.subscribe();
        if self.send(&Request::Quit).await.is_ok() {
            let _ = gone.wait_for(|gone| *gone).await;
        }
    }

    fn number(&self) -> u64 {
        self.shared.next.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    fn check_version(&self, wanted: u32) -> io::Result<()> {
        if self.shared.version.load(Ordering::Relaxed) >= wanted {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::Unsupported, "the keeper is of an older version, which cannot do this"))
    }

    /// The keeper may have gone before what waits for its answer was registered: then nobody would answer.
    fn nobody_waits_for_the_dead(&self) {
        if *self.shared.gone.borrow() {
            self.lock().abandon_requests();
        }
    }

    async fn send(&self, request: &Request) -> io::Result<()> {
        self.send_with(request, &[]).await
    }

    async fn send_with(&self, request: &Request, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.shared.send(request, files).await
    }
}

impl Drop for KeeperClient {
    fn drop(&mut self) {
        // With it goes the socket, and the keeper sees that its manager is gone.
        self.listening.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic halfway through a change.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn send(&self, request: &Request, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = self.keeper().await?;
        loop {
            let mut ready = socket.writable().await?;
            match ready.try_io(|socket| wire::send(socket, request, files)) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// The socket; waits for a keeper that is being replaced.
    async fn keeper(&self) -> io::Result<Socket> {
        let is_gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the keeper is gone");
        let (mut socket, mut gone) = (self.socket.subscribe(), self.gone.subscribe());
        let replaced = async {
            tokio::select! {
                biased;
                _ = gone.wait_for(|gone| *gone) => Err(is_gone()),
                socket = socket.wait_for(Option::is_some) => {
                    socket.ok().and_then(|socket| socket.clone()).ok_or_else(is_gone)
                }
            }
        };
        tokio::time::timeout(REPLACE_PATIENCE, replaced).await.map_err(|_elapsed| is_gone())?
    }
}

fn register(socket: OwnedFd) -> io::Result<Socket> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    watched(socket).map(Arc::new)
}

/// Lets the runtime wait for a descriptor.
pub fn watched(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[allow(unsafe_code)]
    // SAFETY: the descriptor is owned by what is registered and stays the same until that is dropped.
    Ok(unsafe { AsyncFd::register(file) }?)
}

async fn answer<T>(receiver: oneshot::Receiver<T>) -> io::Result<T> {
    match tokio::time::timeout(ANSWER_PATIENCE, receiver).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the keeper is gone")),
        Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, "the keeper does not answer")),
    }
}

/// Hears one keeper after another, until there is none to be had or needed.
async fn listen(shared: Arc<Shared>, mut socket: Socket, spare: Option<Arc<Spare>>) {
    let mut quit = false;
    loop {
        while let Ok(Some((answer, files))) = receive(&socket).await {
            quit |= matches!(answer, Answer::Bye | Answer::Unable(_));
            hear(&shared, answer, files);
        }
        shared.socket.send_replace(None);
        let Some(spare) = spare.as_ref().filter(|_| !quit) else { break };
        {
            let mut state = shared.lock();
            state.abandon_requests();
            state.doubtful = state.lives.keys().cloned().collect();
        }
        let Some(replaced) = replace(&shared, spare).await else { break };
        socket = replaced;
        shared.socket.send_replace(Some(socket.clone()));
        let request = shared.next.fetch_add(1, Ordering::Relaxed);
        // Should it not hear this, it is replaced as well.
        let _ = shared.send(&Request::List { request }, &[]).await;
    }
    shared.lock().abandon_requests();
    if spare.is_none() || quit {
        // Otherwise they live, and each is watched by its own descriptor.
        shared.lock().abandon();
    }
    shared.gone.send_replace(true);
}

/// Gets another keeper. None where there is no way to any.
async fn replace(shared: &Shared, spare: &Arc<Spare>) -> Option<Socket> {
    loop {
        let asked = spare.clone();
        match tokio::task::spawn_blocking(move || asked.obtain()).await {
            Ok(Ok(obtained)) => {
                shared.version.store(obtained.version, Ordering::Relaxed);
                return register(obtained.socket).ok();
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
            Ok(Err(_)) => tokio::time::sleep(REPLACE_AGAIN).await,
            Err(_) => return None,
        }
    }
}

async fn receive(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(Answer, Vec<OwnedFd>)>> {
    loop {
        let mut ready = socket.readable().await?;
        match ready.try_io(|socket| wire::receive(socket.as_fd())) {
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}

fn hear(shared: &Shared, answer: Answer, files: Vec<OwnedFd>) {
    let mut state = shared.lock();
    match answer {
        Answer::Up(found) => shared.host.send_replace(Some(Ok(found))).map_or((), drop),
        Answer::Unable(why) => shared.host.send_replace(Some(Err(why))).map_or((), drop),
        Answer::Created { request, berth } => state.created(request, *berth, files),
        Answer::Failed { request, why } => {
            if let Some(waiting) = state.creating.remove(&request) {
                let _ = waiting.send(Err(why));
            }
        }
        Answer::Ended { berth, exit_code, signal, oom_kills } => {
            state.oom_kills.extend(oom_kills.map(|kills| (berth.clone(), kills)));
            state.ended(&berth, End { exit_code, signal }.into());
        }
        Answer::Cleaned { berth, problem } => state.cleaned(&berth, problem),
        Answer::Bound { request, problem } => {
            if let Some(waiting) = state.binding.remove(&request) {
                let _ = waiting.send(problem);
            }
        }
        Answer::Held(facts) => state.is_held(*facts, files),
        Answer::Listed { request } => state.listed(request),
        Answer::Bye => {}
    }
}
