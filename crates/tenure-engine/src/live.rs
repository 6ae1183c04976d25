//! What is known of a session beyond what is stored: its environment's handle, the work in progress, who waits for its end. All of it can be lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenure_environment::Environment;
use tenure_session::{Presence, Session, SessionId, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many parts of the idle timeout activity is stored once in (GV-3).
const ACTIVITY_PARTS: u64 = 10;

/// Every session that something is known of.
#[derive(Default)]
pub(crate) struct LiveTable {
    sessions: Mutex<HashMap<SessionId, Arc<Live>>>,
}

/// What is known of one session.
pub(crate) struct Live {
    /// Cancelled when the session has ended, and that is recorded.
    pub ended: CancellationToken,
    /// Moves whenever something of the session changed that its status shows.
    pub changed: watch::Sender<u64>,
    /// Held by whoever freezes, thaws or replaces the environment.
    pub turn: tokio::sync::Mutex<()>,
    work: Mutex<Work>,
}

struct Work {
    environment: Option<Arc<dyn Environment>>,
    in_progress: u32,
    execs: u32,
    last_activity_at: Timestamp,
    stored_activity_at: Timestamp,
    activity_every_ms: u64,
}

impl LiveTable {
    /// What is known of this session, where anything is.
    pub fn get(&self, id: &SessionId) -> Option<Arc<Live>> {
        self.lock().get(id).cloned()
    }

    /// What is known of this session; begun with what is stored of it where nothing is.
    pub fn get_or_begin(&self, session: &Session) -> Arc<Live> {
        let mut sessions = self.lock();
        sessions.entry(session.id.clone()).or_insert_with(|| Arc::new(Live::from_stored(session))).clone()
    }

    /// A session that begins now: nothing of it can have been lost.
    pub fn begin(&self, session: &Session) -> Arc<Live> {
        let live = Arc::new(Live::new(session, session.last_activity_at));
        self.lock().insert(session.id.clone(), live.clone());
        live
    }

    /// Forgets a session that has ended.
    pub fn forget(&self, id: &SessionId) {
        self.lock().remove(id);
    }

    /// All of them.
    pub fn all(&self) -> Vec<(SessionId, Arc<Live>)> {
        self.lock().iter().map(|(id, live)| (id.clone(), live.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// A session that has ended, for whoever reads what is remembered of it.
    pub fn of_ended(session: &Session) -> Live {
        Live::new(session, session.last_activity_at)
    }

    /// What a crash may have lost of its activity is added, so that it does not end early.
    fn from_stored(session: &Session) -> Live {
        Live::new(session, session.last_activity_at.plus_ms(activity_every_ms(session)))
    }

    fn new(session: &Session, last_activity_at: Timestamp) -> Live {
        let ended = CancellationToken::new();
        if session.end.is_some() {
            ended.cancel();
        }
        let work = Work {
            environment: None,
            in_progress: 0,
            execs: 0,
            last_activity_at,
            stored_activity_at: session.last_activity_at,
            activity_every_ms: activity_every_ms(session),
        };
        Live { ended, changed: watch::Sender::new(0), turn: tokio::sync::Mutex::new(()), work: Mutex::new(work) }
    }

    /// What the law wants to know of it.
    pub fn presence(&self) -> Presence {
        let work = self.lock();
        Presence { working: work.in_progress > 0, last_activity_at: Some(work.last_activity_at) }
    }

    /// Its environment's handle.
    pub fn environment(&self) -> Option<Arc<dyn Environment>> {
        self.lock().environment.clone()
    }

    /// Gives it its environment's handle.
    pub fn set_environment(&self, environment: Arc<dyn Environment>) {
        self.lock().environment = Some(environment);
    }

    /// Takes its environment's handle: whoever has it ends the environment.
    pub fn take_environment(&self) -> Option<Arc<dyn Environment>> {
        self.lock().environment.take()
    }

    /// It is worked in from now on, until [`Live::work_ends`]. Whether its activity is to be stored.
    pub fn work_begins(&self, now: Timestamp) -> bool {
        let mut work = self.lock();
        work.in_progress += 1;
        work.touch(now)
    }

    /// The work that began is over; the idle clock begins with the end of the last. Whether its activity is to be stored.
    pub fn work_ends(&self, now: Timestamp) -> bool {
        let mut work = self.lock();
        work.in_progress = work.in_progress.saturating_sub(1);
        work.touch(now)
    }

    /// Its activity was stored by other means.
    pub fn activity_stored(&self, at: Timestamp) {
        let mut work = self.lock();
        work.last_activity_at = work.last_activity_at.max(at);
        work.stored_activity_at = work.stored_activity_at.max(at);
    }

    /// How many execs run.
    pub fn execs(&self) -> u32 {
        self.lock().execs
    }

    /// One more exec runs, if `admit` says so of those that do.
    pub fn exec_begins<E>(&self, admit: impl FnOnce(u32) -> Result<(), E>) -> Result<(), E> {
        let mut work = self.lock();
        admit(work.execs)?;
        work.execs += 1;
        Ok(())
    }

    /// One exec less runs.
    pub fn exec_ends(&self) {
        let mut work = self.lock();
        work.execs = work.execs.saturating_sub(1);
    }

    /// Something changed that its status shows.
    pub fn publish(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    fn touch(&mut self, now: Timestamp) -> bool {
        self.last_activity_at = self.last_activity_at.max(now);
        let due = now.ms_since(self.stored_activity_at) >= self.activity_every_ms;
        if due {
            self.stored_activity_at = now;
        }
        due
    }
}

fn activity_every_ms(session: &Session) -> u64 {
    session.limits.idle_timeout_ms.map_or(u64::MAX, |timeout_ms| (timeout_ms / ACTIVITY_PARTS).max(1))
}
