//! The orchestrator: the gate, one code path per operation, and what follows when a session ends.
//!
//! ```text
//! call ─► gate.rs ─► permit.rs ─► the operation's own file ─► store, environment
//!            │           │ counts as activity, races its deadline, ends with the session
//!            ▼           ▼
//!       ending.rs: recorded first, then whoever is in flight is told, then the environment goes
//! ```
//!
//! What is not stored can be lost: handles of environments, work in progress, who waits for what. Nothing here knows HTTP, SQL or Linux.

mod access;
mod archived_output;
mod audit;
mod backup;
mod bases;
mod call;
mod cleanup;
mod code;
mod create;
mod deadline;
mod denial;
mod downtime;
mod draft;
mod ending;
mod engine;
mod environment;
mod error;
mod events;
mod exec;
mod fence;
mod file;
mod follow;
mod gate;
mod host;
mod idempotency;
mod key;
mod keys;
mod launch;
mod lease;
mod live;
mod meters;
mod metrics;
mod output;
mod output_room;
mod permit;
mod preview;
mod provision;
mod reached;
mod recovery;
mod rejoin;
mod remake;
mod retention;
mod running;
mod scrollback;
mod session;
mod settings;
mod sweeper;
mod template;
mod terminal;
mod timeline;
mod waiting;

pub use access::AccessGranted;
pub use backup::Backup;
pub use bases::{BaseError, BaseSource, Bases};
pub use call::{Call, IdempotencyKey};
pub use code::{Code, CodeRow};
pub use create::{CreateRequest, EnvironmentKind};
pub use engine::{Engine, Parts};
pub use environment::EnvironmentView;
pub use error::{Captured, EngineError};
pub use events::Events;
pub use exec::{ExecInput, ExecRequest, ExecResult, KillRequest};
pub use file::{Bytes, DirListing, FileChanges, FileContent, FileStat, modified_at};
pub use follow::{ExecEvent, ExecFollow};
pub use host::{HostFree, HostGauge, LowMark, NoGauge};
pub use idempotency::{Answer, Keep};
pub use key::{KeyMade, KeyRequest};
pub use lease::{LeaseHeartbeat, LeaseTakeRequest};
pub use output::{OutputRead, OutputStream};
pub use permit::Permit;
pub use preview::{PreviewConnection, PreviewHealth};
pub use recovery::{Recovered, Recovery};
pub use retention::Retained;
pub use session::{ExtendRequest, SessionView, StatusView, TerminateRequest, TransitionRequest};
pub use settings::Settings;
pub use sweeper::{Sweep, Swept};
pub use template::TemplateRequest;
pub use terminal::{Terminal, TerminalEvent, TerminalInput, TerminalRequest, TerminalStatus};
pub use timeline::{HostClock, Timeline};

/// What the kernel says of an environment, and what an environment's agent says of files.
pub use tenure_environment::{
    KernelLimit, Observation, protocol::ChangeKind, protocol::FileKind, protocol::WindowSize,
};
/// The terms of a lease, as somebody asks for them.
pub use tenure_session::LeaseRequest;
/// What a reading of the whole audit found.
pub use tenure_store::audit::{Problem, ProblemKind, Verification};
/// What is remembered, for those who show it.
pub use tenure_store::{
    ArchiveRecord, AuditEntry, AuditFilter, ContentDigest, ExecLedgerState, ExecOutcome, ExecRecord, KeyRecord,
    LeaseTerms, Page, PageRequest, PreviewRecord, Profile, SessionFilter, SignedHead, StoredAnswer, StreamTotal,
    TemplateRecord,
};
