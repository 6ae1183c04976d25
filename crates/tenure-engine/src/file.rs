//! Files of a session: read, written, listed and watched by its agent, with the tenant's own rights (EN-5).

use crate::call::Call;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::permit::Permit;
use futures_util::{Stream, StreamExt};
use serde_json::json;
use std::pin::pin;
use tenure_environment::agent::{Change, FileReader, Watcher};
use tenure_environment::protocol::{Entry, Stat};
use tenure_session::{Operation, Timestamp};

pub use bytes::Bytes;

/// Most entries of one directory in an answer.
const ENTRIES_MAX: usize = 100_000;

/// Most characters of a path in an audit entry.
const AUDITED_CHARS: usize = 1024;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// The path, as it was understood.
    pub path: String,
    /// What is there, if anything.
    pub stat: Option<Stat>,
    /// In which life of the environment.
    pub generation: u64,
}

/// What is in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirListing {
    /// The path, as it was understood.
    pub path: String,
    /// What is in it, by name.
    pub entries: Vec<Entry>,
    /// Whether there is more.
    pub truncated: bool,
    /// In which life of the environment.
    pub generation: u64,
}

/// A file on its way out.
pub struct FileContent {
    /// What it was when it was opened.
    pub stat: Stat,
    /// In which life of the environment.
    pub generation: u64,
    permit: Permit,
    reader: FileReader,
}

/// Changes below a path, as they happen.
pub struct FileChanges {
    permit: Permit,
    watcher: Watcher,
}

impl FileContent {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        let reader = &mut self.reader;
        let chunk = self.permit.race(async { Ok(reader.chunk().await?) }).await?;
        Ok(chunk.map(Bytes::from))
    }
}

impl FileChanges {
    /// The next change.
    pub async fn next(&mut self) -> Result<Change, EngineError> {
        let watcher = &mut self.watcher;
        self.permit.race(async { Ok(watcher.next().await?) }).await
    }
}

impl Engine {
    /// What is at a path.
    pub async fn file_stat(&self, call: &Call, id: &str, path: &str) -> Result<FileStat, EngineError> {
        let permit = self.admit(call, id, Operation::FileStat).await?;
        let path = absolute(path)?;
        let environment = permit.environment()?;
        let stat = permit.race(async { Ok(environment.connect().await?.stat(&path).await?) }).await?;
        Ok(FileStat { path, stat, generation: environment.generation().0 })
    }

    /// What is in a directory.
    pub async fn dir_list(&self, call: &Call, id: &str, path: &str) -> Result<DirListing, EngineError> {
        let permit = self.admit(call, id, Operation::DirList).await?;
        let path = absolute(path)?;
        let environment = permit.environment()?;
        let listed = permit.race(async { Ok(environment.connect().await?.list(&path, ENTRIES_MAX).await?) }).await?;
        let (mut entries, truncated) = (listed.entries, listed.truncated);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(DirListing { path, entries, truncated, generation: environment.generation().0 })
    }

    /// Reads a file, from an offset on.
    pub async fn file_read(
        &self,
        call: &Call,
        id: &str,
        path: &str,
        range: (u64, Option<u64>),
    ) -> Result<FileContent, EngineError> {
        let permit = self.admit(call, id, Operation::FileRead).await?;
        let path = absolute(path)?;
        let environment = permit.environment()?;
        let opened = async { Ok(environment.connect().await?.file_read(&path, range.0, range.1).await?) };
        let (stat, reader) = permit.race(opened).await?;
        Ok(FileContent { stat, generation: environment.generation().0, permit, reader })
    }

    /// Writes a file from these bytes, as they come. It appears whole or not at all; its size.
    pub async fn file_write<E>(
        &self,
        call: &Call,
        id: &str,
        path: &str,
        content: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<u64, EngineError>
    where
        EngineError: From<E>,
    {
        let permit = self.admit(call, id, Operation::FileWrite).await?;
        let path = absolute(path)?;
        let environment = permit.environment()?;
        let mut content = pin!(content);
        let writer = permit
            .race(async {
                let mut writer = environment.connect().await?.file_write(&path, None).await?;
                while let Some(chunk) = content.next().await {
                    writer.write(&chunk?).await?;
                }
                Ok(writer)
            })
            .await?;
        let (engine, call) = (self.clone(), call.clone());
        // What is written is in the audit, also where the caller has gone.
        self.apart(async move {
            let (size, _) = permit.race_whole(async { Ok(writer.finish().await?) }).await?;
            let metadata = json!({ "path": audited(&path), "size": size });
            let entry = draft::by_caller(&call, permit.session(), Operation::FileWrite, engine.now(), metadata);
            engine.audit(entry).await.map(|()| size)
        })
        .await
    }

    /// Deletes what is at a path; a directory with all it holds where that is said.
    pub async fn file_delete(&self, call: &Call, id: &str, path: &str, recursive: bool) -> Result<(), EngineError> {
        let permit = self.admit(call, id, Operation::FileDelete).await?;
        let path = absolute(path)?;
        let environment = permit.environment()?;
        let (engine, call) = (self.clone(), call.clone());
        self.apart(async move {
            permit.race_whole(async { Ok(environment.connect().await?.file_delete(&path, recursive).await?) }).await?;
            let metadata = json!({ "path": audited(&path), "recursive": recursive });
            engine.audit(draft::by_caller(&call, permit.session(), Operation::FileDelete, engine.now(), metadata)).await
        })
        .await
    }

    /// Follows changes below a path.
    pub async fn file_watch(
        &self,
        call: &Call,
        id: &str,
        path: &str,
        recursive: bool,
    ) -> Result<FileChanges, EngineError> {
        let permit = self.admit(call, id, Operation::FileWatch).await?;
        let path = absolute(path)?;
        let environment = permit.environment()?;
        let watched = async { Ok(environment.connect().await?.watch(&path, recursive).await?) };
        let watcher = permit.race(watched).await?;
        Ok(FileChanges { permit, watcher })
    }
}

/// When a file was last changed, as it is written in answers.
pub fn modified_at(stat: &Stat) -> Timestamp {
    Timestamp::from_ms(stat.modified_ms)
}

/// As much of a path as an audit entry takes.
fn audited(path: &str) -> String {
    path.chars().take(AUDITED_CHARS).collect()
}

/// Paths that do not begin at the root begin at the workspace. Everything else about them is the agent's to judge, inside.
fn absolute(path: &str) -> Result<String, EngineError> {
    match path {
        "" => Err(EngineError::Invalid { missing: vec!["path".to_owned()], invalid: Vec::new() }),
        path if path.contains('\0') => Err(EngineError::field("path", "holds a zero byte")),
        path if path.starts_with('/') => Ok(path.to_owned()),
        path => Ok(format!("/workspace/{path}")),
    }
}
