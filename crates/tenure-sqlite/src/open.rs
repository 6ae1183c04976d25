//! Opening and closing a store.

use crate::backup;
use crate::connection::Place;
use crate::failure::Failure;
use crate::heads::{HeadSigning, Heads};
use crate::lock::DirectoryLock;
use crate::migration;
use crate::readers::Readers;
use crate::writer::{self, Extent, Message, Writer, Writing};
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tenure_store::StoreError;
use tenure_store::audit::log::LogError;
use tokio::sync::oneshot;

/// How a store is opened.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The database file. Beside it stand a file called `lock`, and SQLite's own log.
    pub path: PathBuf,
    /// How the audit's end is signed; not at all where nothing is given.
    pub heads: Option<HeadSigning>,
    /// Most changes in one transaction.
    pub batch_max: usize,
    /// Connections for single records, which are read on the caller's thread.
    pub point_readers: usize,
    /// Connections for lists, which are read on threads that may block.
    pub list_readers: usize,
    /// Asked on the thread that writes when there is no room: whether some was made, so that to write again may help.
    pub make_room: Option<MakeRoom>,
}

/// Makes room on a full disk, where it can. Whether it did.
pub type MakeRoom = Arc<dyn Fn() -> bool + Send + Sync>;

impl SqliteOptions {
    /// This file, and nothing special.
    pub fn new(path: impl Into<PathBuf>) -> SqliteOptions {
        SqliteOptions {
            path: path.into(),
            heads: None,
            batch_max: 256,
            point_readers: 4,
            list_readers: 2,
            make_room: None,
        }
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory.
    #[error("another process{} uses this data directory", pid.map(|pid| format!(" ({pid})")).unwrap_or_default())]
    Locked {
        /// Which, where it said so.
        pid: Option<u32>,
    },
    /// A newer Tenure made it.
    #[error("the database has schema {found}, and this program knows schemas up to {known}: a newer program made it")]
    NewerSchema {
        /// The schema of the database.
        found: u32,
        /// The newest one that this program knows.
        known: u32,
    },
    /// The file holds another program's tables.
    #[error("the file is a database of another program")]
    NotOurs,
    /// A file could not be opened or made.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the host says.
        error: io::Error,
    },
    /// The file of signed heads is damaged.
    #[error("the file of signed heads: {0}")]
    Heads(LogError),
    /// SQLite did not open it.
    #[error("SQLite: {0}")]
    Sqlite(String),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> OpenError {
        OpenError::Sqlite(error.to_string())
    }
}

/// A store in an SQLite database.
///
/// Dropping it is closing it: what is queued is done, and the thread that writes has ended when `drop` returns.
pub struct SqliteStore {
    queue: Sender<Message>,
    readers: Option<Pools>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Short reads do not wait behind long ones.
struct Pools {
    database: PathBuf,
    points: Readers,
    lists: Arc<Readers>,
}

impl SqliteStore {
    /// Opens the store in this file, and makes it where there is none. Blocks; migrations may take a while.
    pub fn open(options: SqliteOptions) -> Result<SqliteStore, OpenError> {
        let lock = DirectoryLock::take(&options.path)?;
        make_private(&options.path)?;
        backup::remove_copies(&options.path).map_err(|error| OpenError::Io { path: options.path.clone(), error })?;
        let place = Place::File(options.path.clone());
        let mut connection = place.writer()?;
        migration::migrate(&mut connection)?;
        let points = Readers::open(&options.path, options.point_readers.max(1))?;
        let lists = Arc::new(Readers::open(&options.path, options.list_readers.max(1))?);
        let heads = options.heads.map(Heads::open).transpose()?;
        let writer =
            Writer::new(place, connection, heads, options.batch_max).holding(lock).making_room(options.make_room);
        SqliteStore::start(writer, Some(Pools { database: options.path, points, lists }))
    }

    /// A store in memory, gone when it is dropped (TR-9). Everything goes through the one connection that has it.
    pub fn in_memory() -> Result<SqliteStore, OpenError> {
        let mut connection: Connection = Place::Memory.writer()?;
        migration::migrate(&mut connection)?;
        SqliteStore::start(Writer::new(Place::Memory, connection, None, 256), None)
    }

    fn start(writer: Writer, readers: Option<Pools>) -> Result<SqliteStore, OpenError> {
        let (queue, jobs) = mpsc::channel();
        let thread = std::thread::Builder::new().name("tenure-sqlite".to_owned());
        let thread = thread.spawn(move || writer.run(&jobs));
        let thread = thread.map_err(|error| OpenError::Io { path: PathBuf::from("a thread"), error })?;
        Ok(SqliteStore { queue, readers, thread: Mutex::new(Some(thread)) })
    }

    /// Does what is queued, signs a last head, moves everything into the database file, and lets go of the lock. What is asked after it is refused.
    pub async fn close(&self) {
        self.close_readers();
        let (reply, closed) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).is_ok() {
            // An error means that the thread is gone, and it closes before it goes.
            let _ = closed.await;
        }
    }

    fn close_readers(&self) {
        if let Some(pools) = &self.readers {
            pools.points.close();
            pools.lists.close();
        }
    }

    /// What was purged leaves the log, too, as soon as the writer has nothing else to do.
    pub(crate) fn empty_log(&self) {
        // Where there is no writer any more the log was emptied when it closed.
        let _ = self.queue.send(Message::EmptyLog);
    }

    /// Makes a change. The closure may be run more than once; only one run counts.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl Fn(&Writing<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        writer::change(&self.queue, Extent::Many, change).await
    }

    /// Makes a change that writes with one statement, and leaves nothing behind where that fails.
    pub(crate) async fn change_by_one_statement<T: Send + 'static>(
        &self,
        change: impl Fn(&Writing<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        writer::change(&self.queue, Extent::One, change).await
    }

    /// Reads a single record, at once.
    pub(crate) async fn point<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.readers {
            Some(pools) => pools.points.read(read),
            None => self.change(move |writing| read(writing.sql)).await,
        }
    }

    /// Reads what may take a while.
    pub(crate) async fn list<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(pools) = &self.readers else {
            return self.change(move |writing| read(writing.sql)).await;
        };
        let lists = pools.lists.clone();
        let reading = tokio::task::spawn_blocking(move || lists.read(read));
        reading.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the read was given up".to_owned())))
    }

    /// Copies everything into a file.
    pub(crate) async fn copy(&self) -> Result<File, StoreError> {
        let Some(pools) = &self.readers else {
            return Err(StoreError::Unavailable("a store in memory is not copied".to_owned()));
        };
        let database = pools.database.clone();
        let copying = tokio::task::spawn_blocking(move || backup::copy(&database).map_err(|failure| failure.answer()));
        copying.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the copy was given up".to_owned())))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close_readers();
        let (reply, _) = oneshot::channel();
        // An error means that it was closed before.
        let _ = self.queue.send(Message::Close(reply));
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Its panic was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Nobody else reads what is in it: SQLite gives its log the same mode.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let at = |error| OpenError::Io { path: path.to_owned(), error };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(at)?;
    file.set_permissions(PermissionsExt::from_mode(0o600)).map_err(at)
}
