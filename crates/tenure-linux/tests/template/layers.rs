//! Layers against a model: whatever layers add, white out and make opaque, the root is what the image specification says.

use crate::layout::{Layout, Packing, Tar};
use crate::workbench::{Bench, settings};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is at a path, in the model.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Dir,
    File(u8),
    Link(String),
}

type Model = BTreeMap<String, Node>;

/// One entry of a layer.
#[derive(Clone, Debug)]
enum Entry {
    Add(String, Node),
    Whiteout(String),
    Opaque(String),
}

/// Removes a path and all below it.
fn remove(model: &mut Model, path: &str) {
    let below = format!("{path}/");
    model.retain(|there, _| there != path && !there.starts_with(&below));
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// The specification: whiteouts hide what earlier layers have brought, never what their own layer brings.
fn apply(model: &mut Model, layer: &[Entry]) {
    for entry in layer {
        match entry {
            Entry::Add(..) => {}
            Entry::Whiteout(path) => remove(model, path),
            Entry::Opaque(path) => {
                let below = format!("{path}/");
                model.retain(|there, _| !there.starts_with(&below));
            }
        }
    }
    for entry in layer {
        if let Entry::Add(path, node) = entry {
            for dir in ancestors(path) {
                model.insert(dir.to_owned(), Node::Dir);
            }
            if *node != Node::Dir || model.get(path) != Some(&Node::Dir) {
                remove(model, path);
            }
            model.insert(path.clone(), node.clone());
        }
    }
}

/// Drops what no layer can say: entries below something that is not a directory when they come.
fn sensible(layers: Vec<Vec<Entry>>) -> Vec<Vec<Entry>> {
    let mut model = Model::new();
    let mut kept_layers = Vec::new();
    for layer in layers {
        let mut kept = Vec::new();
        let mut after = Model::new();
        for entry in layer {
            let mut tried = kept.clone();
            tried.push(entry.clone());
            let fits = match &entry {
                Entry::Add(path, _) => {
                    let mut before = model.clone();
                    // All whiteouts of the layer come first, also those that are still to come: they only make room.
                    apply(&mut before, &kept);
                    ancestors(path).all(|dir| before.get(dir).is_none_or(|node| *node == Node::Dir))
                }
                Entry::Whiteout(_) | Entry::Opaque(_) => true,
            };
            if fits {
                kept = tried;
            }
        }
        after.clone_from(&model);
        apply(&mut after, &kept);
        model = after;
        kept_layers.push(kept);
    }
    kept_layers
}

fn tar_of(layer: &[Entry]) -> Vec<u8> {
    let tar = layer.iter().fold(Tar::new(), |tar, entry| match entry {
        Entry::Add(path, Node::Dir) => tar.dir(path, 0o755),
        Entry::Add(path, Node::File(content)) => tar.file(path, [*content]),
        Entry::Add(path, Node::Link(target)) => tar.symlink(path, target),
        Entry::Whiteout(path) => {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            tar.file(format!("{dir}/.wh.{name}").trim_start_matches('/'), "")
        }
        Entry::Opaque(path) => tar.file(&format!("{path}/.wh..wh..opq"), ""),
    });
    tar.done()
}

/// What is below `work` in the root.
fn read(root: &Path, path: &str, found: &mut Model) {
    for entry in fs::read_dir(root.join(path)).unwrap() {
        let entry = entry.unwrap();
        let inner = format!("{path}/{}", entry.file_name().to_str().unwrap());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.insert(inner.clone(), Node::Dir);
            read(root, &inner, found);
        } else if kind.is_symlink() {
            found.insert(inner, Node::Link(fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned()));
        } else {
            found.insert(inner, Node::File(fs::read(entry.path()).unwrap()[0]));
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| format!("work/{}", names.join("/")))
}

fn entry() -> impl Strategy<Value = Entry> {
    let node = prop_oneof![
        2 => Just(Node::Dir),
        3 => any::<u8>().prop_map(Node::File),
        1 => "[abc]".prop_map(Node::Link),
    ];
    prop_oneof![
        5 => (path(), node).prop_map(|(path, node)| Entry::Add(path, node)),
        2 => path().prop_map(Entry::Whiteout),
        1 => path().prop_map(Entry::Opaque),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// TP-1
    #[test]
    fn layers_do_what_the_model_does(layers in prop::collection::vec(prop::collection::vec(entry(), 0..14), 3)) {
        let layers = sensible(layers);
        let mut model = Model::from([("work".to_owned(), Node::Dir)]);
        for layer in &layers {
            apply(&mut model, layer);
        }
        model.remove("work");

        let bench = Bench::new();
        let mut tars: Vec<Vec<u8>> = layers.iter().map(|layer| tar_of(layer)).collect();
        tars.insert(0, Tar::new().dir("work", 0o755).done());
        let layout = Layout::of_layers(&bench.path("image"), Packing::Gzip, &tars);
        let root = bench.templates.add("a", &layout.source(), settings()).unwrap().root;
        let mut found = Model::new();
        read(&root, "work", &mut found);
        prop_assert_eq!(found, model);
    }
}

/// TP-1
#[test]
fn a_whiteout_hides_what_earlier_layers_brought_but_not_what_its_own_brings() {
    let bench = Bench::new();
    let base = Tar::new().file("d/old", "1").file("d/both", "1").file("e", "1").done();
    // The additions stand before the whiteouts: their order means nothing.
    let top =
        Tar::new().file("d/both", "2").file("d/new", "2").file("e", "2").file("d/.wh..wh..opq", "").file(".wh.e", "");
    let layout = Layout::of_layers(&bench.path("image"), Packing::Gzip, &[base, top.done()]);
    let root = bench.templates.add("a", &layout.source(), settings()).unwrap().root;
    let mut found = Model::new();
    read(&root, "d", &mut found);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["d/both", "d/new"]);
    assert_eq!(fs::read(root.join("e")).unwrap(), b"2");
}

/// TP-1
#[test]
fn a_whiteout_does_not_reach_through_a_link_that_its_layer_replaces() {
    let bench = Bench::new();
    let base = Tar::new().file("usr/kept", "1").symlink("d", "usr").done();
    let top = Tar::new().dir("d", 0o755).file("d/.wh..wh..opq", "").file("d/.wh.kept", "").file("d/new", "2").done();
    let layout = Layout::of_layers(&bench.path("image"), Packing::Gzip, &[base, top]);
    let root = bench.templates.add("a", &layout.source(), settings()).unwrap().root;
    assert!(root.join("usr/kept").exists());
    assert!(root.join("d").symlink_metadata().unwrap().is_dir());
    assert!(root.join("d/new").exists() && !root.join("usr/new").exists());
}
