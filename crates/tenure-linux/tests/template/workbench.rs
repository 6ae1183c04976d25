//! What the tests of templates share: a store in a temporary directory, and trees to fill it from.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tenure_linux::template::{Bounds, Options, Settings, Templates};

/// A data directory and room for sources, both gone at the end of the test.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub templates: Templates,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Bounds::default())
    }

    pub fn with(bounds: Bounds) -> Self {
        Self::with_options(|_| Options { bounds, ..Options::default() })
    }

    pub fn with_options(options: impl FnOnce(&Path) -> Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let templates = Templates::open_with(&dir.path().join("data"), options(dir.path())).unwrap();
        Self { dir, templates }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `<data-dir>/templates`.
    pub fn store(&self) -> PathBuf {
        self.path("data/templates")
    }

    /// What begins with a dot in the store, but for its lock: nothing, when nobody is at work.
    pub fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.store()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.') && name != ".lock").collect()
    }
}

pub fn settings() -> Settings {
    Settings { created_at_ms: 1_700_000_000_000, ..Settings::default() }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says why a test cannot run here. The caller returns.
pub fn skipped(reason: &str) {
    println!("skipped: {reason}");
}

/// Whether a program is there.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a command that must succeed; answers what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    out.into_owned()
}

/// Writes a file, its directories too.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn link(path: &Path, target: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

/// Mode bits of what is there, not followed.
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Runs a shell line with `root` as its root, the host's `/usr` bound into it if `bind_usr`. Only root can.
pub fn run_in(root: &Path, bind_usr: bool, line: &str) -> String {
    let bind = if bind_usr { "mount --bind /usr \"$1/usr\" && mount -o remount,bind,ro \"$1/usr\" && " } else { "" };
    let script = format!("{bind}exec chroot \"$1\" /bin/sh -c \"$2\"");
    run("unshare", &["--mount", "sh", "-c", &script, "sh", root.to_str().unwrap(), line])
}
