//! The files of a fake environment: a map of paths, with the rules that callers can see.

use std::collections::BTreeMap;
use tenure_protocol::{ChangeKind, Entry, FailureCode, FileKind, Stat};
use tokio::sync::broadcast;

/// Why something could not be done, as the agent says it.
pub(super) type Failure = (FailureCode, &'static str);

#[derive(Clone)]
struct Node {
    /// The bytes of a file; `None` for a directory.
    bytes: Option<Vec<u8>>,
    mode: u32,
    modified_ms: i64,
}

/// In-memory files. There are no links and no rights; time is a count of changes.
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    ticks: i64,
    changes: broadcast::Sender<(ChangeKind, String)>,
}

impl Default for Tree {
    /// `/`, `/tmp` and `/workspace`.
    fn default() -> Self {
        let mut tree = Tree { nodes: BTreeMap::new(), ticks: 0, changes: broadcast::channel(1024).0 };
        for path in ["/", "/tmp", "/workspace"] {
            tree.put(path, None, 0o755);
        }
        tree
    }
}

/// `/a//b/` is `/a/b`; what climbs is refused, since there is nothing to climb through.
fn normal(path: &str) -> Result<String, Failure> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err((FailureCode::Denied, "the path climbs"));
    }
    Ok(format!("/{}", parts.join("/")))
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// Whether `path` lies anywhere below `dir`.
pub(super) fn is_below(path: &str, dir: &str) -> bool {
    path != "/" && path.strip_prefix(dir.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `path` lies in `dir` itself.
pub(super) fn is_in(path: &str, dir: &str) -> bool {
    is_below(path, dir) && parent(path) == if dir == "/" { "/" } else { dir.trim_end_matches('/') }
}

impl Tree {
    fn put(&mut self, path: &str, bytes: Option<Vec<u8>>, mode: u32) {
        self.ticks += 1;
        let node = Node { bytes, mode, modified_ms: self.ticks };
        let kind =
            if self.nodes.insert(path.to_owned(), node).is_some() { ChangeKind::Modified } else { ChangeKind::Created };
        self.tell(kind, path);
    }

    fn tell(&self, kind: ChangeKind, path: &str) {
        // Nobody may be watching.
        let _ = self.changes.send((kind, path.to_owned()));
    }

    /// The same files, for another life of their environment.
    pub(super) fn survive(&self) -> Tree {
        Tree { nodes: self.nodes.clone(), ticks: self.ticks, changes: broadcast::channel(1024).0 }
    }

    /// Changes from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<(ChangeKind, String)> {
        self.changes.subscribe()
    }

    /// What is at a path.
    pub fn stat(&self, path: &str) -> Option<Stat> {
        let node = self.nodes.get(&normal(path).ok()?)?;
        let kind = if node.bytes.is_some() { FileKind::File } else { FileKind::Dir };
        let size = node.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Some(Stat { kind, size, mode: node.mode, modified_ms: node.modified_ms })
    }

    /// The bytes of a file.
    pub fn read(&self, path: &str) -> Option<&[u8]> {
        self.nodes.get(&normal(path).ok()?)?.bytes.as_deref()
    }

    pub(super) fn read_or_why(&self, path: &str) -> Result<Vec<u8>, Failure> {
        match self.nodes.get(&normal(path)?) {
            Some(Node { bytes: Some(bytes), .. }) => Ok(bytes.clone()),
            Some(_) => Err((FailureCode::NotAFile, "it is a directory")),
            None => Err((FailureCode::NotFound, "there is no such file")),
        }
    }

    /// Writes a file, and makes the directories above it.
    pub fn write(&mut self, path: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        self.write_with_mode(path, bytes, None)
    }

    pub(super) fn write_with_mode(&mut self, path: &str, bytes: Vec<u8>, mode: Option<u32>) -> Result<(), Failure> {
        let path = normal(path)?;
        let mode = match self.nodes.get(&path) {
            Some(Node { bytes: None, .. }) => return Err((FailureCode::NotAFile, "it is a directory")),
            Some(node) => node.mode,
            None => mode.unwrap_or(0o644),
        };
        self.make_dir(parent(&path))?;
        self.put(&path, Some(bytes), mode);
        Ok(())
    }

    pub(super) fn make_dir(&mut self, path: &str) -> Result<(), Failure> {
        let path = normal(path)?;
        match self.nodes.get(&path) {
            Some(Node { bytes: None, .. }) => return Ok(()),
            Some(_) => return Err((FailureCode::NotADirectory, "it is a file")),
            None => self.make_dir(parent(&path))?,
        }
        self.put(&path, None, 0o755);
        Ok(())
    }

    pub(super) fn delete(&mut self, path: &str, recursive: bool) -> Result<(), Failure> {
        let path = normal(path)?;
        if !self.nodes.contains_key(&path) {
            return Err((FailureCode::NotFound, "there is no such file"));
        }
        let below: Vec<String> = self.nodes.keys().filter(|other| is_below(other, &path)).cloned().collect();
        if path == "/" || (!below.is_empty() && !recursive) {
            return Err((FailureCode::Exists, "the directory is not empty"));
        }
        for gone in below.iter().rev().chain([&path]) {
            self.nodes.remove(gone);
            self.tell(ChangeKind::Deleted, gone);
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &str) -> Result<Vec<Entry>, Failure> {
        let path = normal(path)?;
        match self.nodes.get(&path) {
            Some(Node { bytes: None, .. }) => {}
            Some(_) => return Err((FailureCode::NotADirectory, "it is a file")),
            None => return Err((FailureCode::NotFound, "there is no such directory")),
        }
        let named =
            |child: &String| Some(Entry { name: child.rsplit('/').next()?.to_owned(), stat: self.stat(child)? });
        Ok(self.nodes.keys().filter(|child| is_in(child, &path)).filter_map(named).collect())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        let (from, to) = (normal(from)?, normal(to)?);
        if !self.nodes.contains_key(&from) || !self.nodes.contains_key(parent(&to)) {
            return Err((FailureCode::NotFound, "there is no such file"));
        }
        if is_below(&to, &from) || from == "/" {
            return Err((FailureCode::Invalid, "a directory cannot move into itself"));
        }
        if self.nodes.get(&to).is_some_and(|node| node.bytes.is_none()) {
            return Err((FailureCode::Exists, "there is a directory"));
        }
        let moved: Vec<String> =
            self.nodes.keys().filter(|path| **path == from || is_below(path, &from)).cloned().collect();
        for path in moved {
            if let Some(node) = self.nodes.remove(&path) {
                self.tell(ChangeKind::Deleted, &path);
                self.put(&format!("{to}{}", &path[from.len()..]), node.bytes, node.mode);
            }
        }
        Ok(())
    }
}
