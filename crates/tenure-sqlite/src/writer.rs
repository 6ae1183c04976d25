//! The one writer: a thread with a queue of changes that can be run again, committed in groups.
//!
//! ```text
//!            ┌──────────────────────── a batch ────────────────────────┐
//!  queue ──► begin ─► (savepoint ─► change ─► release | roll back to)* ─► commit ─► answer all
//!                          │                                               │
//!                          │ the transaction is gone                       │ failed
//!                          ▼                                               ▼
//!                     nothing was done: each change runs again alone; after an I/O error at commit nobody knows, and everybody is told so
//! ```
//!
//! A savepoint does not isolate every error: a full disk inside one takes the whole transaction away, and the changes before it with it. So after
//! each change the writer asks whether the transaction still stands, and nobody is answered before the commit.
//!
//! A savepoint costs as much as a small change, as each page that is touched inside it is copied. A change that writes with one statement has none: should
//! it fail, the transaction is undone, and each change runs again alone, with a savepoint.

use crate::connection::{BUSY_TIMEOUT, Place};
use crate::failure::Failure;
use crate::heads::Heads;
use crate::lock::DirectoryLock;
use crate::open::MakeRoom;
use rusqlite::Connection;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;
use tenure_store::StoreError;
use tokio::sync::oneshot;

/// What a change may use.
pub(crate) struct Writing<'a> {
    /// The connection, inside a transaction.
    pub sql: &'a Connection,
    /// Set where an entry was added to the audit.
    pub audited: &'a Cell<bool>,
}

/// How much a change writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// With any number of statements.
    Many,
    /// With one statement, which SQLite makes whole or not at all.
    One,
}

/// Which changes get a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Savepoints {
    /// Those that write with more than one statement.
    WhereNeeded,
    /// All.
    Always,
}

/// One change, and whoever waits for it.
pub(crate) trait Job: Send {
    /// How much it writes.
    fn extent(&self) -> Extent;
    /// Makes the change; keeps its outcome. Can be called again after the transaction was undone.
    fn run(&mut self, writing: &Writing<'_>) -> Result<(), Failure>;
    /// Answers with the outcome that was kept.
    fn done(self: Box<Self>);
    /// Answers that it was not done.
    fn failed(self: Box<Self>, why: StoreError);
}

/// What is sent to the writer.
pub(crate) enum Message {
    /// A change.
    Change(Box<dyn Job>),
    /// The log holds what is to be found nowhere: to be emptied as soon as nothing else is to be done.
    EmptyLog,
    /// No more after what is queued.
    Close(oneshot::Sender<()>),
}

/// A change as it waits in the queue.
pub(crate) struct Task<T, F> {
    extent: Extent,
    change: F,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Task<T, F> {
    /// A change and where its outcome is waited for.
    pub fn new(extent: Extent, change: F) -> (Task<T, F>, oneshot::Receiver<Result<T, StoreError>>) {
        let (reply, outcome) = oneshot::channel();
        (Task { extent, change, outcome: None, reply }, outcome)
    }
}

impl<T: Send, F: Fn(&Writing<'_>) -> Result<T, Failure> + Send> Job for Task<T, F> {
    fn extent(&self) -> Extent {
        self.extent
    }

    fn run(&mut self, writing: &Writing<'_>) -> Result<(), Failure> {
        // Whatever a panic left half done is undone with the savepoint.
        let ran = catch_unwind(AssertUnwindSafe(|| (self.change)(writing)));
        let outcome = ran.unwrap_or_else(|_| Err(Failure::impossible("a change panicked")))?;
        self.outcome = Some(outcome);
        Ok(())
    }

    fn done(self: Box<Self>) {
        let missing = || StoreError::Corrupt("a change ended without an outcome".to_owned());
        // Whoever asked may have gone away; what was done stays done.
        let _ = self.reply.send(self.outcome.ok_or_else(missing));
    }

    fn failed(self: Box<Self>, why: StoreError) {
        let _ = self.reply.send(Err(why));
    }
}

/// Why nothing of a batch was done.
enum Undone {
    /// It did not begin: another program holds the database, or it cannot be opened.
    NotBegun(Failure),
    /// The transaction went away before its commit.
    Before(Failure),
    /// Its commit failed.
    AtCommit(Failure),
}

/// The thread's own state.
pub(crate) struct Writer {
    place: Place,
    connection: Option<Connection>,
    heads: Option<Heads>,
    batch_max: usize,
    make_room: Option<MakeRoom>,
    /// Whether the log holds what is to be found nowhere.
    empties_log: bool,
    /// Let go of last, after the connection.
    lock: Option<DirectoryLock>,
}

impl Writer {
    /// A writer with this connection.
    pub fn new(place: Place, connection: Connection, heads: Option<Heads>, batch_max: usize) -> Writer {
        Writer {
            place,
            connection: Some(connection),
            heads,
            batch_max: batch_max.max(1),
            make_room: None,
            empties_log: false,
            lock: None,
        }
    }

