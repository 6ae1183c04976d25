//! The data directory: where it is, and that it is ours alone.

use crate::failure::{Code, Failure};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// This directory; made if it is not there, readable by its owner only.
pub fn open(dir: &Path) -> Result<PathBuf, Failure> {
    let refused = |error: std::io::Error| {
        Failure::new(Code::Unavailable, format!("cannot use the data directory {}: {error}", dir.display()))
            .hint("choose another one with --data-dir or TENURE_DATA_DIR")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?;
    std::fs::canonicalize(dir).map_err(refused)
}

/// Where it is when nobody says: for root in one place, else in the user's directory of states.
pub fn default_dir(is_root: bool, state_home: Option<&Path>) -> Option<PathBuf> {
    if is_root { Some("/var/lib/tenure".into()) } else { state_home.map(|state| state.join("tenure")) }
}
