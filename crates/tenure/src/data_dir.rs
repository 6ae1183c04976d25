//! The data directory: where it is, and that it is ours alone.

use crate::failure::{Code, Failure};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The given directory, or the default one; made if it is not there, readable by its owner only.
pub fn resolve(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let dir = match given {
        Some(dir) => dir.to_path_buf(),
        None => default_dir()?,
    };
    let refused = |error: std::io::Error| {
        Failure::new(Code::Unavailable, format!("cannot use the data directory {}: {error}", dir.display()))
            .hint("choose another one with --data-dir or TENURE_DATA_DIR")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(refused)?;
    std::fs::canonicalize(&dir).map_err(refused)
}

fn default_dir() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/tenure".into());
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("tenure")).ok_or_else(|| {
        Failure::new(Code::Usage, "there is no home directory to keep data in").hint("give one with --data-dir")
    })
}
