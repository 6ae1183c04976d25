//! Images: finds the one that is meant, verifies it piece by piece, and unpacks it.
//!
//! `index.json` names manifests (or further indexes, one level per architecture); a manifest names a configuration and the layers;
//! each by digest and size. All are verified. What `docker save` writes has another list of contents, and the same rest.

use super::TemplateError;
use super::blobs::{Blobs, is_sha256};
use super::fit::Outcome;
use super::layer::{self, Identity, Meters};
use super::stage::Bounds;
use super::stream::Meter;
use super::tree::Tree;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use std::path::Path;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// How deep indexes may name indexes.
const INDEX_DEPTH_MAX: usize = 4;
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Unpacks an image of the layout directory `path`.
pub(super) fn unpack_layout(
    tree: &Tree,
    path: &Path,
    tag: Option<&str>,
    bounds: Bounds,
) -> Result<Outcome, TemplateError> {
    unpack_oci(tree, &Blobs::in_directory(path)?, tag, bounds)
}

/// Unpacks an image of the archive `path`. `scratch` is for what must be decompressed to be read.
pub(super) fn unpack_archive(
    tree: &Tree,
    path: &Path,
    tag: Option<&str>,
    bounds: Bounds,
    scratch: &Path,
) -> Result<Outcome, TemplateError> {
    let blobs = Blobs::in_archive(path, scratch, bounds)?;
    match blobs.document("manifest.json")? {
        Some(list) if blobs.open("index.json")?.is_none() => unpack_docker(tree, &blobs, &list, tag, bounds),
        _ => unpack_oci(tree, &blobs, tag, bounds),
    }
}

fn unpack_oci(tree: &Tree, blobs: &Blobs, tag: Option<&str>, bounds: Bounds) -> Result<Outcome, TemplateError> {
    let index = blobs.document("index.json")?;
    let index = index.ok_or_else(|| TemplateError::image("there is no index.json: this is not an OCI image layout"))?;
    let index: ImageIndex = parse("index.json", &index)?;
    let chosen = choose(blobs, &index, tag)?;
    let digest = chosen.digest().to_string();
    let manifest: ImageManifest = parse("the manifest", &blobs.blob_document(&digest, chosen.size())?)?;
    let config = manifest.config();
    let config = blobs.blob_document(config.digest().as_ref(), config.size())?;
    let config: ImageConfiguration = parse("the configuration", &config)?;
    let layers = manifest.layers();
    check_config(&config, layers.len(), bounds)?;
    let meters = Meters { whiteouts: Meter::new(bounds), entries: Meter::new(bounds) };
    for (layer, diff_id) in layers.iter().zip(config.rootfs().diff_ids()) {
        check_layer_type(layer.media_type())?;
        let digest = layer.digest().to_string();
        let identity = Identity { digest: Some(digest.clone()), diff_id: diff_id.clone() };
        layer::apply(tree, &identity, &meters, || blobs.blob(&digest, layer.size()))?;
    }
    Ok(outcome(digest, &config))
}

/// One image in the `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn unpack_docker(
    tree: &Tree,
    blobs: &Blobs,
    list: &[u8],
    tag: Option<&str>,
    bounds: Bounds,
) -> Result<Outcome, TemplateError> {
    let images: Vec<DockerImage> = parse("manifest.json", list)?;
    let tags = |image: &DockerImage| image.repo_tags.clone().unwrap_or_default();
    let named = |image: &&DockerImage| tag.is_none_or(|tag| tags(image).iter().any(|name| name == tag));
    let found: Vec<&DockerImage> = images.iter().filter(named).collect();
    let [image] = found[..] else {
        return Err(wrong_number(found.len(), tag, images.iter().flat_map(tags).collect()));
    };
    let missing = |name: &str| TemplateError::image(format!("{name} is missing"));
    let config = blobs.document(&image.config)?.ok_or_else(|| missing(&image.config))?;
    let digits = hex::encode(Sha256::digest(&config));
    let name = image.config.trim_end_matches(".json").rsplit('/').next().unwrap_or_default();
    if is_sha256(name) && name != digits {
        return Err(TemplateError::image(format!("the configuration has the digest {digits} instead of {name}")));
    }
    let config: ImageConfiguration = parse("the configuration", &config)?;
    check_config(&config, image.layers.len(), bounds)?;
    let meters = Meters { whiteouts: Meter::new(bounds), entries: Meter::new(bounds) };
    for (name, diff_id) in image.layers.iter().zip(config.rootfs().diff_ids()) {
        let identity = Identity { digest: None, diff_id: diff_id.clone() };
        layer::apply(tree, &identity, &meters, || blobs.open(name)?.ok_or_else(|| missing(name)))?;
    }
    Ok(outcome(format!("sha256:{digits}"), &config))
}