    /// Asks for room when there is none.
    pub fn making_room(mut self, make_room: Option<MakeRoom>) -> Writer {
        self.make_room = make_room;
        self
    }

    /// Holds the lock as long as it writes.
    pub fn holding(mut self, lock: DirectoryLock) -> Writer {
        self.lock = Some(lock);
        self
    }

    /// Works until it is told to close, or until nobody is left who could ask for anything.
    pub fn run(mut self, queue: &Receiver<Message>) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = self.wait(queue) else { break };
            closing = self.batch(first, queue);
        }
        // What was queued behind the word to close is still done.
        while let Ok(message) = queue.try_recv() {
            self.batch(Some(message), queue);
        }
        self.finish();
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// The next message; `Some(None)` where a head is due first, `None` where there is nobody left.
    #[allow(clippy::option_option)] // Three answers, used in one place.
    fn wait(&mut self, queue: &Receiver<Message>) -> Option<Option<Message>> {
        if self.empties_log {
            match queue.try_recv() {
                Ok(message) => return Some(Some(message)),
                Err(TryRecvError::Empty) => self.empty_log(),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        match self.heads.as_ref().and_then(Heads::due_in) {
            None => queue.recv().ok().map(Some),
            Some(due_in) => match queue.recv_timeout(due_in) {
                Ok(message) => Some(Some(message)),
                Err(RecvTimeoutError::Timeout) => Some(None),
                Err(RecvTimeoutError::Disconnected) => None,
            },
        }
    }

    /// Takes what waits, up to the bound, and does it. Whoever wants the end is handed back.
    fn batch(&mut self, first: Option<Message>, queue: &Receiver<Message>) -> Option<oneshot::Sender<()>> {
        let mut jobs = Vec::new();
        let mut closing = None;
        let mut next = first;
        while let Some(message) = next {
            match message {
                Message::Change(job) => jobs.push(job),
                Message::EmptyLog => self.empties_log = true,
                Message::Close(reply) => closing = Some(reply),
            }
            let full = jobs.len() >= self.batch_max || closing.is_some();
            next = if full { None } else { queue.try_recv().ok() };
        }
        if !jobs.is_empty() {
            self.group(jobs);
        }
        self.sign_if_due();
        closing
    }

    /// All in one transaction; should that not come to its end, each alone.
    fn group(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        match self.attempt(&mut jobs, Savepoints::WhereNeeded) {
            Ok(outcomes) => answer(jobs, outcomes),
            Err(Undone::NotBegun(failure)) => self.refuse(jobs, &failure),
            Err(Undone::AtCommit(failure)) if failure.is_io() => self.nobody_knows(jobs, &failure),
            Err(Undone::Before(failure) | Undone::AtCommit(failure)) => {
                tracing::warn!(error = %failure, changes = jobs.len(), "a group of changes was undone; each is made alone");
                self.recover_after(&failure);
                jobs.into_iter().for_each(|job| self.alone(job));
            }
        }
    }

    fn alone(&mut self, job: Box<dyn Job>) {
        let mut jobs = vec![job];
        let mut attempted = self.attempt(&mut jobs, Savepoints::Always);
        if let Err(Undone::NotBegun(failure) | Undone::Before(failure) | Undone::AtCommit(failure)) = &attempted
            && failure.is_full()
            && self.room_was_made()
        {
            attempted = self.attempt(&mut jobs, Savepoints::Always);
        }
        match attempted {
            Ok(outcomes) => answer(jobs, outcomes),
            Err(Undone::AtCommit(failure)) if failure.is_io() => self.nobody_knows(jobs, &failure),
            Err(Undone::NotBegun(failure) | Undone::Before(failure) | Undone::AtCommit(failure)) => {
                self.refuse(jobs, &failure);
            }
        }
    }

    fn room_was_made(&self) -> bool {
        self.make_room.as_ref().is_some_and(|make_room| make_room())
    }

    /// Nothing was done, and to try again at once would help nobody.
    fn refuse(&mut self, jobs: Vec<Box<dyn Job>>, failure: &Failure) {
        tracing::error!(error = %failure, changes = jobs.len(), "the database does not take changes");
        self.recover_after(failure);
        jobs.into_iter().for_each(|job| job.failed(failure.answer()));
    }

    /// The file failed while a commit was made durable: it may be there after the next crash, or not. To make the changes again could make them twice.
    fn nobody_knows(&mut self, jobs: Vec<Box<dyn Job>>, failure: &Failure) {
        tracing::error!(error = %failure, changes = jobs.len(), "the database failed while it made changes durable");
        self.recover_after(failure);
        jobs.into_iter().for_each(|job| job.failed(StoreError::Unknown(failure.to_string())));
    }

    /// One transaction. Says for each change why it failed by itself, or that the transaction was undone.
    fn attempt(
        &mut self,
        jobs: &mut [Box<dyn Job>],
        savepoints: Savepoints,
    ) -> Result<Vec<Option<StoreError>>, Undone> {
        let connection = self.connected().map_err(Undone::NotBegun)?;
        let audited = Cell::new(false);
        let outcomes = transaction(connection, jobs, savepoints, &audited);
        if !connection.is_autocommit() && outcomes.is_err() {
            roll_back(connection);
        }
        if let (Ok(_), true, Some(heads)) = (&outcomes, audited.get(), &mut self.heads) {
            heads.outdated();
        }
        outcomes
    }

    fn connected(&mut self) -> Result<&Connection, Failure> {
        if self.connection.is_none() {
            self.connection = Some(self.place.writer()?);
        }
        self.connection.as_ref().ok_or_else(|| Failure::impossible("there is no connection"))
    }

    /// After an I/O error nothing that the connection keeps of the file is trusted: it is opened anew. Where there was no room, the log is emptied into
    /// the database as far as that goes, so that the room it has can be used again.
    fn recover_after(&mut self, failure: &Failure) {
        match self.place {
            Place::File(_) if failure.outlives_its_connection() => self.connection = None,
            // In memory there is nothing to open anew.
            Place::File(_) | Place::Memory => {}
        }
        if failure.is_full() {
            self.room_was_made();
        }
        if self.connection.is_some() && failure.is_full() || failure.is_io() {
            let emptied = self.connected().and_then(|connection| Ok(checkpoint(connection, "PASSIVE")?));
            if let Err(error) = emptied {
                tracing::warn!(%error, "the log could not be emptied into the database");
            }
        }
    }

    /// Where somebody reads it just now it is tried again after the next change. It is not waited for.
    fn empty_log(&mut self) {
        let Some(connection) = &self.connection else { return };
        let is_read = connection
            .busy_timeout(Duration::ZERO)
            .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)));
        self.empties_log = is_read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the log keeps what was purged until it is written over");
            false
        });
        if let Err(error) = connection.busy_timeout(BUSY_TIMEOUT) {
            tracing::warn!(%error, "the database will not be waited for");
        }
    }

    fn sign_if_due(&mut self) {
        let due = self.heads.as_ref().and_then(Heads::due_in).is_some_and(|due_in| due_in.is_zero());
        if due {
            self.sign();
        }
    }

    fn sign(&mut self) {
        let (Some(heads), Some(connection)) = (self.heads.as_mut(), self.connection.as_ref()) else { return };
        if let Err(error) = heads.sign(connection) {
            tracing::error!(%error, "the audit's end was not signed; the next one covers it");
            if !connection.is_autocommit() {
                roll_back(connection);
            }
        }
    }

    /// A last head, and everything in the database file itself.
    fn finish(mut self) {
        if self.heads.as_ref().and_then(Heads::due_in).is_some() {
            self.sign();
        }
        let Some(connection) = self.connection.take() else { return };
        if let Place::File(_) = self.place
            && let Err(error) = checkpoint(&connection, "TRUNCATE")
        {
            tracing::warn!(%error, "the next start reads the rest from the log");
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "the database was not closed in order");
        }
        drop(self.lock);
    }
}

