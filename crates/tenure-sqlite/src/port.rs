//! The port: each method of [`Store`] is one closure for the writer, or one read.

use crate::{SqliteStore, audit, clock, exec, idempotency, key, preview, retention, session, template};
use async_trait::async_trait;
use serde_json::Value;
use std::fs::File;
use tenure_session::{EnvironmentState, ExecId, KeyId, Session, SessionId, State, Timestamp, UserId};
use tenure_store::*;

#[async_trait]
impl Store for SqliteStore {
    async fn probe(&self) -> Result<(), StoreError> {
        self.change(clock::probe).await
    }

    async fn backup(&self) -> Result<File, StoreError> {
        self.copy().await
    }

    async fn clock_get(&self) -> Result<Option<ClockAnchor>, StoreError> {
        self.point(clock::get).await
    }

    async fn clock_put(&self, anchor: ClockAnchor) -> Result<(), StoreError> {
        self.change(move |writing| clock::put(writing, &anchor)).await
    }

    async fn session_create(&self, create: SessionCreate) -> Result<SessionCreated, StoreError> {
        self.change(move |writing| session::create(writing, &create)).await
    }

    async fn session_get(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let id = id.clone();
        self.point(move |sql| session::get(sql, &id)).await
    }

    async fn session_list(&self, filter: SessionFilter, page: PageRequest) -> Result<Page<Session>, StoreError> {
        self.list(move |sql| session::list(sql, &filter, &page)).await
    }

    async fn session_move(&self, change: SessionMove) -> Result<Changed, StoreError> {
        self.change(move |writing| session::move_to(writing, &change)).await
    }

    async fn session_end(&self, change: SessionEnd) -> Result<Changed, StoreError> {
        self.change(move |writing| session::end(writing, &change)).await
    }

    async fn session_delete(&self, change: SessionDelete) -> Result<Changed, StoreError> {
        self.change(move |writing| session::delete(writing, &change)).await
    }

    async fn session_undelete(&self, id: &SessionId, at: Timestamp, entry: AuditDraft) -> Result<Changed, StoreError> {
        let id = id.clone();
        self.change(move |writing| session::undelete(writing, &id, at, &entry)).await
    }

    async fn session_extend(&self, change: SessionExtend) -> Result<Changed, StoreError> {
        self.change(move |writing| session::extend(writing, &change)).await
    }

    async fn session_activity(&self, id: &SessionId, at: Timestamp, kind: &str) -> Result<(), StoreError> {
        let (id, kind) = (id.clone(), kind.to_owned());
        self.change(move |writing| session::was_worked_in(writing, &id, at, &kind)).await
    }

    async fn session_attach(&self, change: SessionAttach) -> Result<Changed, StoreError> {
        self.change(move |writing| session::attach(writing, &change)).await
    }

    async fn session_environment(
        &self,
        id: &SessionId,
        generation: u64,
        state: EnvironmentState,
        at: Timestamp,
        entry: Option<AuditDraft>,
    ) -> Result<Changed, StoreError> {
        let id = id.clone();
        self.change(move |writing| session::environment(writing, &id, generation, state, at, entry.as_ref())).await
    }

    async fn session_remake(&self, change: SessionRemake) -> Result<Changed, StoreError> {
        self.change(move |writing| session::remake(writing, &change)).await
    }

    async fn session_document(&self, id: &SessionId) -> Result<Option<Value>, StoreError> {
        let id = id.clone();
        self.list(move |sql| session::document(sql, &id)).await
    }

