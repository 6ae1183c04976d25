//! Following a program from its first byte to its end: what it prints comes from its files, so that nobody who listens holds it up.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::output::{OutputStream, output_unavailable};
use crate::permit::Permit;
use crate::running::{Running, Seen};
use std::sync::Arc;
use tenure_store::ExecRecord;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

/// Most bytes in one event.
const EVENT_BYTES: usize = 64 << 10;

/// What comes from a program that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEvent {
    /// It was started; its row.
    Started(Box<ExecRecord>),
    /// It printed this.
    Stdout(Vec<u8>),
    /// It printed this as error output.
    Stderr(Vec<u8>),
    /// It ended; nothing follows.
    Exit(Box<ExecRecord>),
}

/// Follows a program from its first byte to its end.
pub struct ExecFollow {
    engine: Engine,
    record: ExecRecord,
    running: Option<Arc<Running>>,
    seen: Option<watch::Receiver<Seen>>,
    permit: Option<Arc<Permit>>,
    read: [u64; 2],
    told_start: bool,
    over: bool,
}

impl ExecFollow {
    pub(crate) fn new(
        engine: Engine,
        record: ExecRecord,
        running: Option<Arc<Running>>,
        permit: Option<Arc<Permit>>,
    ) -> Result<ExecFollow, EngineError> {
        let seen = running.as_ref().map(|running| running.watch());
        Ok(ExecFollow { engine, record, running, seen, permit, read: [0; 2], told_start: false, over: false })
    }

    /// What comes next; `None` after the end.
    pub async fn next(&mut self) -> Result<Option<ExecEvent>, EngineError> {
        if !std::mem::replace(&mut self.told_start, true) {
            return Ok(Some(ExecEvent::Started(Box::new(self.record.clone()))));
        }
        while !self.over {
            // Looked at before the files are: what was written by then is in them.
            let ended = match &mut self.seen {
                Some(seen) => seen.borrow_and_update().has_ended(),
                None => true,
            };
            for (index, stream) in [OutputStream::Stdout, OutputStream::Stderr].into_iter().enumerate() {
                let bytes = self.read_more(index, stream).await?;
                if !bytes.is_empty() {
                    return Ok(Some(match stream {
                        OutputStream::Stdout => ExecEvent::Stdout(bytes),
                        OutputStream::Stderr => ExecEvent::Stderr(bytes),
                    }));
                }
            }
            if ended {
                self.over = true;
                let record = match &self.running {
                    Some(running) => running.record_now(),
                    None => self.record.clone(),
                };
                // Whoever asked for it hears of the end; whoever comes back to it later, of how it ended.
                if self.permit.is_some() {
                    self.engine.exec_ended_alone(&record).await?;
                }
                return Ok(Some(ExecEvent::Exit(Box::new(record))));
            }
            self.wait().await?;
        }
        Ok(None)
    }

    async fn wait(&mut self) -> Result<(), EngineError> {
        let Some(seen) = &mut self.seen else { return Ok(()) };
        let changed = async {
            // The sender lives in the table for as long as this is asked.
            let _ = seen.changed().await;
            Ok(())
        };
        match &self.permit {
            Some(permit) => permit.race(changed).await,
            None => changed.await,
        }
    }

    async fn read_more(&mut self, index: usize, stream: OutputStream) -> Result<Vec<u8>, EngineError> {
        use tokio::io::AsyncSeekExt;
        let path = self.engine.output_path(&self.record.session_id, &self.record.id, stream);
        let read = async {
            let mut file = tokio::fs::File::open(path).await?;
            file.seek(std::io::SeekFrom::Start(self.read[index])).await?;
            let mut bytes = Vec::new();
            file.take(EVENT_BYTES as u64).read_to_end(&mut bytes).await?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = match read.await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(output_unavailable(&error)),
        };
        self.read[index] += bytes.len() as u64;
        Ok(bytes)
    }
}