/// Begins, makes each change, commits.
fn transaction(
    connection: &Connection,
    jobs: &mut [Box<dyn Job>],
    savepoints: Savepoints,
    audited: &Cell<bool>,
) -> Result<Vec<Option<StoreError>>, Undone> {
    execute(connection, "BEGIN IMMEDIATE").map_err(Undone::NotBegun)?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        let writing = Writing { sql: connection, audited };
        let outcome = match (job.extent(), savepoints) {
            (Extent::One, Savepoints::WhereNeeded) => bare(&mut **job, &writing).map(|()| None),
            (Extent::One, Savepoints::Always) | (Extent::Many, _) => apart(&mut **job, &writing),
        };
        outcomes.push(outcome.map_err(Undone::Before)?);
    }
    execute(connection, "COMMIT").map_err(Undone::AtCommit)?;
    Ok(outcomes)
}

/// Makes a change as part of the whole: where it fails, all is undone.
fn bare(job: &mut dyn Job, writing: &Writing<'_>) -> Result<(), Failure> {
    job.run(writing)?;
    match writing.sql.is_autocommit() {
        true => Err(Failure::impossible("the transaction is gone")),
        false => Ok(()),
    }
}

/// Makes a change in a savepoint of its own. Says why it failed by itself; an error is that the transaction is gone.
fn apart(job: &mut dyn Job, writing: &Writing<'_>) -> Result<Option<StoreError>, Failure> {
    let sql = writing.sql;
    execute(sql, "SAVEPOINT change")?;
    let ran = job.run(writing);
    if sql.is_autocommit() {
        let gone = || Failure::impossible("the transaction is gone");
        return Err(ran.err().unwrap_or_else(gone));
    }
    let failure = ran.err();
    if failure.is_some() {
        execute(sql, "ROLLBACK TO change")?;
    }
    execute(sql, "RELEASE change")?;
    Ok(failure.map(|failure| failure.answer()))
}

fn execute(connection: &Connection, sql: &str) -> Result<(), Failure> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn answer(jobs: Vec<Box<dyn Job>>, outcomes: Vec<Option<StoreError>>) {
    for (job, failure) in jobs.into_iter().zip(outcomes) {
        match failure {
            None => job.done(),
            Some(why) => job.failed(why),
        }
    }
}

fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))
}

fn roll_back(connection: &Connection) {
    if let Err(error) = connection.execute_batch("ROLLBACK") {
        tracing::error!(%error, "a transaction could not be rolled back");
    }
}

/// Sends a change; the receiver's end says what became of it.
pub(crate) async fn change<T: Send + 'static>(
    queue: &Sender<Message>,
    extent: Extent,
    change: impl Fn(&Writing<'_>) -> Result<T, Failure> + Send + 'static,
) -> Result<T, StoreError> {
    let closed = || StoreError::Unavailable("the store is closed".to_owned());
    let (task, outcome) = Task::new(extent, change);
    queue.send(Message::Change(Box::new(task))).map_err(|_| closed())?;
    outcome.await.unwrap_or_else(|_| Err(closed()))
}