    async fn session_unfinished(&self, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>, StoreError> {
        self.list(move |sql| session::unfinished(sql, after.as_ref(), limit)).await
    }

    async fn session_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Session>, StoreError> {
        loop {
            let (due, early) = self.list(move |sql| session::due(sql, now, limit)).await?;
            if early.is_empty() {
                return Ok(due);
            }
            // What was worked in since its deadline was written stands in the way of those that are due: it is moved, and looked for once more.
            self.change(move |writing| session::refresh(writing, &early)).await?;
        }
    }

    async fn session_count(&self) -> Result<Vec<(State, u64)>, StoreError> {
        self.list(session::count).await
    }

    async fn lease_take(&self, change: LeaseTaking) -> Result<Changed, StoreError> {
        self.change(move |writing| session::take(writing, &change)).await
    }

    async fn lease_renew(&self, beat: LeaseBeat) -> Result<LeaseRenewed, StoreError> {
        self.change_by_one_statement(move |writing| session::renew(writing, &beat)).await
    }

    async fn lease_release(&self, change: LeaseGivingUp) -> Result<Changed, StoreError> {
        self.change(move |writing| session::release(writing, &change)).await
    }

    async fn sessions_shift(&self, shift: SessionsShift) -> Result<u64, StoreError> {
        self.change(move |writing| session::shift(writing, &shift)).await
    }

    async fn exec_intend(&self, intent: ExecIntent) -> Result<ExecIntended, StoreError> {
        self.change(move |writing| exec::intend(writing, &intent)).await
    }

    async fn exec_started(&self, id: &ExecId, at: Timestamp) -> Result<(), StoreError> {
        let id = id.clone();
        self.change(move |writing| exec::started(writing, &id, at)).await
    }

    async fn exec_settle(
        &self,
        id: &ExecId,
        outcome: ExecOutcome,
        entry: Option<AuditDraft>,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        self.change(move |writing| exec::settle(writing, &id, &outcome, entry.as_ref())).await
    }

    async fn exec_get(&self, session_id: &SessionId, id: &ExecId) -> Result<Option<ExecRecord>, StoreError> {
        let (session_id, id) = (session_id.clone(), id.clone());
        let in_ledger = {
            let (session_id, id) = (session_id.clone(), id.clone());
            self.point(move |sql| exec::get(sql, &session_id, &id)).await?
        };
        match in_ledger {
            Some(record) => Ok(Some(record)),
            None => self.list(move |sql| exec::get_archived(sql, &session_id, &id)).await,
        }
    }

    async fn exec_list(&self, session_id: &SessionId, page: PageRequest) -> Result<Page<ExecRecord>, StoreError> {
        let session_id = session_id.clone();
        self.list(move |sql| exec::list(sql, &session_id, &page)).await
    }

    async fn exec_unsettled(&self, session_id: &SessionId) -> Result<Vec<ExecRecord>, StoreError> {
        let session_id = session_id.clone();
        self.list(move |sql| exec::unsettled(sql, &session_id)).await
    }

    async fn idempotency_get(&self, user: &UserId, key: &str) -> Result<Option<IdempotencyRecord>, StoreError> {
        let (user, key) = (user.clone(), key.to_owned());
        self.point(move |sql| idempotency::get(sql, &user, &key)).await
    }

    async fn idempotency_answer(&self, user: &UserId, key: &str, answer: StoredAnswer) -> Result<(), StoreError> {
        let (user, key) = (user.clone(), key.to_owned());
        self.change(move |writing| idempotency::answer(writing, &user, &key, &answer)).await
    }

    async fn preview_put(&self, preview: PreviewRecord, entry: AuditDraft) -> Result<(), StoreError> {
        self.change(move |writing| preview::put(writing, &preview, &entry)).await
    }

    async fn preview_list(&self, session_id: &SessionId) -> Result<Vec<PreviewRecord>, StoreError> {
        let session_id = session_id.clone();
        self.point(move |sql| preview::list(sql, &session_id)).await
    }

    async fn preview_remove(&self, session_id: &SessionId, port: u16, entry: AuditDraft) -> Result<bool, StoreError> {
        let session_id = session_id.clone();
        self.change(move |writing| preview::remove(writing, &session_id, port, &entry)).await
    }

    async fn retention_due(&self, due: RetentionDue) -> Result<Vec<Session>, StoreError> {
        self.list(move |sql| retention::due(sql, &due)).await
    }

    async fn retention_content(&self, id: &SessionId) -> Result<Option<ArchiveContent>, StoreError> {
        let id = id.clone();
        self.list(move |sql| retention::content(sql, &id)).await
    }

    async fn retention_record(&self, id: &SessionId) -> Result<Option<ArchiveRecord>, StoreError> {
        let id = id.clone();
        self.point(move |sql| retention::record(sql, &id)).await
    }

    async fn retention_archive(&self, change: RetentionArchive) -> Result<Changed, StoreError> {
        self.change(move |writing| retention::move_in(writing, &change)).await
    }

    async fn retention_purge(&self, change: RetentionPurge) -> Result<Changed, StoreError> {
        self.change(move |writing| retention::purge(writing, &change)).await
    }

    async fn retention_unsettled(&self, limit: u32) -> Result<Vec<ArchiveRecord>, StoreError> {
        self.list(move |sql| retention::unsettled(sql, limit)).await
    }

    async fn retention_settled(&self, id: &SessionId, purged: bool) -> Result<(), StoreError> {
        let id = id.clone();
        self.change(move |writing| retention::settled(writing, &id, purged)).await?;
        if purged {
            self.empty_log();
        }
        Ok(())
    }

    async fn key_create(&self, key: KeyRecord, entry: AuditDraft) -> Result<(), StoreError> {
        self.change(move |writing| key::create(writing, &key, &entry)).await
    }

    async fn key_list(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.list(key::list).await
    }

    async fn key_revoke(&self, id: &KeyId, at: Timestamp, entry: AuditDraft) -> Result<Option<KeyRecord>, StoreError> {
        let id = id.clone();
        self.change(move |writing| key::revoke(writing, &id, at, &entry)).await
    }

    async fn key_rotate(
        &self,
        id: &KeyId,
        digest: &str,
        _at: Timestamp,
        entry: AuditDraft,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let (id, digest) = (id.clone(), digest.to_owned());
        self.change(move |writing| key::rotate(writing, &id, &digest, &entry)).await
    }

    async fn template_put(&self, template: TemplateRecord, entry: AuditDraft) -> Result<TemplateRecord, StoreError> {
        self.change(move |writing| template::put(writing, &template, &entry)).await
    }

    async fn template_get(&self, name: &str, version: Option<u32>) -> Result<Option<TemplateRecord>, StoreError> {
        let name = name.to_owned();
        self.point(move |sql| template::get(sql, &name, version)).await
    }

    async fn template_list(&self) -> Result<Vec<TemplateRecord>, StoreError> {
        self.list(template::list).await
    }

    async fn template_remove(
        &self,
        name: &str,
        version: Option<u32>,
        at: Timestamp,
        entry: AuditDraft,
    ) -> Result<u32, StoreError> {
        let name = name.to_owned();
        self.change(move |writing| template::remove(writing, &name, version, at, &entry)).await
    }

    async fn audit_append(&self, entries: Vec<AuditDraft>) -> Result<(), StoreError> {
        self.change(move |writing| entries.iter().try_for_each(|entry| audit::append(writing, entry))).await
    }

    async fn audit_list(&self, filter: AuditFilter, page: PageRequest) -> Result<Page<AuditEntry>, StoreError> {
        self.list(move |sql| audit::list(sql, &filter, &page)).await
    }

    async fn audit_heads(&self, from: u64, limit: u32) -> Result<Vec<SignedHead>, StoreError> {
        self.list(move |sql| audit::heads(sql, from, limit)).await
    }
}
