//! Denied access, counted per caller and minute, so that nobody can fill the audit with it (TR-4).

use crate::engine::Engine;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenure_session::{Operation, Trigger};
use tenure_store::AuditDraft;

/// How long denials are counted before they are written down.
const WINDOW: Duration = Duration::from_secs(60);

/// How many callers are told apart within a window; the rest is counted together.
const CALLERS_MAX: usize = 1000;

/// Denials that are not written down yet.
#[derive(Default)]
pub(crate) struct Denials {
    counted: Mutex<HashMap<(String, &'static str), u64>>,
}

impl Denials {
    /// Counts one. The first of a window sees to it that they are written down at its end.
    pub fn note(&self, engine: &Engine, actor: &str, operation: Operation) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let begins = counted.is_empty();
        let actor = if counted.len() < CALLERS_MAX { actor } else { "others" };
        *counted.entry((actor.to_owned(), operation.row().name)).or_insert(0) += 1;
        if begins {
            let engine = engine.clone();
            tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                engine.denials_write().await;
            });
        }
    }

    fn take(&self) -> HashMap<(String, &'static str), u64> {
        std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// Writes down what was counted: at the end of a window, and at the end of the service.
    pub async fn denials_write(&self) {
        let at = self.now();
        let entry = |((actor, operation), count): ((String, &'static str), u64)| AuditDraft {
            session_id: None,
            at,
            old_state: None,
            new_state: None,
            trigger: Trigger::ApiCall,
            actor,
            action: "access_denied".to_owned(),
            reason: None,
            metadata: json!({ "operation": operation, "count": count }),
        };
        let entries: Vec<AuditDraft> = self.denials().take().into_iter().map(entry).collect();
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.store().audit_append(entries).await {
            tracing::error!(%error, "denials were not written into the audit");
        }
    }
}
