//! Templates from a root tree.

use crate::workbench::{Bench, has, is_root, link, mode, run, run_in, settings, skipped, write};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use tenure_linux::template::{Bounds, HostUsr, Source, TemplateError};

/// A root that can run things: busybox, and links to it.
pub fn busybox_root(root: &Path) -> Result<(), &'static str> {
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() || !run("file", &["-L", "/bin/busybox"]).contains("static") {
        return Err("there is no static busybox");
    }
    write(&root.join("bin/busybox"), fs::read(busybox).unwrap(), 0o755);
    for applet in ["sh", "cat", "ls", "stat", "tail"] {
        link(&root.join("bin").join(applet), "busybox");
    }
    write(&root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh", 0o644);
    Ok(())
}

fn source(bench: &Bench) -> PathBuf {
    let root = bench.path("source");
    fs::create_dir_all(&root).unwrap();
    root
}

/// TP-1
#[test]
fn programs_of_a_copied_tree_run() {
    let bench = Bench::new();
    let root = source(&bench);
    if !is_root() || !has("file") {
        return skipped("only root can chroot, and `file` must be there");
    }
    if let Err(reason) = busybox_root(&root) {
        return skipped(reason);
    }
    let template = bench.templates.add("box", &Source::Directory(root), settings()).unwrap();
    assert_eq!(template.usr, HostUsr::None);
    let line = "tail -n 1 /etc/passwd; ls -d /proc /sys /dev /workspace; stat -c '%a %u' /tmp /workspace /home/user; cat /etc/hostname";
    let printed =
        "user:x:1000:1000::/home/user:/bin/sh\n/dev\n/proc\n/sys\n/workspace\n1777 0\n755 1000\n755 1000\nlocalhost\n";
    assert_eq!(run_in(&template.root, false, line), printed);
}

/// TP-1
#[test]
fn a_copied_tree_keeps_what_it_is_made_of() {
    let bench = Bench::new();
    let root = source(&bench);
    write(&root.join("usr/bin/tool"), "tool", 0o755);
    write(&root.join("usr/bin/setuid"), "setuid", 0o4755);
    write(&root.join("etc/secret"), "secret", 0o600);
    fs::hard_link(root.join("usr/bin/tool"), root.join("usr/bin/alias")).unwrap();
    link(&root.join("outside"), "/etc/shadow");
    link(&root.join("dangling"), "nowhere");
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 8 << 20).unwrap();
    drop(sparse);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    if is_root() {
        std::os::unix::fs::lchown(root.join("etc/secret"), Some(4242), Some(4343)).unwrap();
    }
    let template = bench.templates.add("tree", &Source::Directory(root.clone()), settings()).unwrap();
    let copy = &template.root;

    assert_eq!(fs::read(copy.join("usr/bin/tool")).unwrap(), b"tool");
    assert_eq!(mode(&copy.join("usr/bin/setuid")), 0o4755);
    assert_eq!(mode(&copy.join("etc/secret")), 0o600);
    let (tool, alias) = (copy.join("usr/bin/tool").metadata().unwrap(), copy.join("usr/bin/alias").metadata().unwrap());
    assert_eq!((tool.ino(), tool.nlink()), (alias.ino(), 2), "names of one file stay names of one file");
    assert_ne!(tool.ino(), root.join("usr/bin/tool").metadata().unwrap().ino(), "nothing is linked to the source");
    assert_eq!(tool.mtime(), root.join("usr/bin/tool").metadata().unwrap().mtime());
    assert_eq!(fs::read_link(copy.join("outside")).unwrap(), Path::new("/etc/shadow"));
    assert_eq!(fs::read_link(copy.join("dangling")).unwrap(), Path::new("nowhere"));
    let sparse = copy.join("sparse").metadata().unwrap();
    assert_eq!(sparse.len(), (8 << 20) + 3);
    assert!(sparse.blocks() * 512 < 1 << 20, "holes stay holes");
    for gone in ["fifo", "socket"] {
        assert!(!copy.join(gone).exists(), "{gone}");
    }
    if is_root() {
        let secret = copy.join("etc/secret").metadata().unwrap();
        assert_eq!((secret.uid(), secret.gid()), (4242, 4343));
    }
}

