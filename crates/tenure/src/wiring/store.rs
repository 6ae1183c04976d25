//! The store: SQLite in the data directory, measured, with the audit's end signed by a key beside it.

use crate::failure::{Code, Failure};
use crate::wiring::host::Reserve;
use crate::wiring::secrets;
use prometheus_client::registry::Registry;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tenure_engine::Engine;
use tenure_session::Timestamp;
use tenure_sqlite::{HeadSigning, MakeRoom, OpenError, SqliteOptions, SqliteStore};
use tenure_store::{Metered, Store};

/// Where the database is, below the data directory.
const STORE_DIR: &str = "store";
const DATABASE: &str = "tenure.db";
/// The audit's signed heads, outside the database.
pub const HEADS: &str = "audit.heads";

/// An open store, and what only its owner can do with it.
pub struct Opened {
    /// The store, as everybody uses it.
    pub store: Arc<dyn Store>,
    metered: Arc<Metered<SqliteStore>>,
    clock: Arc<OnceLock<Engine>>,
}

impl Opened {
    /// From now on heads are dated on the engine's line of time.
    pub fn tell_time(&self, engine: Engine) {
        // Set once, at the start.
        let _ = self.clock.set(engine);
    }

    /// Writes what is left to write, and the last signed head.
    pub async fn close(self) {
        self.metered.inner().close().await;
    }
}

/// Opens the store; makes it where there is none.
pub fn open(data_dir: &Path, registry: &mut Registry, reserve: Arc<Reserve>) -> Result<Opened, Failure> {
    let dir = data_dir.join(STORE_DIR);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let clock: Arc<OnceLock<Engine>> = Arc::default();
    let engine = clock.clone();
    let heads = HeadSigning {
        key: secrets::audit_key(data_dir)?,
        file: heads_file(data_dir),
        now: Arc::new(move || engine.get().map_or_else(wall, Engine::now)),
    };
    let make_room: MakeRoom = Arc::new(move || reserve.give());
    let options =
        SqliteOptions { heads: Some(heads), make_room: Some(make_room), ..SqliteOptions::new(dir.join(DATABASE)) };
    let sqlite = SqliteStore::open(options).map_err(refused)?;
    let metered = Arc::new(Metered::new(sqlite, registry, Instant::now));
    Ok(Opened { store: metered.clone(), metered, clock })
}

/// Where the database is, below this data directory.
pub fn database(data_dir: &Path) -> PathBuf {
    data_dir.join(STORE_DIR).join(DATABASE)
}

/// Where the audit's signed heads are, outside the database.
pub fn heads_file(data_dir: &Path) -> PathBuf {
    data_dir.join(HEADS)
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn refused(error: OpenError) -> Failure {
    let hint = match &error {
        OpenError::Locked { .. } => "one process owns a data directory; choose another with --data-dir",
        OpenError::NewerSchema { .. } => "use the version of tenure that wrote it, or a newer one",
        _ => "the log says more; a backup of the data directory can be put in its place",
    };
    Failure::new(Code::Unavailable, format!("the store cannot be opened: {error}")).hint(hint)
}
