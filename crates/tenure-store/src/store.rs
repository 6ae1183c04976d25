//! The port: everything that is ever asked of a store.

use crate::audit::{AuditDraft, AuditEntry, AuditFilter, SignedHead};
use crate::clock::ClockAnchor;
use crate::error::StoreError;
use crate::exec::{ExecIntended, ExecIntent, ExecOutcome, ExecRecord};
use crate::idempotency::{IdempotencyRecord, StoredAnswer};
use crate::key::KeyRecord;
use crate::lease::{LeaseBeat, LeaseGivingUp, LeaseRenewed, LeaseTaking, SessionsShift};
use crate::page::{Page, PageRequest};
use crate::preview::PreviewRecord;
use crate::retention::{ArchiveContent, ArchiveRecord, RetentionArchive, RetentionDue, RetentionPurge};
use crate::session::{
    Changed, SessionAttach, SessionCreate, SessionCreated, SessionDelete, SessionEnd, SessionExtend, SessionFilter,
    SessionMove, SessionRemake,
};
use crate::template::TemplateRecord;
use async_trait::async_trait;
use serde_json::Value;
use std::fs::File;
use tenure_session::{EnvironmentState, ExecId, KeyId, Session, SessionId, State, Timestamp, UserId};

/// Keeps what is remembered. See the crate's documentation for what every method promises.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes something and makes it durable, to say whether the store works.
    async fn probe(&self) -> Result<(), StoreError>;
    /// A copy of all that is kept, as it is at one instant, in the store's own form: a file without a name. The store goes on meanwhile.
    async fn backup(&self) -> Result<File, StoreError>;

    /// The anchor of the line of time, once there is one.
    async fn clock_get(&self) -> Result<Option<ClockAnchor>, StoreError>;
    /// Replaces the anchor.
    async fn clock_put(&self, anchor: ClockAnchor) -> Result<(), StoreError>;

    /// Makes a session.
    async fn session_create(&self, create: SessionCreate) -> Result<SessionCreated, StoreError>;
    /// Reads a session, deleted or not.
    async fn session_get(&self, id: &SessionId) -> Result<Option<Session>, StoreError>;
    /// Lists sessions, newest first.
    async fn session_list(&self, filter: SessionFilter, page: PageRequest) -> Result<Page<Session>, StoreError>;
    /// Moves a session from one live state to another.
    async fn session_move(&self, change: SessionMove) -> Result<Changed, StoreError>;
    /// Ends a session.
    async fn session_end(&self, change: SessionEnd) -> Result<Changed, StoreError>;
    /// Deletes a session. Refused where it is deleted already.
    async fn session_delete(&self, change: SessionDelete) -> Result<Changed, StoreError>;
    /// Brings a deleted session back, still ended. Refused where it is not deleted.
    async fn session_undelete(&self, id: &SessionId, at: Timestamp, entry: AuditDraft) -> Result<Changed, StoreError>;
    /// Gives a live session more time.
    async fn session_extend(&self, change: SessionExtend) -> Result<Changed, StoreError>;
    /// Remembers that a live session was worked in. An instant before what is stored changes nothing.
    async fn session_activity(&self, id: &SessionId, at: Timestamp, kind: &str) -> Result<(), StoreError>;
    /// Gives a live session that has no environment one, without moving its state (EN-1). Refused where it has one or has ended.
    async fn session_attach(&self, change: SessionAttach) -> Result<Changed, StoreError>;
    /// Remembers what became of a session's environment, in this life of it; another life is left alone, and refused.
    async fn session_environment(
        &self,
        id: &SessionId,
        generation: u64,
        state: EnvironmentState,
        at: Timestamp,
        entry: Option<AuditDraft>,
    ) -> Result<Changed, StoreError>;
    /// Begins another life of a session's environment, or remembers what became of it. Refused where another life is stored, or the session has ended.
    async fn session_remake(&self, change: SessionRemake) -> Result<Changed, StoreError>;
    /// The state document of a session.
    async fn session_document(&self, id: &SessionId) -> Result<Option<Value>, StoreError>;
    /// Sessions that live, or whose environment is not known to be gone, by ID: what a start has to look after.
    async fn session_unfinished(&self, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>, StoreError>;
    /// Live sessions whose verdict may have changed by now, earliest first. Costs what it returns.
    async fn session_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Session>, StoreError>;
    /// How many sessions are in each state, deleted and archived ones left out.
    async fn session_count(&self) -> Result<Vec<(State, u64)>, StoreError>;

    /// Takes the lease of a session.
    async fn lease_take(&self, change: LeaseTaking) -> Result<Changed, StoreError>;
    /// Renews the lease of a session: the one change that may be made tens of thousands of times a second.
    async fn lease_renew(&self, beat: LeaseBeat) -> Result<LeaseRenewed, StoreError>;
    /// Gives the lease of a session up.
    async fn lease_release(&self, change: LeaseGivingUp) -> Result<Changed, StoreError>;
    /// Moves the leases and idle limits of live sessions that ran out while the service was down, and says of how many sessions.
    async fn sessions_shift(&self, shift: SessionsShift) -> Result<u64, StoreError>;

    /// Puts an exec into the ledger.
    async fn exec_intend(&self, intent: ExecIntent) -> Result<ExecIntended, StoreError>;
    /// It runs. Changes nothing where it has ended already.
    async fn exec_started(&self, id: &ExecId, at: Timestamp) -> Result<(), StoreError>;
    /// It ended: written once. Whether this was the first.
    async fn exec_settle(
        &self,
        id: &ExecId,
        outcome: ExecOutcome,
        entry: Option<AuditDraft>,
    ) -> Result<bool, StoreError>;
    /// Reads one exec of a session.
    async fn exec_get(&self, session_id: &SessionId, id: &ExecId) -> Result<Option<ExecRecord>, StoreError>;
    /// Lists a session's execs, oldest first.
    async fn exec_list(&self, session_id: &SessionId, page: PageRequest) -> Result<Page<ExecRecord>, StoreError>;
    /// A session's execs that have no outcome.
    async fn exec_unsettled(&self, session_id: &SessionId) -> Result<Vec<ExecRecord>, StoreError>;

    /// Reads what a user's key was used for.
    async fn idempotency_get(&self, user: &UserId, key: &str) -> Result<Option<IdempotencyRecord>, StoreError>;
    /// Keeps the answer that was given, once.
    async fn idempotency_answer(&self, user: &UserId, key: &str, answer: StoredAnswer) -> Result<(), StoreError>;

    /// Registers a port; one that is registered stays as it is.
    async fn preview_put(&self, preview: PreviewRecord, entry: AuditDraft) -> Result<(), StoreError>;
    /// Lists a session's ports, lowest first.
    async fn preview_list(&self, session_id: &SessionId) -> Result<Vec<PreviewRecord>, StoreError>;
    /// Removes a port. Whether it was registered.
    async fn preview_remove(&self, session_id: &SessionId, port: u16, entry: AuditDraft) -> Result<bool, StoreError>;

    /// Sessions whose time in a queue has come, earliest first. Costs what it returns.
    async fn retention_due(&self, due: RetentionDue) -> Result<Vec<Session>, StoreError>;
    /// What goes into a session's archive, or went into it. `None` where there is no such session, or its content was purged.
    async fn retention_content(&self, id: &SessionId) -> Result<Option<ArchiveContent>, StoreError>;
    /// The archive of a session, without its content; `None` where it has none.
    async fn retention_record(&self, id: &SessionId) -> Result<Option<ArchiveRecord>, StoreError>;
    /// Moves what a session leaves behind into its archive, one way. Ledger and document are read as before.
    async fn retention_archive(&self, change: RetentionArchive) -> Result<Changed, StoreError>;
    /// Purges an archived session: its content, what was said about its end, the answers under its keys, and the metadata of its audit.
    async fn retention_purge(&self, change: RetentionPurge) -> Result<Changed, StoreError>;
    /// Archives whose files, kept elsewhere, may not agree with them yet, by ID: each from when it was made or purged until [`Store::retention_settled`].
    async fn retention_unsettled(&self, limit: u32) -> Result<Vec<ArchiveRecord>, StoreError>;
    /// The files of this archive agree with it, purged or not as it is said; otherwise nothing changes.
    async fn retention_settled(&self, id: &SessionId, purged: bool) -> Result<(), StoreError>;

    /// Keeps a key.
    async fn key_create(&self, key: KeyRecord, entry: AuditDraft) -> Result<(), StoreError>;
    /// Lists all keys, revoked ones too, oldest first.
    async fn key_list(&self) -> Result<Vec<KeyRecord>, StoreError>;
    /// Revokes a key, for ever. The key as it is then, or `None` where there is none.
    async fn key_revoke(&self, id: &KeyId, at: Timestamp, entry: AuditDraft) -> Result<Option<KeyRecord>, StoreError>;
    /// Gives a key that is not revoked another secret. The key as it is then, or `None`.
    async fn key_rotate(
        &self,
        id: &KeyId,
        digest: &str,
        at: Timestamp,
        entry: AuditDraft,
    ) -> Result<Option<KeyRecord>, StoreError>;

    /// Keeps a template as the next version of its name, and says which that is.
    async fn template_put(&self, template: TemplateRecord, entry: AuditDraft) -> Result<TemplateRecord, StoreError>;
    /// Reads a template: this version, or the newest that was not removed. A removed version is still read where it is named.
    async fn template_get(&self, name: &str, version: Option<u32>) -> Result<Option<TemplateRecord>, StoreError>;
    /// Lists the templates that were not removed, by name, then version.
    async fn template_list(&self) -> Result<Vec<TemplateRecord>, StoreError>;
    /// Removes a version, or all. How many there were.
    async fn template_remove(
        &self,
        name: &str,
        version: Option<u32>,
        at: Timestamp,
        entry: AuditDraft,
    ) -> Result<u32, StoreError>;

    /// Adds entries, in their order.
    async fn audit_append(&self, entries: Vec<AuditDraft>) -> Result<(), StoreError>;
    /// Lists entries, in the order of their positions.
    async fn audit_list(&self, filter: AuditFilter, page: PageRequest) -> Result<Page<AuditEntry>, StoreError>;
    /// Signed heads, oldest first, from this position on.
    async fn audit_heads(&self, from: u64, limit: u32) -> Result<Vec<SignedHead>, StoreError>;
}
