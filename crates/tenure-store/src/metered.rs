//! Any store, measured: how often each method was called, how that ended, and how long it took (TR-9, MT-1).

use crate::{
    ArchiveContent, ArchiveRecord, AuditDraft, AuditEntry, AuditFilter, Changed, ClockAnchor, ExecIntended, ExecIntent,
    ExecOutcome, ExecRecord, IdempotencyRecord, KeyRecord, LeaseBeat, LeaseGivingUp, LeaseRenewed, LeaseTaking, Page,
    PageRequest, PreviewRecord, RetentionArchive, RetentionDue, RetentionPurge, SessionAttach, SessionCreate,
    SessionCreated, SessionDelete, SessionEnd, SessionExtend, SessionFilter, SessionMove, SessionRemake, SessionsShift,
    SignedHead, Store, StoreError, StoredAnswer, TemplateRecord,
};
use async_trait::async_trait;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};
use prometheus_client::registry::{Registry, Unit};
use serde_json::Value;
use std::fs::File;
use std::time::Instant;
use tenure_session::{EnvironmentState, ExecId, KeyId, Session, SessionId, State, Timestamp, UserId};

/// Upper bounds of the classes of latency, in seconds: from a read of the cache to a disk that hardly answers.
const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types, reason = "the names are the label's values")]
enum Outcome {
    ok,
    unavailable,
    full,
    unknown,
    corrupt,
    /// Whoever called did not wait for the end.
    abandoned,
}

