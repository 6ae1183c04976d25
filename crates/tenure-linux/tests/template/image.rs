//! Templates from images, made by the tools that people make them with.

use crate::directory::busybox_root;
use crate::layout::{Layout, Packing, Tar, digest, machine};
use crate::workbench::{Bench, has, is_root, link, mode, run, run_in, settings, skipped, write};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tenure_linux::template::{Settings, Source, Template, TemplateError};

/// An image of two layers, made by `umoci`; the second takes a file away.
fn umoci_image(bench: &Bench) -> Result<String, &'static str> {
    if !is_root() || !has("file") {
        return Err("only root can build images and chroot, and `file` must be there");
    }
    if !has("umoci") || !has("skopeo") {
        return Err("umoci and skopeo are not both installed");
    }
    let (base, more) = (bench.path("base"), bench.path("more"));
    busybox_root(&base)?;
    write(&base.join("srv/gone"), "gone", 0o644);
    write(&base.join("srv/old"), "old", 0o644);
    write(&base.join("etc/resolv.conf"), "nameserver 192.0.2.1\n", 0o644);
    write(&more.join("old"), "new", 0o640);
    link(&more.join("link"), "old");
    let layout = bench.path("layout").display().to_string();
    let image = format!("{layout}:v1");
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["insert", "--image", &image, base.to_str().unwrap(), "/"]);
    run("umoci", &["insert", "--image", &image, more.to_str().unwrap(), "/srv"]);
    run("umoci", &["insert", "--image", &image, "--whiteout", "/srv/gone"]);
    let config = ["--config.env", "GREETING=hello", "--config.env", "LANG=C", "--config.workingdir", "/srv"];
    run("umoci", &[&["config", "--image", &image][..], &config].concat());
    let config =
        ["--config.user", "1000", "--config.entrypoint", "/bin/sh", "--config.cmd", "-c", "--config.label", "a=b"];
    run("umoci", &[&["config", "--image", &image][..], &config].concat());
    Ok(layout)
}

fn check_umoci_template(template: &Template) {
    let manifest = &template.manifest;
    assert_eq!(manifest.env["GREETING"], "hello");
    assert_eq!(manifest.env["LANG"], "C.UTF-8", "the administrator's variables go over the image's");
    assert_eq!((manifest.cwd.as_str(), manifest.run_as.uid), ("/srv", 1000));
    assert_eq!(manifest.default_cmd, ["/bin/sh", "-c"]);
    assert_eq!((manifest.labels["a"].as_str(), manifest.start.as_ref()), ("b", None));
    assert_eq!(fs::read(template.root.join("srv/old")).unwrap(), b"new");
    assert_eq!(mode(&template.root.join("srv/old")), 0o640);
    assert_eq!(fs::read_link(template.root.join("srv/link")).unwrap(), Path::new("old"));
    assert!(!template.root.join("srv/gone").exists());
    assert_eq!(fs::read(template.root.join("etc/resolv.conf")).unwrap(), b"");
    let printed = run_in(&template.root, false, "cat /srv/link; tail -n 1 /etc/passwd");
    assert_eq!(printed, "newuser:x:1000:1000::/home/user:/bin/sh\n");
}

fn with_lang() -> Settings {
    Settings { env: [("LANG".to_owned(), "C.UTF-8".to_owned())].into(), ..settings() }
}

/// TP-1
#[test]
fn an_image_layout_made_by_umoci_becomes_a_template() {
    let bench = Bench::new();
    let layout = match umoci_image(&bench) {
        Ok(layout) => layout,
        Err(reason) => return skipped(reason),
    };
    for source in [format!("oci:{layout}:v1"), format!("oci:{layout}")] {
        let template = bench.templates.add("made", &source.parse().unwrap(), with_lang()).unwrap();
        check_umoci_template(&template);
        let index = fs::read_to_string(Path::new(&layout).join("index.json")).unwrap();
        assert!(index.contains(&template.manifest.digest), "the digest is the image's");
    }
    let error = bench.templates.add("made", &format!("oci:{layout}:v2").parse().unwrap(), settings()).unwrap_err();
    assert!(matches!(&error, TemplateError::Choice { reason } if reason.contains("v1")), "{error}");
    assert!(bench.leftovers().is_empty());
}

