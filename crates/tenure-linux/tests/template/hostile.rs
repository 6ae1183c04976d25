//! Images that try to reach out of their root, or to use up the host.

use crate::layout::{Layout, Packing, Tar};
use crate::workbench::{Bench, settings, write};
use serde_json::json;
use std::fs;
use std::io::Write as _;
use tar::EntryType;
use tenure_linux::template::{Bounds, Template, TemplateError};

fn add(bench: &Bench, layers: &[Vec<u8>]) -> Result<Template, TemplateError> {
    let layout = Layout::of_layers(&bench.path("image"), Packing::Gzip, layers);
    let result = bench.templates.add("a", &layout.source(), settings());
    assert!(bench.leftovers().is_empty());
    if result.is_err() {
        assert!(bench.templates.list().unwrap().is_empty());
    }
    result
}

fn check_refused(layer: Tar) {
    let error = add(&Bench::new(), &[layer.done()]).unwrap_err();
    assert!(matches!(error, TemplateError::Hostile { .. }), "{error}");
}

/// TP-1
#[test]
fn paths_that_lead_out_of_the_root_are_refused() {
    for path in ["/etc/passwd", "../up", "a/../../up", "a/..", ".."] {
        check_refused(Tar::new().file(path, "bad"));
        check_refused(Tar::new().dir(path, 0o755));
        check_refused(Tar::new().symlink(path, "x"));
    }
    for target in ["../outside", "a/../../outside", "/../outside"] {
        check_refused(Tar::new().hard_link("bad", target));
    }
    for whiteout in ["a/.wh...", "a/.wh..", "a/.wh.", "../.wh.x", "/.wh.x"] {
        check_refused(Tar::new().file(whiteout, ""));
    }
    check_refused(Tar::new().file(".", "the root is no file"));
    check_refused(Tar::new().pax(&[("path", b"../up")]).file("fine", "bad"));
    check_refused(Tar::new().pax(&[("linkpath", b"../up")]).hard_link("bad", "fine"));
    check_refused(Tar::new().pax(&[("path", "d/".repeat(300).as_bytes())]).dir("fine", 0o755));
    check_refused(Tar::new().pax(&[("path", "n".repeat(256).as_bytes())]).file("fine", "bad"));
    check_refused(Tar::new().pax(&[("uid", b"99999999999")]).file("fine", "bad"));
}

/// TP-1
#[test]
fn links_never_lead_writing_reading_or_removing_out_of_the_root() {
    let bench = Bench::new();
    let outside = bench.path("outside");
    write(&outside.join("victim"), "untouched", 0o644);
    let target = outside.to_str().unwrap();
    let up = format!("{}{target}", "../".repeat(40));
    // Whether each layer is refused or contained is the layer's affair; the host must not notice either way.
    let layers = [
        Tar::new().symlink("x", target).file("x/victim", "bad"),
        Tar::new().symlink("x", &up).file("x/victim", "bad"),
        Tar::new().symlink("x", target).symlink("y", "x").file("y/victim", "bad"),
        Tar::new().symlink("x", target).dir("x", 0o755).file("x/victim", "fine"),
        Tar::new().symlink("x", &format!("{target}/victim")).file("x", "replaced"),
        Tar::new().symlink("x", target).hard_link("y", "x/victim").file("y", "bad"),
        Tar::new().symlink("x", target).hard_link("x/other", "x"),
        Tar::new().symlink("etc", target).file("etc/hosts", "bad"),
        Tar::new().symlink("home", target).symlink("workspace", target).symlink("tmp", target).symlink("dev", target),
        Tar::new().dir("etc", 0o755).symlink("etc/passwd", &format!("{target}/victim")),
        Tar::new().symlink("loop", "loop").file("loop/x", "bad"),
        Tar::new().symlink("magic", "/proc/self/root").file("magic/x", "bad"),
    ];
    let whiteouts = Tar::new().file("x/.wh.victim", "").file("x/.wh..wh..opq", "").done();
    for layer in layers {
        let inner = Bench::new();
        let _ = add(&inner, &[layer.done(), whiteouts.clone()]);
        let there: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(there, ["victim"]);
        assert_eq!(fs::read(outside.join("victim")).unwrap(), b"untouched");
    }
}

