//! Builds image layouts by hand, sound ones and damaged ones.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tenure_linux::template::Source;

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

pub fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// How a layer is packed.
#[derive(Clone, Copy, Debug)]
pub enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "+gzip",
            Self::Zstd => "+zstd",
        }
    }

    pub fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }
}

/// A layout directory that grows.
pub struct Layout {
    pub dir: PathBuf,
    pub manifests: Vec<Value>,
}

impl Layout {
    pub fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { dir: dir.to_owned(), manifests: Vec::new() }
    }

    /// One image of these layers, for this machine.
    pub fn of_layers(dir: &Path, packing: Packing, layers: &[Vec<u8>]) -> Self {
        let mut layout = Self::new(dir);
        let image = layout.image(packing, layers, json!({}), machine());
        layout.manifests.push(image);
        layout.write_index();
        layout
    }

    pub fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = digest(bytes);
        fs::write(self.blob_path(&digest), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs").join(digest.replace(':', "/"))
    }

    /// Writes an image; answers the descriptor of its manifest.
    pub fn image(&self, packing: Packing, layers: &[Vec<u8>], config: Value, architecture: &str) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{}", packing.suffix());
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(&packing.pack(layer), &media_type)).collect();
        let config = json!({"architecture": architecture, "os": "linux", "config": config,
                            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.blob(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json")
    }

    pub fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.manifests});
        fs::write(self.dir.join("index.json"), index.to_string()).unwrap();
    }

    pub fn source(&self) -> Source {
        Source::OciLayout { path: self.dir.clone(), tag: None }
    }

    pub fn tagged(&self, tag: &str) -> Source {
        Source::OciLayout { path: self.dir.clone(), tag: Some(tag.to_owned()) }
    }
}

/// A tar that grows. Paths are written as they are, however bad.
pub struct Tar(Builder<Vec<u8>>);

impl Tar {
    pub fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(path, EntryType::Directory, "", b"", mode)
    }

    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.entry(path, EntryType::Regular, "", content.as_ref(), 0o644)
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, target, b"", 0o777)
    }

    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, target, b"", 0o644)
    }

    pub fn entry(self, path: &str, kind: EntryType, target: &str, content: &[u8], mode: u32) -> Self {
        self.raw(path, kind, target, content, |header| header.set_mode(mode))
    }

    pub fn raw(
        mut self,
        path: &str,
        kind: EntryType,
        target: &str,
        content: &[u8],
        more: impl FnOnce(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        more(&mut header);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn pax(mut self, extensions: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(extensions.iter().copied()).unwrap();
        self
    }

    pub fn done(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