/// TP-1
#[test]
fn archives_made_by_skopeo_become_templates_compressed_or_not() {
    let bench = Bench::new();
    let layout = match umoci_image(&bench) {
        Ok(layout) => layout,
        Err(reason) => return skipped(reason),
    };
    let from = format!("oci:{layout}:v1");
    let (oci, docker) = (bench.path("oci.tar"), bench.path("docker.tar"));
    run("skopeo", &["--insecure-policy", "copy", &from, &format!("oci-archive:{}:made", oci.display())]);
    run("skopeo", &["--insecure-policy", "copy", &from, &format!("docker-archive:{}:made:v1", docker.display())]);
    let gzipped = bench.path("oci.tar.gz");
    fs::write(&gzipped, Packing::Gzip.pack(&fs::read(&oci).unwrap())).unwrap();
    let archive = |kind: &str, path: &Path, tag: &str| format!("{kind}:{}{tag}", path.display());
    for source in [
        archive("oci-archive", &oci, ":made"),
        archive("oci-archive", &oci, ""),
        archive("oci-archive", &gzipped, ""),
        archive("docker-archive", &docker, ""),
        archive("docker-archive", &docker, ":docker.io/library/made:v1"),
    ] {
        let template = bench.templates.add("made", &source.parse().unwrap(), with_lang()).unwrap();
        check_umoci_template(&template);
    }
    let wrong = archive("docker-archive", &docker, ":other:v1").parse().unwrap();
    let error = bench.templates.add("made", &wrong, settings()).unwrap_err();
    assert!(matches!(error, TemplateError::Choice { .. }), "{error}");
    assert!(bench.leftovers().is_empty());
}

/// TP-1
#[test]
fn layers_are_read_however_they_are_packed() {
    let base = Tar::new().dir("etc/", 0o755).file("etc/a", "one").file("etc/b", "one").done();
    let top = Tar::new().file("etc/.wh.b", "").file("./etc/c", "two").done();
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let bench = Bench::new();
        let layout = Layout::of_layers(&bench.path("image"), packing, &[base.clone(), top.clone()]);
        let root = bench.templates.add("a", &layout.source(), settings()).unwrap().root;
        assert_eq!(fs::read(root.join("etc/a")).unwrap(), b"one", "{packing:?}");
        assert_eq!(fs::read(root.join("etc/c")).unwrap(), b"two", "{packing:?}");
        assert!(!root.join("etc/b").exists() && !root.join("etc/.wh.b").exists(), "{packing:?}");
    }
}

/// TP-1
#[test]
fn the_image_for_this_machine_is_chosen_from_several() {
    let bench = Bench::new();
    let mut layout = Layout::new(&bench.path("image"));
    let image = |content: &str, architecture: &str| {
        let mut image = layout.image(Packing::Gzip, &[Tar::new().file("who", content).done()], json!({}), architecture);
        image["platform"] = json!({"os": "linux", "architecture": architecture});
        image
    };
    let mut attestation = image("attestation", "unknown");
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let index =
        json!({"schemaVersion": 2, "manifests": [attestation, image("other", "s390x"), image("ours", machine())]});
    let mut both = layout.blob(index.to_string().as_bytes(), "application/vnd.oci.image.index.v1+json");
    both["annotations"] = json!({"org.opencontainers.image.ref.name": "both"});
    let mut foreign = image("foreign", "s390x");
    foreign["annotations"] = json!({"org.opencontainers.image.ref.name": "foreign"});
    let mut second = image("second", machine());
    second["annotations"] = json!({"org.opencontainers.image.ref.name": "second"});
    layout.manifests = vec![both, foreign, second];
    layout.write_index();

    let add = |source: &Source| bench.templates.add("a", source, settings());
    let who = |source: &Source| fs::read_to_string(add(source).unwrap().root.join("who")).unwrap();
    assert_eq!(who(&layout.tagged("both")), "ours");
    assert_eq!(who(&layout.tagged("second")), "second");
    let foreign = add(&layout.tagged("foreign")).unwrap_err().to_string();
    assert!(foreign.contains(&format!("nothing for linux/{}", machine())), "{foreign}");
    let several = add(&layout.source()).unwrap_err().to_string();
    assert!(several.contains("more than one image") && several.contains("second"), "{several}");
}

