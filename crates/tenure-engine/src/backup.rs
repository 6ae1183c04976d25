//! A copy of everything that is remembered, from under the service at work.

use crate::call::Call;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use serde_json::json;
use std::fs::File;
use tenure_session::Operation;

/// A copy, and its size.
#[derive(Debug)]
pub struct Backup {
    /// It has no name; whoever holds it holds all there is of it.
    pub file: File,
    /// How long it is, in bytes.
    pub bytes: u64,
}

impl Engine {
    /// Copies the store as it is at one instant. Programs' output is in files, and not in it.
    pub async fn backup(&self, call: &Call) -> Result<Backup, EngineError> {
        self.admit_service(call, Operation::Backup)?;
        self.refuse_while_low()?;
        let file = self.store().backup().await?;
        let bytes = file.metadata().map_err(|error| EngineError::Internal(format!("the copy: {error}")))?.len();
        self.audit(draft::of_service(call, Operation::Backup, self.now(), json!({ "bytes": bytes }))).await?;
        Ok(Backup { file, bytes })
    }
}
