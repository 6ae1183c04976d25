//! The audit of everything: read, and checked from its first entry on (TR-4, TR-5).

use crate::call::Call;
use crate::draft;
use crate::engine::Engine;
use crate::error::EngineError;
use ed25519_dalek::VerifyingKey;
use serde_json::json;
use tenure_session::Operation;
use tenure_store::audit::{Verification, Verifier};
use tenure_store::{AuditEntry, AuditFilter, Page, PageRequest, SignedHead};

/// How much is read at once while the whole log is checked.
const VERIFY_PAGE: u32 = 1000;

impl Engine {
    /// Lists entries of the audit.
    pub async fn audit_list(
        &self,
        call: &Call,
        filter: AuditFilter,
        page: PageRequest,
    ) -> Result<Page<AuditEntry>, EngineError> {
        self.admit_service(call, Operation::AuditList)?;
        Ok(self.store().audit_list(filter, page).await?)
    }

    /// Reads the whole audit again, and names the first place where it is not as it was written. The heads from the file outside the store are handed in;
    /// those in the store are read here. Without a key signatures are not looked at.
    pub async fn audit_verify(
        &self,
        call: &Call,
        outside_heads: Vec<SignedHead>,
        key: Option<VerifyingKey>,
    ) -> Result<Verification, EngineError> {
        self.admit_service(call, Operation::AuditVerify)?;
        let found = self.audit_read_again(outside_heads, key).await?;
        let metadata = json!({
            "entries": found.entries,
            "chains": found.chains,
            "heads_checked": found.heads_checked,
            "problem": found.problem.as_ref().map(ToString::to_string),
        });
        self.meters().audit_verified(found.problem.is_none());
        if let Some(problem) = &found.problem {
            tracing::error!(%problem, "the audit is not as it was written");
        }
        self.audit(draft::of_service(call, Operation::AuditVerify, self.now(), metadata)).await?;
        Ok(found)
    }

    async fn audit_read_again(
        &self,
        outside_heads: Vec<SignedHead>,
        key: Option<VerifyingKey>,
    ) -> Result<Verification, EngineError> {
        let mut verifier = Verifier::new(key);
        outside_heads.iter().for_each(|head| verifier.head(head));
        let mut from = 0;
        loop {
            let heads = self.store().audit_heads(from, VERIFY_PAGE).await?;
            heads.iter().for_each(|head| verifier.head(head));
            match heads.last() {
                Some(last) if heads.len() == VERIFY_PAGE as usize => from = last.position + 1,
                _ => break,
            }
        }
        let mut cursor = None;
        loop {
            let page = PageRequest { limit: VERIFY_PAGE, cursor };
            let page = self.store().audit_list(AuditFilter::default(), page).await?;
            page.items.iter().for_each(|entry| verifier.entry(entry));
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(verifier.finish()),
            }
        }
    }
}
