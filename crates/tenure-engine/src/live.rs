//! What is known of a session beyond what is stored: its environment's handle, the work in progress, who waits for its end. All of it can be lost.

use crate::fence::Fence;
use crate::lease::Seen;
use crate::output_room::OutputRoom;
use crate::reached::Reached;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenure_environment::Environment;
use tenure_session::{ExecId, Operation, Presence, Session, SessionId, Timestamp, Work, activity_lag_ms};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Every session that lives. One is here before its row is stored, or from the first look at it after a start, until its environment has been taken down:
/// whoever ends a session finds here all that is to be told.
#[derive(Default)]
pub(crate) struct LiveTable {
    sessions: Mutex<HashMap<SessionId, Arc<Live>>>,
    /// Those of them with work in progress. Locked inside a session's own work, never around it.
    working: Mutex<HashMap<SessionId, Arc<Live>>>,
    /// Ended sessions whose environment was not taken down, or of which that could not be recorded. A start finds them in the store.
    leftovers: Mutex<HashSet<SessionId>>,
}

/// What is known of one session.
pub(crate) struct Live {
    /// Cancelled when the session has ended, and that is recorded.
    pub ended: CancellationToken,
    /// Moves whenever something of the session changed that its status shows.
    pub changed: watch::Sender<u64>,
    /// Held by whoever freezes, thaws or replaces the environment.
    pub turn: tokio::sync::Mutex<()>,
    /// Whether nobody has looked at it since the start: nothing of it is served before.
    pending: watch::Sender<bool>,
    /// Who was let in before the lease was taken is shut out.
    pub fence: Arc<Fence>,
    /// How much may still be kept of what its programs print.
    pub output: Arc<OutputRoom>,
    /// What the last heartbeat saw.
    pub seen: Seen,
    /// Which limits it was seen to run into.
    pub reached: Reached,
    work: Mutex<Activity>,
    /// Programs whose end is written down, and whose agent has not been told so.
    written_down: Mutex<Vec<ExecId>>,
}

struct Activity {
    /// Its environment's name, from before it is made.
    environment_id: Option<String>,
    environment: Option<Arc<dyn Environment>>,
    in_progress: u32,
    /// Its environment has not told yet, since the start, which of its programs run.
    unasked: bool,
    execs: u32,
    last_activity: Operation,
    last_activity_at: Timestamp,
    stored_activity_at: Timestamp,
    activity_every_ms: u64,
}

impl LiveTable {
    /// What is known of this session, where anything is.
    pub fn get(&self, id: &SessionId) -> Option<Arc<Live>> {
        self.lock().get(id).cloned()
    }

    /// A session that was made before this start, from what is stored of it. What a crash may have lost of its activity is added, so that it does not end
    /// early. The caller reads the session again afterwards: it may have ended meanwhile.
    pub fn take_up(&self, session: &Session, now: Timestamp) -> Arc<Live> {
        let mut sessions = self.lock();
        let last = Presence::after_crash(session, now).last_activity_at(session);
        sessions
            .entry(session.id.clone())
            .or_insert_with(|| Arc::new(Live::new(session, last, Reached::of_old())))
            .clone()
    }

    /// As [`LiveTable::take_up`], for one that has to be looked at first: until [`Live::looked_at`] nothing of it is served, and until
    /// [`Live::programs_asked`] its idle clock stands still.
    pub fn begin_pending(&self, session: &Session, now: Timestamp) {
        let live = self.take_up(session, now);
        live.programs_unasked();
        live.pending.send_replace(true);
    }

