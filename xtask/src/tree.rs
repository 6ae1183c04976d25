//! The tracked files of the checkout, read once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// One tracked file that holds text.
pub struct File {
    /// Relative to the root of the checkout, with `/` between its parts.
    pub path: String,
    /// The whole content.
    pub text: String,
}

/// The checkout: where it lies, and what is tracked in it.
pub struct Tree {
    /// The absolute path of the checkout.
    pub root: PathBuf,
    /// Every tracked file that is valid UTF-8; others have no lines to check.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads what Git tracks below `root`. A file that is tracked but was deleted by hand is left out.
    pub fn read(root: &Path) -> Result<Self> {
        // A checkout may belong to another user than the one who runs the checks, as in a container: say that it is meant.
        let output = Command::new("git")
            .arg("-c")
            .arg(format!("safe.directory={}", root.display()))
            .args(["ls-files", "-z"])
            .current_dir(root)
            .output()
            .context("cannot run git")?;
        if !output.status.success() {
            bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let listing = String::from_utf8(output.stdout).context("a tracked path is not UTF-8")?;
        let files = listing
            .split_terminator('\0')
            .filter_map(|path| {
                let text = std::fs::read_to_string(root.join(path)).ok()?;
                Some(File { path: path.to_owned(), text })
            })
            .collect();
        Ok(Self { root: root.to_owned(), files })
    }

    /// The content of one tracked file.
    pub fn text(&self, path: &str) -> Result<&str> {
        let file = self.files.iter().find(|file| file.path == path);
        file.map(|file| file.text.as_str()).with_context(|| format!("{path} is missing or not tracked"))
    }

    /// Whether `path` is a tracked file, or a directory that holds one.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files
            .iter()
            .any(|file| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// A tree that exists only in a test.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Self {
        let files =
            files.iter().map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() }).collect();
        Self { root: PathBuf::from("/builds/someone/checkout"), files }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_exists_when_something_in_it_is_tracked() {
        let tree = Tree::of(&[("crates/a/src/lib.rs", "")]);
        assert!(tree.has("crates/a/src/lib.rs"));
        assert!(tree.has("crates/a/"));
        assert!(!tree.has("crates/a/src/li"));
        assert!(!tree.has("crates/b"));
    }

    #[test]
    fn an_untracked_file_is_an_error_that_names_it() {
        let error = Tree::of(&[]).text("deny.toml").expect_err("there is no such file");
        assert!(error.to_string().contains("deny.toml"));
    }
}
