//! Files, directories and their changes.

use crate::wire::words;
use serde::Serialize;
use tenure_engine::{DirListing, FileKind, FileStat, modified_at};
use tenure_session::Timestamp;
use utoipa::ToSchema;

/// What is at a path.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FileStat)]
pub struct StatBody<'a> {
    /// The path, as it was understood.
    path: &'a str,
    /// Whether anything is there.
    exists: bool,
    /// What it is.
    #[serde(rename = "type")]
    #[schema(value_type = Option<words::FileType>)]
    kind: Option<FileKind>,
    /// Its size in bytes.
    size: Option<u64>,
    /// Its permission bits.
    mode: Option<u32>,
    /// When its content last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    modified_at: Option<Timestamp>,
    /// In which life of the environment.
    generation: u64,
}

impl<'a> StatBody<'a> {
    /// What was found.
    pub fn new(found: &'a FileStat) -> StatBody<'a> {
        let stat = found.stat.as_ref();
        StatBody {
            path: &found.path,
            exists: stat.is_some(),
            kind: stat.map(|stat| stat.kind),
            size: stat.map(|stat| stat.size),
            mode: stat.map(|stat| stat.mode),
            modified_at: stat.map(modified_at),
            generation: found.generation,
        }
    }
}

/// What is in a directory.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DirListing)]
pub struct DirBody<'a> {
    /// The path, as it was understood.
    path: &'a str,
    /// What is in it, by name.
    entries: Vec<EntryBody<'a>>,
    /// Whether there is more.
    truncated: bool,
    /// In which life of the environment.
    generation: u64,
}

/// One entry of a directory.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DirEntry)]
pub struct EntryBody<'a> {
    /// Its name.
    name: &'a str,
    /// What it is, links not followed.
    #[serde(rename = "type")]
    #[schema(value_type = words::FileType)]
    kind: FileKind,
    /// Its size in bytes.
    size: u64,
    /// Its permission bits.
    mode: u32,
    /// When its content last changed.
    #[schema(value_type = String, format = DateTime)]
    modified_at: Timestamp,
}

impl<'a> DirBody<'a> {
    /// What was found.
    pub fn new(listing: &'a DirListing) -> DirBody<'a> {
        let entries = listing.entries.iter().map(|entry| EntryBody {
            name: &entry.name,
            kind: entry.stat.kind,
            size: entry.stat.size,
            mode: entry.stat.mode,
            modified_at: modified_at(&entry.stat),
        });
        DirBody {
            path: &listing.path,
            entries: entries.collect(),
            truncated: listing.truncated,
            generation: listing.generation,
        }
    }
}

/// The event `change`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeEvent<'a> {
    /// What happened: `created`, `modified`, `deleted`, or `overflow` where some changes are missing.
    #[schema(value_type = String)]
    pub kind: tenure_engine::ChangeKind,
    /// Where.
    pub path: &'a str,
}
