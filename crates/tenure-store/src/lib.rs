//! What is remembered: the records, the [`Store`] that keeps them, and the suite that every store must pass.
//!
//! A store has no general update. Each method is one meaningful change, guarded by compare and set inside the change itself, with its audit entries in
//! the same transaction; when it returns `Ok`, the change survives a power cut. No method relies on there being one process, and nothing is keyed by a
//! path of this machine.

pub mod audit;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod exec;
mod idempotency;
mod key;
mod lease;
mod metered;
mod page;
mod preview;
mod retention;
mod session;
mod store;
mod template;

pub use audit::{AuditDraft, AuditEntry, AuditFilter, SignedHead};
pub use clock::ClockAnchor;
pub use error::StoreError;
pub use exec::{ExecIntended, ExecIntent, ExecLedgerState, ExecOutcome, ExecRecord, StreamTotal};
pub use idempotency::{IdempotencyClaim, IdempotencyRecord, StoredAnswer};
pub use key::KeyRecord;
pub use lease::{LeaseBeat, LeaseGivingUp, LeaseRenewed, LeaseTaking, SessionsShift};
pub use metered::Metered;
pub use page::{Page, PageRequest};
pub use preview::PreviewRecord;
pub use retention::{
    ArchiveContent, ArchiveRecord, ContentDigest, NotPacked, PackedContent, RetentionArchive, RetentionDue,
    RetentionPurge, RetentionQueue,
};
pub use session::{
    Changed, EndGuard, SessionAttach, SessionCreate, SessionCreated, SessionDelete, SessionEnd, SessionExtend,
    SessionFilter, SessionMove, SessionRemake,
};
pub use store::Store;
pub use template::{Profile, TemplateRecord};
pub use tenure_session::LeaseTerms;