/// Finds the one manifest that is meant and fits this machine.
fn choose(blobs: &Blobs, index: &ImageIndex, tag: Option<&str>) -> Result<Descriptor, TemplateError> {
    let named = |descriptor: &&Descriptor| tag.is_none_or(|tag| ref_name(descriptor) == Some(tag));
    let mut found: Vec<Descriptor> = Vec::new();
    let mut any = false;
    for descriptor in index.manifests().iter().filter(named) {
        any = true;
        if let Some(manifest) = fitting(blobs, descriptor, INDEX_DEPTH_MAX)?
            && !found.iter().any(|other| other.digest() == manifest.digest())
        {
            found.push(manifest);
        }
    }
    match found.pop() {
        Some(manifest) if found.is_empty() => Ok(manifest),
        None if any => Err(TemplateError::Choice { reason: format!("the image has nothing for linux/{}", machine()) }),
        more => {
            let names = index.manifests().iter().filter_map(ref_name).map(str::to_owned).collect();
            Err(wrong_number(found.len() + usize::from(more.is_some()), tag, names))
        }
    }
}

/// The manifest of `descriptor` for this machine: itself, or the first of an index.
fn fitting(blobs: &Blobs, descriptor: &Descriptor, depth: usize) -> Result<Option<Descriptor>, TemplateError> {
    let here = |platform: &oci_spec::image::Platform| {
        platform.os().to_string() == "linux" && platform.architecture().to_string() == machine()
    };
    if !descriptor.platform().as_ref().is_none_or(here) {
        return Ok(None);
    }
    match descriptor.media_type() {
        MediaType::ImageManifest => Ok(Some(descriptor.clone())),
        MediaType::Other(other) if other == DOCKER_MANIFEST => Ok(Some(descriptor.clone())),
        media_type if *media_type == MediaType::ImageIndex || media_type.as_ref() == DOCKER_INDEX => {
            if depth == 0 {
                return Err(TemplateError::image("indexes name indexes too deeply"));
            }
            let bytes = blobs.blob_document(descriptor.digest().as_ref(), descriptor.size())?;
            let index: ImageIndex = parse("an index", &bytes)?;
            for inner in index.manifests() {
                if let Some(found) = fitting(blobs, inner, depth - 1)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn ref_name(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}

fn wrong_number(count: usize, tag: Option<&str>, mut names: Vec<String>) -> TemplateError {
    names.truncate(20);
    let meant = tag.map_or_else(String::new, |tag| format!(" named {tag:?}"));
    let how_many = if count == 0 { "no image" } else { "more than one image" };
    let there = if names.is_empty() { "none has a name".to_owned() } else { format!("there is {}", names.join(", ")) };
    TemplateError::Choice { reason: format!("{how_many}{meant}: {there}") }
}

/// This machine's architecture, as images call it.
fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn check_config(config: &ImageConfiguration, layers: usize, bounds: Bounds) -> Result<(), TemplateError> {
    let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
    if os != "linux" || architecture != machine() {
        let reason = format!("the image is for {os}/{architecture}, this machine is linux/{}", machine());
        return Err(TemplateError::Choice { reason });
    }
    let diff_ids = config.rootfs().diff_ids().len();
    if layers != diff_ids {
        return Err(TemplateError::image(format!("{layers} layers, but {diff_ids} digests for them")));
    }
    if layers as u64 > bounds.layers {
        return Err(TemplateError::TooLarge { limit: bounds.layers, unit: "layers" });
    }
    Ok(())
}

fn check_layer_type(media_type: &MediaType) -> Result<(), TemplateError> {
    let known = match media_type {
        MediaType::ImageLayer | MediaType::ImageLayerGzip | MediaType::ImageLayerZstd => true,
        MediaType::ImageLayerNonDistributable
        | MediaType::ImageLayerNonDistributableGzip
        | MediaType::ImageLayerNonDistributableZstd => true,
        MediaType::Other(other) => other.starts_with("application/vnd.docker.image.rootfs."),
        _ => false,
    };
    if known { Ok(()) } else { Err(TemplateError::image(format!("a layer of the kind {media_type}"))) }
}

fn outcome(digest: String, config: &ImageConfiguration) -> Outcome {
    let mut outcome = Outcome { digest, ..Outcome::default() };
    let Some(config) = config.config() else {
        return outcome;
    };
    let env = config.env().iter().flatten().filter_map(|pair| pair.split_once('='));
    outcome.env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let cwd = config.working_dir().as_ref().filter(|cwd| !cwd.is_empty());
    outcome.cwd = cwd.map(|cwd| if cwd.starts_with('/') { cwd.clone() } else { format!("/{cwd}") });
    outcome.user = config.user().clone().filter(|user| !user.is_empty());
    outcome.default_cmd = config.entrypoint().iter().chain(config.cmd()).flatten().cloned().collect();
    outcome.labels = config.labels().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    outcome
}

fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, TemplateError> {
    serde_json::from_slice(bytes).map_err(|error| TemplateError::image(format!("{what} cannot be read: {error}")))
}