impl Outcome {
    fn of<T>(result: &Result<T, StoreError>) -> Outcome {
        match result {
            Ok(_) => Outcome::ok,
            Err(StoreError::Unavailable(_)) => Outcome::unavailable,
            Err(StoreError::Full(_)) => Outcome::full,
            Err(StoreError::Unknown(_)) => Outcome::unknown,
            Err(StoreError::Corrupt(_)) => Outcome::corrupt,
            // The store did what it is for: it told its caller.
            Err(StoreError::Cursor(_)) => Outcome::ok,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: &'static str,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

type Durations = Family<Method, Histogram, fn() -> Histogram>;

/// A store that counts and times every call to the one inside it. Its metrics:
///
/// - `tenure_store_requests_total{method, outcome}`; the outcome is `ok`, `unavailable`, `full`, `unknown`, `corrupt`, or `abandoned` where the caller did
///   not wait for it. What a guard refuses is `ok`: the store did what it is for.
/// - `tenure_store_request_duration_seconds{method}`, whatever the outcome.
pub struct Metered<S> {
    inner: S,
    requests: Family<Call, Counter>,
    durations: Durations,
    now: fn() -> Instant,
}

impl<S> Metered<S> {
    /// Wraps a store and registers its metrics. The clock is one that never goes back: [`Instant::now`].
    pub fn new(inner: S, registry: &mut Registry, now: fn() -> Instant) -> Metered<S> {
        let requests = Family::<Call, Counter>::default();
        let durations = Durations::new_with_constructor(|| Histogram::new(BUCKETS));
        // Every series is there from the start, so that a rate over it is right from the first error on.
        for method in METHODS {
            drop(requests.get_or_create(&Call { method, outcome: Outcome::ok }));
            drop(durations.get_or_create(&Method { method }));
        }
        registry.register("tenure_store_requests", "Calls to the store", requests.clone());
        let help = "How long calls to the store took";
        registry.register_with_unit("tenure_store_request_duration", help, Unit::Seconds, durations.clone());
        Metered { inner, requests, durations, now }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    async fn measure<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut running = Running { metered: self, method, began: (self.now)(), outcome: Outcome::abandoned };
        let result = call.await;
        running.outcome = Outcome::of(&result);
        result
    }
}

/// A call that has not been counted yet. Counted where it is dropped: that happens also to calls whose caller goes away.
struct Running<'a, S> {
    metered: &'a Metered<S>,
    method: &'static str,
    began: Instant,
    outcome: Outcome,
}

impl<S> Drop for Running<'_, S> {
    fn drop(&mut self) {
        let Running { metered, method, began, outcome } = *self;
        let took = (metered.now)().saturating_duration_since(began);
        metered.requests.get_or_create(&Call { method, outcome }).inc();
        metered.durations.get_or_create(&Method { method }).observe(took.as_secs_f64());
    }
}

/// All methods of the port, handed to another macro, for stores that wrap others. A method that the port has and this list does not have does not compile.
/// Whoever uses it imports the types that it names.
#[doc(hidden)]
#[macro_export]
macro_rules! every_store_method {
    ($what:ident) => {
        $what! {
            probe() -> ();
            backup() -> File;
            clock_get() -> Option<ClockAnchor>;
            clock_put(anchor: ClockAnchor) -> ();
            session_create(create: SessionCreate) -> SessionCreated;
            session_get(id: &SessionId) -> Option<Session>;
            session_list(filter: SessionFilter, page: PageRequest) -> Page<Session>;
            session_move(change: SessionMove) -> Changed;
            session_end(change: SessionEnd) -> Changed;
            session_delete(change: SessionDelete) -> Changed;
            session_undelete(id: &SessionId, at: Timestamp, entry: AuditDraft) -> Changed;
            session_extend(change: SessionExtend) -> Changed;
            session_activity(id: &SessionId, at: Timestamp, kind: &str) -> ();
            session_attach(change: SessionAttach) -> Changed;
            session_environment(id: &SessionId, generation: u64, state: EnvironmentState, at: Timestamp, entry: Option<AuditDraft>) -> Changed;
            session_remake(change: SessionRemake) -> Changed;
            session_document(id: &SessionId) -> Option<Value>;
            session_unfinished(after: Option<SessionId>, limit: u32) -> Vec<Session>;
            session_due(now: Timestamp, limit: u32) -> Vec<Session>;
            session_count() -> Vec<(State, u64)>;
            lease_take(change: LeaseTaking) -> Changed;
            lease_renew(beat: LeaseBeat) -> LeaseRenewed;
            lease_release(change: LeaseGivingUp) -> Changed;
            sessions_shift(shift: SessionsShift) -> u64;
            exec_intend(intent: ExecIntent) -> ExecIntended;
            exec_started(id: &ExecId, at: Timestamp) -> ();
            exec_settle(id: &ExecId, outcome: ExecOutcome, entry: Option<AuditDraft>) -> bool;
            exec_get(session_id: &SessionId, id: &ExecId) -> Option<ExecRecord>;
            exec_list(session_id: &SessionId, page: PageRequest) -> Page<ExecRecord>;
            exec_unsettled(session_id: &SessionId) -> Vec<ExecRecord>;
            idempotency_get(user: &UserId, key: &str) -> Option<IdempotencyRecord>;
            idempotency_answer(user: &UserId, key: &str, answer: StoredAnswer) -> ();
            preview_put(preview: PreviewRecord, entry: AuditDraft) -> ();
            preview_list(session_id: &SessionId) -> Vec<PreviewRecord>;
            preview_remove(session_id: &SessionId, port: u16, entry: AuditDraft) -> bool;
            retention_due(due: RetentionDue) -> Vec<Session>;
            retention_content(id: &SessionId) -> Option<ArchiveContent>;
            retention_record(id: &SessionId) -> Option<ArchiveRecord>;
            retention_archive(change: RetentionArchive) -> Changed;
            retention_purge(change: RetentionPurge) -> Changed;
            retention_unsettled(limit: u32) -> Vec<ArchiveRecord>;
            retention_settled(id: &SessionId, purged: bool) -> ();
            key_create(key: KeyRecord, entry: AuditDraft) -> ();
            key_list() -> Vec<KeyRecord>;
            key_revoke(id: &KeyId, at: Timestamp, entry: AuditDraft) -> Option<KeyRecord>;
            key_rotate(id: &KeyId, digest: &str, at: Timestamp, entry: AuditDraft) -> Option<KeyRecord>;
            template_put(template: TemplateRecord, entry: AuditDraft) -> TemplateRecord;
            template_get(name: &str, version: Option<u32>) -> Option<TemplateRecord>;
            template_list() -> Vec<TemplateRecord>;
            template_remove(name: &str, version: Option<u32>, at: Timestamp, entry: AuditDraft) -> u32;
            audit_append(entries: Vec<AuditDraft>) -> ();
            audit_list(filter: AuditFilter, page: PageRequest) -> Page<AuditEntry>;
            audit_heads(from: u64, limit: u32) -> Vec<SignedHead>;
        }
    };
}

macro_rules! measured {
    ($($method:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        const METHODS: &[&str] = &[$(stringify!($method)),+];

        #[async_trait]
        impl<S: Store> Store for Metered<S> {
            $(
                async fn $method(&self, $($name: $type),*) -> Result<$answer, StoreError> {
                    self.measure(stringify!($method), self.inner.$method($($name),*)).await
                }
            )+
        }
    };
}

every_store_method!(measured);

#[cfg(test)]
mod tests;
