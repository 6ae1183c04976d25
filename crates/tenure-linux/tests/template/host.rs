//! The built-in template: the host's `/usr` under a synthetic root.

use crate::workbench::{Bench, is_root, link, mode, run_in, skipped, write};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tenure_linux::template::{HostUsr, Options, SourceKind, TemplateError};

/// A host of our own, with secrets in it.
fn small_host(dir: &Path) -> Options {
    let host = dir.join("host");
    for name in ["bin", "sbin", "lib"] {
        link(&host.join(name), &format!("usr/{name}"));
    }
    link(&host.join("lib64"), "/usr/lib64");
    write(&host.join("usr/lib/os-release"), "NAME=Small\nVERSION_ID=1\n", 0o644);
    for secret in ["shadow", "machine-id", "hostname", "ssh/ssh_host_key", "gitconfig", "ssl/private/key.pem"] {
        write(&host.join("etc").join(secret), "SECRET", 0o644);
    }
    write(&host.join("etc/java-17/readable"), "yes", 0o644);
    write(&host.join("etc/java-17/private"), "SECRET", 0o640);
    write(&host.join("etc/ssl/certs/ca-certificates.crt"), "CERTIFICATES", 0o644);
    link(&host.join("etc/alternatives/awk"), "/usr/bin/mawk");
    Options { host_root: host, ..Options::default() }
}

fn all_files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all_files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// TP-1
#[test]
fn the_built_in_template_has_what_an_environment_needs() {
    let bench = Bench::new();
    let template = bench.templates.default_template(7).unwrap();
    assert_eq!(template.reference(), "default@1");
    assert_eq!(template.usr, HostUsr::Bind);
    assert_eq!((template.manifest.source, template.manifest.created_at_ms), (SourceKind::Host, 7));
    assert_eq!((template.manifest.run_as.uid, template.manifest.run_as.home.as_str()), (1000, "/home/user"));
    assert_eq!(template.manifest.cwd, "/workspace");
    let root = &template.root;
    for dir in
        ["dev", "proc", "sys", "run", "etc", "usr", "opt", "srv", "mnt", "media", "var/cache", "var/lib", "var/log"]
    {
        assert!(root.join(dir).is_dir(), "{dir}");
    }
    assert_eq!(mode(&root.join("tmp")), 0o1777);
    assert_eq!(mode(&root.join("var/tmp")), 0o1777);
    assert_eq!(mode(&root.join("root")), 0o700);
    assert_eq!(mode(&root.join("workspace")), 0o755);
    assert_eq!(fs::read_link(root.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!(fs::read(root.join("etc/resolv.conf")).unwrap(), b"");
    if is_root() {
        for dir in ["workspace", "home/user"] {
            let there = fs::metadata(root.join(dir)).unwrap();
            assert_eq!((there.uid(), there.gid()), (1000, 1000), "{dir}");
        }
    }
    assert!(bench.leftovers().is_empty());
}

/// TP-1
#[test]
fn programs_of_the_host_run_in_the_built_in_template() {
    if !is_root() {
        return skipped("only root can bind and chroot without further ado");
    }
    let bench = Bench::new();
    let template = bench.templates.default_template(0).unwrap();
    let line = "awk 'BEGIN { print 6 * 7 }'; id -un 1000; ls -ld /root | cut -c1-10; cat /etc/hostname";
    assert_eq!(run_in(&template.root, true, line), "42\nuser\ndrwx------\nlocalhost\n");
}

/// TP-1
#[test]
fn nothing_secret_of_the_host_goes_into_the_built_in_template() {
    let bench = Bench::with_options(small_host);
    let template = bench.templates.default_template(0).unwrap();
    let mut files = Vec::new();
    all_files(&template.root, &mut files);
    for file in &files {
        let read = fs::read(file).unwrap_or_default();
        assert!(!read.windows(6).any(|part| part == b"SECRET"), "{}", file.display());
    }
    assert_eq!(fs::read(template.root.join("etc/java-17/readable")).unwrap(), b"yes");
    assert_eq!(fs::read(template.root.join("etc/ssl/certs/ca-certificates.crt")).unwrap(), b"CERTIFICATES");
    assert_eq!(fs::read_link(template.root.join("etc/alternatives/awk")).unwrap(), Path::new("/usr/bin/mawk"));
    assert_eq!(fs::read_link(template.root.join("lib64")).unwrap(), Path::new("usr/lib64"));
}

/// TP-1
#[test]
fn the_built_in_template_gets_a_new_version_only_when_the_host_has_changed() {
    let bench = Bench::with_options(small_host);
    let first = bench.templates.default_template(1).unwrap();
    assert_eq!(bench.templates.default_template(2).unwrap().reference(), "default@1");

    let certificates = bench.path("host/etc/ssl/certs/ca-certificates.crt");
    write(&certificates, "CERTIFICATES", 0o644);
    let touched = bench.templates.default_template(3).unwrap();
    assert_eq!(touched.reference(), "default@1", "a file written again with the same content changes nothing");

    write(&bench.path("host/usr/lib/os-release"), "NAME=Small\nVERSION_ID=2\n", 0o644);
    let upgraded = bench.templates.default_template(4).unwrap();
    assert_eq!((upgraded.reference().as_str(), upgraded.manifest.created_at_ms), ("default@2", 4));
    assert_ne!(upgraded.manifest.digest, first.manifest.digest);
    assert!(first.root.join("etc").is_dir(), "the old version stays for those who use it");
    assert!(bench.leftovers().is_empty());
}

/// TP-1
#[test]
fn a_host_that_keeps_programs_outside_of_usr_is_named_as_such() {
    let bench = Bench::with_options(small_host);
    fs::remove_file(bench.path("host/sbin")).unwrap();
    fs::create_dir(bench.path("host/sbin")).unwrap();
    let error = bench.templates.default_template(0).unwrap_err();
    assert!(matches!(&error, TemplateError::NotMergedUsr { dir } if dir == "sbin"), "{error}");
    assert!(bench.templates.list().unwrap().is_empty());
}
