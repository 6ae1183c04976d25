//! `tenure backup`: a copy of what is remembered, as a data directory of its own, also while a server runs.
//!
//! ```text
//!  DIR/backup.json            what this is: {"version": 1, "tenure", "made_at"}; written last, so that what has none is not whole
//!  DIR/audit.heads            copied before the database, which therefore has every entry that they sign
//!  DIR/store/tenure.db        as it is at one instant
//!  DIR/output/SESSION/…       what programs printed; copied after the database, so that nothing is missing that it counts
//!  DIR/admin.key, audit.*     secrets, of mode 0600
//! ```

use super::print;
use crate::Context;
use crate::failure::{Code, Failure};
use crate::wiring::{secrets, store};
use serde_json::json;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What says that a backup is whole, and of which form.
const MANIFEST: &str = "backup.json";
/// The form of a backup.
const VERSION: u32 = 1;
/// Where programs' output is, below a data directory.
const OUTPUT: &str = "output";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to: a directory that is not there yet
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

/// Makes one.
pub fn run(context: &Context, args: &Args) -> Result<u8, Failure> {
    let (from, to) = (context.data_dir.as_path(), args.to.as_path());
    let database = store::database(from);
    if !database.exists() {
        let message = format!("there is nothing to back up in {}", from.display());
        return Err(Failure::new(Code::Validation, message).hint("name the server's data directory with --data-dir"));
    }
    private_dir(to).map_err(|error| refused(to, &error))?;
    let copied = copy(from, to, &database);
    if copied.is_err() {
        // It is ours alone, and made just now.
        let _ = std::fs::remove_dir_all(to);
    }
    copied?;
    let made = json!({ "backup": to, "version": VERSION });
    print(&if context.json { format!("{made}\n") } else { format!("{}\n", to.display()) })?;
    Ok(0)
}

fn copy(from: &Path, to: &Path, database: &Path) -> Result<(), Failure> {
    let secret = |name: &str| match copy_file(&from.join(name), &to.join(name), 0o600) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| refused(&to.join(name), &error)),
    };
    [store::HEADS, secrets::ADMIN_KEY, secrets::AUDIT_KEY, secrets::AUDIT_PUBLIC_KEY]
        .into_iter()
        .try_for_each(secret)?;
    let copy = store::database(to);
    let dir = copy.parent().unwrap_or(to);
    private_dir(dir).map_err(|error| refused(dir, &error))?;
    // Made before, so that it is never readable by others.
    drop(create(&copy, 0o600).map_err(|error| refused(&copy, &error))?);
    tenure_sqlite::backup(database, &copy)
        .map_err(|error| Failure::new(Code::Unavailable, format!("the database cannot be copied: {error}")))?;
    copy_output(&from.join(OUTPUT), &to.join(OUTPUT)).map_err(|error| refused(&to.join(OUTPUT), &error))?;
    let manifest = json!({
        "version": VERSION,
        "tenure": env!("CARGO_PKG_VERSION"),
        "made_at": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
    });
    secrets::write(&to.join(MANIFEST), &manifest.to_string()).map_err(|error| refused(to, &error))
}

/// What is printed, moved or removed meanwhile is copied as far as it is there.
fn copy_output(from: &Path, to: &Path) -> io::Result<()> {
    private_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let copied = match entry.file_type()?.is_dir() {
            true => copy_output(&source, &target),
            false => copy_file(&source, &target, 0o600),
        };
        match copied {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mode = source.metadata()?.permissions().mode() & 0o777 | mode;
    let mut target = create(to, mode)?;
    io::copy(&mut source, &mut target)?;
    target.sync_all()
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Code::FileConflict, message).hint("a backup is made into a directory that is not there yet")
        }
        _ => Failure::new(Code::Unavailable, message),
    }
}
