//! Makes any root fit to be an environment's: mount points, the tenant's account and directories, nothing of the builder's network.

use super::TemplateError;
use super::manifest::RunAs;
use super::tree::{Attributes, TENANT, Tree};
use rustix::fs::FileType;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

/// Longest `passwd` or `group` that is read.
const ACCOUNTS_MAX: u64 = 4 * 1024 * 1024;

/// What a source tells about the root it has made.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// `sha256:…`.
    pub digest: String,
    /// Variables of the image.
    pub env: BTreeMap<String, String>,
    /// Working directory of the image.
    pub cwd: Option<String>,
    /// User of the image.
    pub user: Option<String>,
    /// Entry point and command of the image.
    pub default_cmd: Vec<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
}

/// Makes sure of all that the walls and the tenant count on.
pub(super) fn fit(tree: &Tree) -> Result<(), TemplateError> {
    let places = [
        // Whoever made it: everybody must be able to pass through it.
        ("", Attributes::root(0o755)),
        ("dev", Attributes::root(0o755)),
        ("proc", Attributes::root(0o555)),
        ("sys", Attributes::root(0o555)),
        ("run", Attributes::root(0o755)),
        ("tmp", Attributes::root(0o1777)),
        ("workspace", Attributes::tenant(0o755)),
        ("home/user", Attributes::tenant(0o755)),
    ];
    for (place, attributes) in places {
        tree.dir(Path::new(place), attributes)?;
    }
    let files = [
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
        ("etc/hostname", "localhost\n"),
        ("etc/resolv.conf", ""),
    ];
    for (file, text) in files {
        make_way(tree, Path::new(file))?;
        tree.file_with(Path::new(file), Attributes::root(0o644), text.as_bytes())?;
    }
    add_tenant(tree)
}

/// A directory in the place of a file goes: some builders leave mount points behind.
fn make_way(tree: &Tree, path: &Path) -> Result<(), TemplateError> {
    if tree.kind_of(path)? == Some(FileType::Directory) { tree.remove(path) } else { Ok(()) }
}

/// Adds the tenant to `passwd` and `group` where their numbers are not taken.
fn add_tenant(tree: &Tree) -> Result<(), TemplateError> {
    let passwd = accounts(tree, "etc/passwd")?;
    let shell = if tree.read(Path::new("bin/bash"))?.is_some() { "/bin/bash" } else { "/bin/sh" };
    if !lines(&passwd).any(|line| line.id == TENANT) {
        let name = free_name(&passwd);
        let line = format!("{name}:x:{TENANT}:{TENANT}::/home/user:{shell}\n");
        append(tree, "etc/passwd", if passwd.is_empty() { ROOT_USER } else { &passwd }, &line)?;
    }
    let group = accounts(tree, "etc/group")?;
    if !lines(&group).any(|line| line.id == TENANT) {
        let line = format!("{}:x:{TENANT}:\n", free_name(&group));
        append(tree, "etc/group", if group.is_empty() { ROOT_GROUP } else { &group }, &line)?;
    }
    Ok(())
}

const ROOT_USER: &str = "root:x:0:0:root:/root:/bin/sh\n";
const ROOT_GROUP: &str = "root:x:0:\n";

fn free_name(accounts: &str) -> &'static str {
    if lines(accounts).any(|line| line.name == "user") { "user1000" } else { "user" }
}

fn append(tree: &Tree, path: &str, accounts: &str, line: &str) -> Result<(), TemplateError> {
    let newline = if accounts.ends_with('\n') { "" } else { "\n" };
    make_way(tree, Path::new(path))?;
    tree.file_with(Path::new(path), Attributes::root(0o644), format!("{accounts}{newline}{line}").as_bytes())
}

fn accounts(tree: &Tree, path: &str) -> Result<String, TemplateError> {
    let Some(file) = tree.read(Path::new(path))? else {
        return Ok(String::new());
    };
    let mut bytes = Vec::new();
    file.take(ACCOUNTS_MAX + 1).read_to_end(&mut bytes).map_err(tree.io("read", Path::new(path)))?;
    if bytes.len() as u64 > ACCOUNTS_MAX {
        return Err(TemplateError::TooLarge { limit: ACCOUNTS_MAX, unit: "bytes of accounts" });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of `passwd` or of `group`: both begin with name, password, number.
struct Line<'a> {
    name: &'a str,
    id: u32,
    /// What follows the number: group and home for `passwd`.
    rest: Vec<&'a str>,
}

fn lines(accounts: &str) -> impl Iterator<Item = Line<'_>> {
    accounts.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let id = fields.nth(1)?.parse().ok()?;
        Some(Line { name, id, rest: fields.collect() })
    })
}

/// Finds who `user` is: a name or a number, with `:group` if wanted; the tenant, if nobody says.
pub(super) fn run_as(tree: &Tree, user: Option<&str>) -> Result<RunAs, TemplateError> {
    let (user, group) = match user.filter(|user| !user.is_empty()) {
        None => ("1000", None),
        Some(text) => text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group))),
    };
    let unknown =
        |what: &str, name: &str| TemplateError::Setting { reason: format!("the root has no {what} {name:?}") };
    let passwd = accounts(tree, "etc/passwd")?;
    let number = user.parse::<u32>().ok();
    let found = lines(&passwd).find(|line| number.map_or(line.name == user, |number| line.id == number));
    let uid = number.or(found.as_ref().map(|line| line.id)).ok_or_else(|| unknown("user", user))?;
    let gid = match group.filter(|group| !group.is_empty()) {
        Some(group) => match group.parse() {
            Ok(gid) => gid,
            Err(_) => {
                let groups = accounts(tree, "etc/group")?;
                let line = lines(&groups).find(|line| line.name == group);
                line.ok_or_else(|| unknown("group", group))?.id
            }
        },
        None => found.as_ref().and_then(|line| line.rest.first()?.parse().ok()).unwrap_or(0),
    };
    let home = found.as_ref().and_then(|line| line.rest.get(2)).filter(|home| home.starts_with('/'));
    Ok(RunAs {
        uid,
        gid,
        name: found.as_ref().map(|line| line.name.to_owned()),
        home: home.map_or_else(|| "/".to_owned(), |home| (*home).to_owned()),
    })
}