/// TP-1
#[test]
fn only_harmless_attributes_are_copied() {
    let bench = Bench::new();
    let root = source(&bench);
    write(&root.join("file"), "", 0o644);
    let file = File::open(root.join("file")).unwrap();
    let set = |name: &str| rustix::fs::fsetxattr(&file, name, b"x", rustix::fs::XattrFlags::empty());
    if set("user.kept").is_err() {
        return skipped("the file system of the temporary directory has no extended attributes");
    }
    let _ = (set("user.overlay.opaque"), set("trusted.overlay.opaque"));
    let template = bench.templates.add("attributes", &Source::Directory(root), settings()).unwrap();
    let copy = File::open(template.root.join("file")).unwrap();
    let mut names = vec![0; 4096];
    let length = rustix::fs::flistxattr(&copy, &mut names[..]).unwrap();
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    assert!(names.contains("user.kept"), "{names}");
    assert!(!names.contains("overlay"), "{names}");
}

/// TP-1
#[test]
fn the_same_tree_has_the_same_digest_and_another_has_not() {
    let bench = Bench::new();
    let root = source(&bench);
    write(&root.join("a"), "one", 0o644);
    write(&root.join("b"), "two", 0o644);
    let add = || bench.templates.add("d", &Source::Directory(root.clone()), settings()).unwrap().manifest.digest;
    let first = add();
    assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
    write(&root.join("b"), "two", 0o644);
    assert_eq!(add(), first);
    write(&root.join("b"), "two", 0o600);
    let mode_changed = add();
    assert_ne!(mode_changed, first);
    write(&root.join("b"), "too", 0o600);
    assert_ne!(add(), mode_changed);
}

/// TP-1
#[test]
fn the_tenant_gets_an_account_whatever_the_tree_has() {
    let cases = [
        ("root:x:0:0::/root:/bin/sh", (1000, Some("user"), "/home/user")),
        ("root:x:0:0::/root:/bin/sh\nuser:x:7:7::/:/bin/sh\n", (1000, Some("user1000"), "/home/user")),
        ("node:x:1000:1000::/home/node:/bin/sh\n", (1000, Some("node"), "/home/node")),
        ("", (1000, Some("user"), "/home/user")),
    ];
    for (passwd, (uid, name, home)) in cases {
        let bench = Bench::new();
        let root = source(&bench);
        write(&root.join("etc/passwd"), passwd, 0o644);
        write(&root.join("etc/hostname"), "builder", 0o644);
        link(&root.join("etc/resolv.conf"), "/run/systemd/resolve/stub-resolv.conf");
        let template = bench.templates.add("a", &Source::Directory(root), settings()).unwrap();
        let run_as = &template.manifest.run_as;
        assert_eq!((run_as.uid, run_as.name.as_deref(), run_as.home.as_str()), (uid, name, home), "{passwd:?}");
        let written = fs::read_to_string(template.root.join("etc/passwd")).unwrap();
        assert!(written.starts_with(passwd) && written.contains("root:") != passwd.starts_with("node"), "{written}");
        assert_eq!(fs::read(template.root.join("etc/resolv.conf")).unwrap(), b"");
        assert!(template.root.join("etc/resolv.conf").symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read(template.root.join("etc/hostname")).unwrap(), b"localhost\n");
    }
}

/// TP-1
#[test]
fn a_tree_beyond_the_bounds_leaves_nothing_behind() {
    let bench = Bench::with(Bounds { entries: 10, bytes: 1000, layers: 1 });
    let root = source(&bench);
    write(&root.join("large"), vec![b'x'; 1001], 0o644);
    let add = || bench.templates.add("a", &Source::Directory(root.clone()), settings());
    let error = add().unwrap_err();
    assert!(matches!(error, TemplateError::TooLarge { limit: 1000, .. }), "{error}");
    fs::remove_file(root.join("large")).unwrap();
    for number in 0..11 {
        write(&root.join(number.to_string()), "", 0o644);
    }
    let error = add().unwrap_err();
    assert!(matches!(error, TemplateError::TooLarge { limit: 10, .. }), "{error}");
    assert!(bench.templates.list().unwrap().is_empty());
    assert!(bench.leftovers().is_empty());
}

/// TP-1
#[test]
fn a_tree_that_holds_the_data_directory_is_refused() {
    let bench = Bench::new();
    for path in [bench.path(""), PathBuf::from("/")] {
        let error = bench.templates.add("a", &Source::Directory(path), settings()).unwrap_err();
        assert!(matches!(error, TemplateError::IntoItself { .. }), "{error}");
    }
    let missing = bench.templates.add("a", &Source::Directory(bench.path("nowhere")), settings()).unwrap_err();
    assert!(matches!(&missing, TemplateError::Io { .. }) && missing.to_string().contains("nowhere"), "{missing}");
    assert!(bench.leftovers().is_empty());
}