/// TP-1
#[test]
fn owners_times_hard_links_and_long_names_of_layers_are_kept() {
    let bench = Bench::new();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let owned = |header: &mut tar::Header| {
        header.set_uid(4242);
        header.set_mode(0o4711);
    };
    let layer = Tar::new()
        .pax(&[("path", long.as_bytes()), ("SCHILY.xattr.user.kept", b"1"), ("SCHILY.xattr.user.overlay.opaque", b"y")])
        .file("short", "long")
        .raw("owned", tar::EntryType::Regular, "", b"owned", owned)
        .hard_link("same", "/owned")
        .pax(&[("gid", b"3000000")])
        .file("far", "")
        .entry("device", tar::EntryType::Char, "", b"", 0o666)
        .entry("fifo", tar::EntryType::Fifo, "", b"", 0o666)
        .file("zeros", vec![0; 1 << 20])
        .done();
    let layout = Layout::of_layers(&bench.path("image"), Packing::Zstd, &[layer]);
    let root = bench.templates.add("a", &layout.source(), settings()).unwrap().root;
    assert_eq!(fs::read(root.join(&long)).unwrap(), b"long");
    let owned = root.join("owned").metadata().unwrap();
    assert_eq!((mode(&root.join("owned")), owned.mtime(), owned.nlink()), (0o4711, 1_600_000_000, 2));
    assert_eq!(owned.ino(), root.join("same").metadata().unwrap().ino());
    if is_root() {
        assert_eq!((owned.uid(), root.join("far").metadata().unwrap().gid()), (4242, 3_000_000));
    }
    assert!(!root.join("device").exists() && !root.join("fifo").exists());
    let zeros = root.join("zeros").metadata().unwrap();
    assert_eq!((zeros.len(), zeros.blocks()), (1 << 20, 0));
    let mut names = vec![0; 4096];
    let length = rustix::fs::listxattr(root.join(&long), &mut names[..]).unwrap_or(0);
    assert!(!String::from_utf8_lossy(&names[..length]).contains("overlay"));
}

/// TP-1
#[test]
fn later_layers_write_through_the_links_of_earlier_ones() {
    let bench = Bench::new();
    let base = Tar::new().dir("usr/lib", 0o755).symlink("lib", "usr/lib").symlink("abs", "/usr").done();
    let top = Tar::new().file("lib/one", "1").file("abs/lib/two", "2").done();
    let layout = Layout::of_layers(&bench.path("image"), Packing::Gzip, &[base, top]);
    let root = bench.templates.add("a", &layout.source(), settings()).unwrap().root;
    assert!(root.join("lib").is_symlink());
    assert_eq!(fs::read(root.join("usr/lib/one")).unwrap(), b"1");
    assert_eq!(fs::read(root.join("usr/lib/two")).unwrap(), b"2");
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// TP-1
#[test]
fn every_damaged_or_missing_blob_is_found_and_nothing_is_left() {
    let layer = Tar::new().file("a", "content").done();
    let count = 3;
    for number in 0..count {
        for remove in [false, true] {
            let bench = Bench::new();
            let layout = Layout::of_layers(&bench.path("image"), Packing::Plain, std::slice::from_ref(&layer));
            let mut blobs: Vec<PathBuf> =
                fs::read_dir(layout.dir.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
            blobs.sort();
            assert_eq!(blobs.len(), count);
            if remove {
                fs::remove_file(&blobs[number]).unwrap()
            } else {
                damage(&blobs[number])
            }
            let error = bench.templates.add("a", &layout.source(), settings()).unwrap_err();
            assert!(matches!(error, TemplateError::Image { .. }), "{error}");
            assert!(bench.templates.list().unwrap().is_empty());
            assert!(bench.leftovers().is_empty());
        }
    }
}

/// TP-1
#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let bench = Bench::new();
    let mut layout = Layout::new(&bench.path("image"));
    let layer = Tar::new().file("a", "content").done();
    let blob = layout.blob(&layer, "application/vnd.oci.image.layer.v1.tar");
    let config = json!({"architecture": machine(), "os": "linux",
                        "rootfs": {"type": "layers", "diff_ids": [digest(b"something else")]}});
    let config = layout.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [blob]});
    let manifest = layout.blob(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    layout.manifests.push(manifest);
    layout.write_index();
    let error = bench.templates.add("a", &layout.source(), settings()).unwrap_err();
    assert!(error.to_string().contains("digest"), "{error}");
}
