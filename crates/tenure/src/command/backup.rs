//! `tenure backup`: a copy of what is remembered, as a data directory of its own, also while a server runs. Then the server makes the copy of the database,
//! which is its alone.
//!
//! ```text
//!  DIR/backup.json            what this is: {"version": 1, "tenure", "made_at"}; written last, so that what has none is not whole
//!  DIR/audit.heads            copied before the database, which therefore has every entry that they sign
//!  DIR/store/tenure.db        as it is at one instant
//!  DIR/output/SESSION/…       what programs printed; copied after the database, so that nothing is missing that it counts
//!  DIR/admin.key, audit.*     secrets, of mode 0600
//! ```

use super::print;
use super::template_remote::is_served;
use crate::Context;
use crate::client::{Client, Reach, broken};
use crate::failure::{Code, Failure};
use crate::wiring::{secrets, store};
use reqwest::Method;
use serde_json::json;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tenure_sqlite::OpenError;
use tenure_store::audit::log;
use tokio::io::AsyncWriteExt;

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

/// Makes one. The client is for the server that has the data directory, where one has.
pub async fn run(context: &Context, reach: &Reach, args: &Args) -> Result<u8, Failure> {
    let (from, to) = (context.data_dir.as_path(), args.to.as_path());
    let database = store::database(from);
    if !database.exists() {
        let message = format!("there is nothing to back up in {}", from.display());
        return Err(Failure::new(Code::Validation, message).hint("name the server's data directory with --data-dir"));
    }
    let server = if is_served(from) { Some(reach.client()?) } else { None };
    private_dir(to).map_err(|error| refused(to, &error))?;
    let copied = copy(from, to, server).await;
    if copied.is_err() {
        // It is ours alone, and made just now.
        let _ = std::fs::remove_dir_all(to);
    }
    copied?;
    let made = json!({ "backup": to, "version": VERSION });
    print(&if context.json { format!("{made}\n") } else { format!("{}\n", to.display()) })?;
    Ok(0)
}

async fn copy(from: &Path, to: &Path, server: Option<Client>) -> Result<(), Failure> {
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
    let file = create(&copy, 0o600).map_err(|error| refused(&copy, &error))?;
    match server {
        Some(server) => download(&server, file, &copy).await?,
        None => tenure_sqlite::backup(&store::database(from), &copy).map_err(uncopied)?,
    }
    is_of_the_same_history(&to.join(store::HEADS), &copy)?;
    copy_output(&from.join(OUTPUT), &to.join(OUTPUT)).map_err(|error| refused(&to.join(OUTPUT), &error))?;
    let manifest = json!({
        "version": VERSION,
        "tenure": env!("CARGO_PKG_VERSION"),
        "made_at": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
    });
    secrets::write(&to.join(MANIFEST), &manifest.to_string()).map_err(|error| refused(to, &error))
}

/// What the server that has the data directory copied for us.
async fn download(server: &Client, file: File, path: &Path) -> Result<(), Failure> {
    let at = |error: io::Error| refused(path, &error);
    let mut answer = server.send(server.request(Method::POST, &["admin", "backup"], &[])?).await?;
    let mut file = tokio::fs::File::from_std(file);
    while let Some(chunk) = answer.chunk().await.map_err(|error| broken(&error))? {
        file.write_all(&chunk).await.map_err(at)?;
    }
    file.sync_all().await.map_err(at)
}

/// The last head that was signed before is of an entry that the copy has: another server's copy has none such.
fn is_of_the_same_history(heads: &Path, copy: &Path) -> Result<(), Failure> {
    let heads = match File::open(heads) {
        Ok(file) => log::read_heads(BufReader::new(file)),
        // Nothing was ever signed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(heads, &error)),
    };
    let heads = heads.map_err(|error| Failure::new(Code::Unavailable, format!("the signed heads: {error}")))?;
    match heads.heads.last() {
        Some(head) if !tenure_sqlite::has_entry_of(copy, head).map_err(uncopied)? => {
            let message = "the copied database has no entry that the data directory's last signed head is of";
            Err(Failure::new(Code::Unavailable, message)
                .hint("name with --url the server that has this data directory; if it is named, check it: tenure audit verify"))
        }
        _ => Ok(()),
    }
}

fn uncopied(error: OpenError) -> Failure {
    Failure::new(Code::Unavailable, format!("the database cannot be copied: {error}"))
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
