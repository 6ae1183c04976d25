//! The law of sessions: what they are, what may be done to them, when they end and why. Pure functions of (session, time).
//!
//! ```text
//!  request ─► operation.rs   one row per operation: who, in which states, activity, fence, after the end
//!                  │
//!                  ▼
//!             admission.rs   the order of the checks ─► verdict.rs   is a limit passed? the only place that compares one with a clock
//!                  │                                      ▲
//!                  ▼                                      └─ sweeper, recovery and explain ask the same function
//!             step.rs        which transition of state.rs follows; ending.rs, once it ends
//! ```
//!
//! Nothing here reads a clock, does I/O, or knows SQL or HTTP: time is handed in, and what is decided is handed back as plain data.

mod admission;
mod caller;
mod cleanup;
mod ending;
mod explain;
mod failure;
mod id;
mod identity;
mod lease;
mod limits;
mod operation;
mod presence;
mod reason;
mod session;
mod state;
mod status;
mod step;
mod time;
mod verdict;

pub use admission::{Admission, Attempt, ExecOverLimit, Refusal, admit, admit_exec, found};
pub use caller::{Access, Caller, Denied, Role, access, may, may_without_session};
pub use cleanup::{CleanupCheck, cleanup_check};
pub use ending::{Ending, NoSuchEnd, end};
pub use explain::{Cause, Evidence, Explanation, explain};
pub use failure::{
    FAILURES, Failure, FailureClass, FailureContext, FailureType, NotAFailureType, RecoveryAction, Severity, classify,
};
pub use id::{EnvironmentId, ExecId, InvalidId, KeyId, Lookup, SessionId, UserId};
pub use identity::{Identity, IdentityClaim, InvalidIdentity};
pub use lease::{
    DowntimeShift, Lease, LeasePolicy, LeaseRelease, LeaseRenewal, LeaseRequest, LeaseTake, LeaseTerms, LeaseToken,
    lease_release, lease_renew, lease_take, lease_terms, shift_downtime,
};
pub use limits::{
    EnforcedLimits, InvalidField, LimitPolicy, LimitRequest, Network, OnExecLimit, Range, SessionLimits, resolve,
};
pub use operation::{AfterEnd, Fence, Operation, Row, States, Who};
pub use presence::{Presence, Work, activity_lag_ms};
pub use reason::{NotAReason, TerminationReason, Trigger};
pub use session::{End, EnvironmentState, Session, SessionEnvironment};
pub use state::{IllegalTransition, NotAState, Phase, State, transition};
pub use status::{DisplayState, Progress, Status, status};
pub use step::{Step, step};
pub use time::{NotATimestamp, Timestamp};
pub use verdict::{Limit, Verdict, deadline, limits_ahead, verdict};