/// TP-1
#[test]
fn mount_points_and_accounts_are_real_files_of_the_root_after_all() {
    let bench = Bench::new();
    let layer = Tar::new()
        .symlink("proc", "/")
        .symlink("tmp", "/etc")
        .symlink("workspace", "/etc")
        .dir("etc/hosts", 0o755)
        .file("etc/hosts/x", "")
        .symlink("etc/resolv.conf", "../usr/resolv.conf")
        .done();
    let root = add(&bench, &[layer]).unwrap().root;
    for dir in ["proc", "tmp", "workspace"] {
        assert!(root.join(dir).symlink_metadata().unwrap().is_dir(), "{dir}");
    }
    for file in ["etc/hosts", "etc/resolv.conf", "etc/passwd"] {
        assert!(root.join(file).symlink_metadata().unwrap().is_file(), "{file}");
    }
}

/// TP-1
#[test]
fn headers_without_end_are_refused_before_they_fill_the_memory() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let layer = Tar::new().entry("x", kind, "", &vec![b'a'; 8 << 20], 0o644).file("x", "").done();
        let error = add(&Bench::new(), &[layer]).unwrap_err();
        assert!(matches!(error, TemplateError::TooLarge { unit: "bytes in the headers of one entry", .. }), "{error}");
    }
}

/// TP-1
#[test]
fn what_is_larger_unpacked_than_allowed_is_refused() {
    let bounds = Bounds { entries: 20, bytes: 1 << 20, layers: 2 };
    let refused = |layers: &[Vec<u8>], wanted: u64| {
        let error = add(&Bench::with(bounds), layers).unwrap_err();
        assert!(matches!(error, TemplateError::TooLarge { limit, .. } if limit == wanted), "{error}");
    };
    let half = Tar::new().file("zeros", vec![0; (1 << 19) + 1]).done();
    refused(&[half.clone(), half], bounds.bytes);

    let many = (0..21).fold(Tar::new(), |tar, number| tar.dir(&format!("d{number}"), 0o755)).done();
    refused(&[many], bounds.entries);

    let small = Tar::new().done();
    refused(&[small.clone(), small.clone(), small], bounds.layers);

    // What follows the end of the tar is hashed, so it is read: but not for ever.
    let mut padded = Tar::new().file("x", "").done();
    padded.extend(vec![0; 4 << 20]);
    refused(&[padded], bounds.bytes);

    // A sparse file claims 1 TiB in 512 bytes.
    let sparse = Tar::new().raw("sparse", EntryType::GNUSparse, "", b"", |header| {
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 40);
        let field = |value: u64| {
            let mut field = [0; 12];
            write!(&mut field[..], "{value:011o}").unwrap();
            field
        };
        gnu.sparse[0].offset = [0x80, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0, 0];
        gnu.sparse[0].numbytes = field(0);
    });
    refused(&[sparse.done()], bounds.bytes);
}

/// TP-1
#[test]
fn layers_cannot_grow_deeper_than_can_be_removed_again() {
    let step = "d/".repeat(200);
    let mut tar = Tar::new();
    for number in 0..8 {
        let from = if number == 0 { String::new() } else { format!("l{}/", number - 1) };
        let path = format!("{from}{step}");
        tar = tar.pax(&[("path", path.as_bytes())]).dir("x", 0o755);
        let target = path.trim_end_matches('/').to_owned();
        tar = tar.pax(&[("linkpath", target.as_bytes())]).symlink(&format!("l{number}"), "x");
    }
    let error = add(&Bench::new(), &[tar.done()]).unwrap_err();
    assert!(matches!(error, TemplateError::Io { .. }), "{error}");
}

/// TP-1
#[test]
fn descriptors_do_not_name_files_outside_of_the_layout() {
    for name in ["sha256:../../../outside", "sha256:", "sha512:00", "x", "sha256:AB"] {
        let bench = Bench::new();
        write(&bench.path("outside"), "{}", 0o644);
        let mut layout = Layout::new(&bench.path("image"));
        layout
            .manifests
            .push(json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": name, "size": 2}));
        layout.write_index();
        let error = bench.templates.add("a", &layout.source(), settings()).unwrap_err();
        assert!(matches!(error, TemplateError::Image { .. }), "{name}: {error}");
    }
    let bench = Bench::new();
    let layout = Layout::new(&bench.path("image"));
    write(&bench.path("secret.json"), r#"{"schemaVersion": 2, "manifests": []}"#, 0o644);
    std::os::unix::fs::symlink("../secret.json", layout.dir.join("index.json")).unwrap();
    let error = bench.templates.add("a", &layout.source(), settings()).unwrap_err();
    assert!(error.to_string().contains("no index.json"), "{error}");
}
