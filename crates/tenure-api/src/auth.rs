//! Who somebody is: a key, a token or a ticket, looked at before anything else of a request is (AU-1, AU-2).

use std::sync::Arc;
use tenure_session::{Caller, Timestamp};

/// Somebody whose credential was checked, and how long it is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Who it is.
    pub caller: Arc<Caller>,
    /// From when on it is good for nothing; what runs on it ends then.
    pub expires_at: Option<Timestamp>,
}
