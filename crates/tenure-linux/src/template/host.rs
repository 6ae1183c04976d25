//! The built-in template: a small synthetic root, into which the host's own `/usr` is bound.
//!
//! What is taken from the host is on a list, small, and readable by everybody there; nothing that says who the host is, and nothing
//! that could be a secret. The links from `/bin`, `/lib` and so on into `/usr` are the host's.

use super::TemplateError;
use super::fit::Outcome;
use super::tree::{Attributes, Tree};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Goes into fingerprint and digest: another number makes a new version everywhere.
const SKELETON: u32 = 1;
/// Longest host file that is copied.
const FILE_MAX: u64 = 8 * 1024 * 1024;
/// Most entries of a host directory that are copied.
const ENTRIES_MAX: usize = 20_000;
/// Deepest host directory that is copied.
const DEPTH_MAX: usize = 8;

/// Links at the root that lead into `/usr`.
const USR_LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Directories that `fit` does not make.
const DIRS: [(&str, u32); 13] = [
    ("usr", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("root", 0o700),
    ("opt", 0o755),
    ("srv", 0o755),
    ("mnt", 0o755),
    ("media", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];

/// Files of the host's `/etc` that programs in `/usr` count on.
const FILES: [&str; 12] = [
    "ld.so.cache",
    "ld.so.conf",
    "locale.alias",
    "magic",
    "mime.types",
    "protocols",
    "rpc",
    "services",
    "ssl/certs/ca-certificates.crt",
    "ssl/certs/java/cacerts",
    "pki/tls/certs/ca-bundle.crt",
    "pki/java/cacerts",
];

/// Directories of the host's `/etc` that programs in `/usr` count on; and any `java-…`.
const TREES: [&str; 5] = ["alternatives", "crypto-policies", "fonts", "ld.so.conf.d", "terminfo"];

/// Files that are ours.
const TEXTS: [(&str, &str); 9] = [
    ("group", "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n",
    ),
    ("host.conf", "multi on\n"),
    ("shells", "/bin/sh\n/bin/bash\n"),
    ("profile", "PS1='\\w\\$ '\nif [ -n \"$BASH_VERSION\" ] && [ -r /etc/bash.bashrc ]; then . /etc/bash.bashrc; fi\n"),
    ("bash.bashrc", "case $- in *i*) ;; *) return ;; esac\nshopt -s checkwinsize\nPS1='\\w\\$ '\n"),
    (
        "inputrc",
        "set bell-style none\nset input-meta on\nset output-meta on\n\"\\e[5~\": history-search-backward\n\"\\e[6~\": history-search-forward\n",
    ),
    ("ssl/openssl.cnf", "[req]\ndistinguished_name = name\n[name]\n"),
    ("timezone", "Etc/UTC\n"),
];

/// Links that are ours, below `/etc`.
const LINKS: [(&str, &str); 3] = [
    ("os-release", "../usr/lib/os-release"),
    ("localtime", "../usr/share/zoneinfo/Etc/UTC"),
    ("mtab", "../proc/self/mounts"),
];

/// Says, at the cost of some hundred `stat`s, whether the host still is what it was.
pub(super) fn fingerprint(host: &Path) -> Result<String, TemplateError> {
    let mut hash = Sha256::new();
    hash.update(SKELETON.to_be_bytes());
    for (link, target) in usr_links(host)? {
        field(&mut hash, link.as_bytes());
        field(&mut hash, target.as_os_str().as_bytes());
    }
    for file in ["usr/lib/os-release", "usr/bin/bash"] {
        stamp(&mut hash, &host.join(file));
    }
    for file in FILES {
        stamp(&mut hash, &host.join("etc").join(file));
    }
    for tree in trees(host) {
        stamp_tree(&mut hash, &host.join("etc").join(tree), DEPTH_MAX);
    }
    Ok(hex::encode(hash.finalize()))
}

fn stamp(hash: &mut Sha256, path: &Path) {
    field(hash, path.as_os_str().as_bytes());
    if let Ok(there) = fs::metadata(path) {
        for number in [there.dev(), there.ino(), there.size(), u64::from(there.mode())] {
            hash.update(number.to_be_bytes());
        }
        for number in [there.mtime(), there.mtime_nsec(), there.ctime(), there.ctime_nsec()] {
            hash.update(number.to_be_bytes());
        }
    }
}

fn stamp_tree(hash: &mut Sha256, dir: &Path, depth: usize) {
    stamp(hash, dir);
    for (name, there) in entries(dir).unwrap_or_default() {
        if there.is_dir() && depth > 0 {
            stamp_tree(hash, &dir.join(name), depth - 1);
        } else if there.is_file() {
            stamp(hash, &dir.join(name));
        }
    }
}

/// Writes the root.
pub(super) fn build(tree: &Tree, host: &Path) -> Result<Outcome, TemplateError> {
    let mut skeleton = Skeleton { tree, host: host.to_owned(), hash: Sha256::new() };
    skeleton.hash.update(SKELETON.to_be_bytes());
    for (dir, mode) in DIRS {
        tree.dir(Path::new(dir), Attributes::root(mode))?;
    }
    for (link, target) in usr_links(host)? {
        skeleton.link(Path::new(link), target.as_os_str().as_bytes())?;
    }
    for (link, target) in LINKS {
        skeleton.link(&Path::new("etc").join(link), target.as_bytes())?;
    }
    for (file, text) in TEXTS {
        skeleton.file(&Path::new("etc").join(file), 0o644, text.as_bytes())?;
    }
    let shell = if host.join("usr/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let passwd = format!(
        "root:x:0:0:root:/root:{shell}\nuser:x:1000:1000:user:/home/user:{shell}\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    skeleton.file(Path::new("etc/passwd"), 0o644, passwd.as_bytes())?;
    for file in FILES {
        skeleton.copy_file(&Path::new("etc").join(file))?;
    }
    for dir in trees(host) {
        skeleton.copy_tree(&Path::new("etc").join(dir), DEPTH_MAX)?;
    }
    let release = fs::read(host.join("usr/lib/os-release")).unwrap_or_default();
    field(&mut skeleton.hash, &release);
    Ok(Outcome { digest: format!("sha256:{}", hex::encode(skeleton.hash.finalize())), ..Outcome::default() })
}

/// The tree, and the digest of what goes into it.
struct Skeleton<'a> {
    tree: &'a Tree,
    host: PathBuf,
    hash: Sha256,
}

impl Skeleton<'_> {
    fn file(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> Result<(), TemplateError> {
        self.record(b"file", path, bytes);
        self.hash.update(mode.to_be_bytes());
        self.tree.file_with(path, Attributes::root(mode), bytes)
    }

    fn link(&mut self, path: &Path, target: &[u8]) -> Result<(), TemplateError> {
        self.record(b"link", path, target);
        self.tree.symlink(path, target, 0, 0)
    }

    fn record(&mut self, kind: &[u8], path: &Path, content: &[u8]) {
        field(&mut self.hash, kind);
        field(&mut self.hash, path.as_os_str().as_bytes());
        field(&mut self.hash, content);
    }

    /// Copies one of the host's files, if it is there, readable by everybody, and not larger than it should be.
    fn copy_file(&mut self, path: &Path) -> Result<(), TemplateError> {
        let source = self.host.join(path);
        let Ok(file) = File::open(&source) else {
            return Ok(());
        };
        let there = file.metadata().map_err(TemplateError::io("look at", &source))?;
        if !there.is_file() || there.mode() & 0o004 == 0 || there.size() > FILE_MAX {
            return Ok(());
        }
        let mut bytes = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut bytes).map_err(TemplateError::io("read", &source))?;
        let mode = if there.mode() & 0o001 == 0 { 0o644 } else { 0o755 };
        self.file(path, mode, &bytes)
    }

    /// Copies what everybody may read below one of the host's directories. Links stay links, wherever they lead.
    fn copy_tree(&mut self, path: &Path, depth: usize) -> Result<(), TemplateError> {
        let source = self.host.join(path);
        let Some(entries) = entries(&source) else {
            return Ok(());
        };
        self.tree.dir(path, Attributes::root(0o755))?;
        for (name, there) in entries {
            let inner = path.join(&name);
            if there.is_symlink() {
                let target =
                    fs::read_link(self.host.join(&inner)).map_err(TemplateError::io("read the link", &source))?;
                self.link(&inner, target.as_os_str().as_bytes())?;
            } else if there.is_dir() && there.mode() & 0o005 == 0o005 && depth > 0 {
                self.copy_tree(&inner, depth - 1)?;
            } else if there.is_file() {
                self.copy_file(&inner)?;
            }
        }
        Ok(())
    }
}

/// The host's links from its root into `/usr`. A real directory means that programs are kept elsewhere too.
fn usr_links(host: &Path) -> Result<Vec<(&'static str, PathBuf)>, TemplateError> {
    let mut links = Vec::new();
    for link in USR_LINKS {
        let path = host.join(link);
        match fs::symlink_metadata(&path) {
            Ok(there) if there.is_symlink() => {
                let target = fs::read_link(&path).map_err(TemplateError::io("read the link", &path))?;
                let target = target.strip_prefix("/").unwrap_or(&target).to_owned();
                if !target.starts_with("usr") {
                    return Err(TemplateError::NotMergedUsr { dir: link.to_owned() });
                }
                links.push((link, target));
            }
            Ok(_) => return Err(TemplateError::NotMergedUsr { dir: link.to_owned() }),
            Err(_) if link == "bin" => return Err(TemplateError::NotMergedUsr { dir: link.to_owned() }),
            Err(_) => {}
        }
    }
    Ok(links)
}

fn trees(host: &Path) -> Vec<OsString> {
    let mut trees: Vec<OsString> = TREES.iter().map(Into::into).collect();
    let java = entries(&host.join("etc")).unwrap_or_default();
    trees.extend(java.into_iter().map(|(name, _)| name).filter(|name| name.as_bytes().starts_with(b"java-")));
    trees
}

/// What is in a directory, by name; `None` if it is not one that can be read.
fn entries(dir: &Path) -> Option<Vec<(OsString, Metadata)>> {
    let there = fs::read_dir(dir).ok()?.flatten().take(ENTRIES_MAX);
    let mut entries: Vec<_> = there.filter_map(|entry| Some((entry.file_name(), entry.metadata().ok()?))).collect();
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Some(entries)
}

/// Length first, so that no two inputs run together the same way.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