    /// A session that is about to be stored: nothing of it can have been lost. `None` where there is one of this ID.
    pub fn begin(&self, session: &Session) -> Option<Arc<Live>> {
        match self.lock().entry(session.id.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let live = Live::new(session, session.last_activity_at, Reached::of_new());
                Some(place.insert(Arc::new(live)).clone())
            }
        }
    }

    /// A session is worked in from now on, until [`LiveTable::work_ends`]. Whether its activity is to be stored.
    pub fn work_begins(&self, id: &SessionId, live: &Arc<Live>, now: Timestamp, operation: Operation) -> bool {
        let mut work = live.lock();
        work.in_progress += 1;
        if work.in_progress == 1 {
            self.lock_working().insert(id.clone(), live.clone());
        }
        work.touch(now, operation)
    }

    /// The work that began is over; the idle clock begins with the end of the last. Whether its activity is to be stored.
    pub fn work_ends(&self, id: &SessionId, live: &Live, now: Timestamp, operation: Operation) -> bool {
        let mut work = live.lock();
        work.in_progress = work.in_progress.saturating_sub(1);
        if work.in_progress == 0 {
            self.lock_working().remove(id);
        }
        work.touch(now, operation)
    }

    /// Work in progress is activity: the sessions of which that is to be stored now, each with what was last begun or ended in it.
    pub fn work_goes_on(&self, now: Timestamp) -> Vec<(SessionId, Operation)> {
        let working: Vec<_> = self.lock_working().iter().map(|(id, live)| (id.clone(), live.clone())).collect();
        let due = |live: &Live| {
            let mut work = live.lock();
            let operation = work.last_activity;
            work.touch(now, operation).then_some(operation)
        };
        working.into_iter().filter_map(|(id, live)| due(&live).map(|operation| (id, operation))).collect()
    }

    /// Forgets a session that has ended, or was not stored.
    pub fn forget(&self, id: &SessionId, live: &Arc<Live>) {
        if let Entry::Occupied(place) = self.lock().entry(id.clone())
            && Arc::ptr_eq(place.get(), live)
        {
            place.remove();
        }
    }

    /// An ended session was not tidied up.
    pub fn leave(&self, id: &SessionId) {
        self.lock_leftovers().insert(id.clone());
    }

    /// The ended sessions that were not tidied up: for whoever does that now, and nobody else.
    pub fn take_leftovers(&self) -> HashSet<SessionId> {
        std::mem::take(&mut self.lock_leftovers())
    }

    /// The environments of all that lives or is being taken down, those that are being made included.
    pub fn environments(&self) -> HashSet<String> {
        let sessions: Vec<Arc<Live>> = self.lock().values().cloned().collect();
        sessions.iter().filter_map(|live| live.lock().environment_id.clone()).collect()
    }

    fn lock_working(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_leftovers(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Live>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// A session that has ended, for whoever reads what is remembered of it.
    pub fn of_ended(session: &Session) -> Live {
        Live::new(session, session.last_activity_at, Reached::of_old())
    }

    fn new(session: &Session, last_activity_at: Timestamp, reached: Reached) -> Live {
        let ended = CancellationToken::new();
        if session.end.is_some() {
            ended.cancel();
        }
        let work = Activity {
            environment_id: session.environment.as_ref().map(|environment| environment.id.to_string()),
            environment: None,
            in_progress: 0,
            unasked: false,
            execs: 0,
            last_activity: Operation::SessionCreate,
            last_activity_at,
            stored_activity_at: session.last_activity_at,
            activity_every_ms: activity_lag_ms(&session.limits).max(1),
        };
        Live {
            ended,
            changed: watch::Sender::new(0),
            turn: tokio::sync::Mutex::new(()),
            pending: watch::Sender::new(false),
            fence: Arc::new(Fence::new(session.lease_token_last)),
            output: Arc::default(),
            seen: Seen::default(),
            reached,
            work: Mutex::new(work),
            written_down: Mutex::default(),
        }
    }

    /// Somebody has looked at it.
    pub fn looked_at(&self) {
        self.pending.send_replace(false);
    }

    /// Whether nobody has looked at it since the start.
    pub fn is_pending(&self) -> bool {
        *self.pending.borrow()
    }

    /// Waits until somebody has looked at it.
    pub async fn until_looked_at(&self) {
        // The sender is here, so it cannot be gone.
        let _ = self.pending.subscribe().wait_for(|pending| !pending).await;
    }

    /// What the law wants to know of it.
    pub fn presence(&self) -> Presence {
        let live = self.lock();
        let work = match (live.in_progress, live.unasked) {
            (0, true) => Work::Unknown,
            (0, false) => Work::None,
            (1.., _) => Work::InProgress,
        };
        Presence { work, last_activity_at: Some(live.last_activity_at) }
    }

    /// Its environment's handle.
    pub fn environment(&self) -> Option<Arc<dyn Environment>> {
        self.lock().environment.clone()
    }

    /// Gives it its environment's handle.
    pub fn set_environment(&self, environment: Arc<dyn Environment>) {
        self.lock().environment = Some(environment);
    }

    /// An environment of this name is about to be made for it.
    pub fn expect_environment(&self, id: &str) {
        self.lock().environment_id = Some(id.to_owned());
    }

    /// Takes its environment's handle: whoever has it ends the environment.
    pub fn take_environment(&self) -> Option<Arc<dyn Environment>> {
        self.lock().environment.take()
    }

    /// Its environment has not told which of its programs run: whether it is worked in is unknown until [`Live::programs_asked`].
    pub fn programs_unasked(&self) {
        self.lock().unasked = true;
    }

    /// Its environment has told which of its programs run: its idle clock goes by them from now on.
    pub fn programs_asked(&self) {
        self.lock().unasked = false;
    }

    /// Its activity was stored by other means.
    pub fn activity_stored(&self, at: Timestamp) {
        let mut work = self.lock();
        work.last_activity_at = work.last_activity_at.max(at);
        work.stored_activity_at = work.stored_activity_at.max(at);
    }

    /// One more exec runs, if `admit` says so of those that do.
    pub fn exec_begins<E>(self: &Arc<Self>, admit: impl FnOnce(u32) -> Result<(), E>) -> Result<ExecSlot, E> {
        let mut work = self.lock();
        admit(work.execs)?;
        work.execs += 1;
        Ok(ExecSlot(self.clone()))
    }

    /// A program's end is written down, and its agent is to be told. Whether it is the first, so that nobody is about to do that.
    pub fn exec_written_down(&self, exec: &ExecId) -> bool {
        let mut written_down = self.written_down.lock().unwrap_or_else(PoisonError::into_inner);
        written_down.push(exec.clone());
        written_down.len() == 1
    }

    /// All of them, for whoever tells the agent.
    pub fn take_written_down(&self) -> Vec<ExecId> {
        std::mem::take(&mut self.written_down.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something changed that its status shows.
    pub fn publish(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exec counts for as long as this is held.
pub(crate) struct ExecSlot(Arc<Live>);

impl Drop for ExecSlot {
    fn drop(&mut self) {
        let mut work = self.0.lock();
        work.execs = work.execs.saturating_sub(1);
    }
}

impl Activity {
    fn touch(&mut self, now: Timestamp, operation: Operation) -> bool {
        self.last_activity = operation;
        self.last_activity_at = self.last_activity_at.max(now);
        let due = now.ms_since(self.stored_activity_at) >= self.activity_every_ms;
        if due {
            self.stored_activity_at = now;
        }
        due
    }
}
