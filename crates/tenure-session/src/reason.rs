//! Why sessions end, and who moves them: two closed sets (TM-5, TR-4).

use crate::failure::FailureType;
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$word_doc])* $word),+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$word),+];

            /// Its name, as it is written everywhere.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$word => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = NotAReason;

            fn from_str(text: &str) -> Result<$name, NotAReason> {
                $name::ALL.iter().copied().find(|word| word.as_str() == text).ok_or(NotAReason)
            }
        }
    };
}

/// The text is none of the words that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such reason")]
pub struct NotAReason;

words! {
    /// Why a session ended. The first reason is the only one.
    TerminationReason {
        /// Its owner ended it.
        UserRequest = "user_request",
        /// An administrator ended it.
        AdminRequest = "admin_request",
        /// Its owner said that its work is done.
        Completed = "completed",
        /// It lived as long as it may.
        MaxLifetime = "max_lifetime",
        /// Nobody worked in it for as long as that may be.
        IdleTimeout = "idle_timeout",
        /// Its lease was not renewed in time.
        LeaseExpired = "lease_expired",
        /// More was started at once than may run, and its limit says to end then.
        ExecConcurrency = "exec_concurrency",
        /// It was deleted while it lived.
        Deleted = "deleted",
        /// Its environment was found dead, or was killed unproven, after a restart or a reboot.
        EnvironmentLost = "environment_lost",
        /// Its environment could not be made.
        FailedInit = "failed_init",
        /// Its environment died while it was watched.
        FailedRuntime = "failed_runtime",
        /// The host failed.
        FailedInfra = "failed_infra",
    }
}

impl TerminationReason {
    /// The state that a session ends in for this reason.
    pub fn ends_in(self) -> State {
        use TerminationReason::*;
        match self {
            UserRequest | AdminRequest | Completed | MaxLifetime | IdleTimeout | LeaseExpired | ExecConcurrency
            | Deleted => State::Terminated,
            EnvironmentLost | FailedInit | FailedRuntime | FailedInfra => State::Failed,
        }
    }

    /// The type of failure that belongs to it, where it ends in `failed` (LC-4, FL-1).
    pub fn failure_type(self) -> Option<FailureType> {
        use TerminationReason::*;
        match self {
            UserRequest | AdminRequest | Completed | MaxLifetime | IdleTimeout | LeaseExpired | ExecConcurrency
            | Deleted => None,
            FailedInit => Some(FailureType::Init),
            EnvironmentLost | FailedRuntime => Some(FailureType::Runtime),
            FailedInfra => Some(FailureType::Infra),
        }
    }

    /// The reason of a request to terminate that gives none.
    pub fn by_default(admin: bool) -> TerminationReason {
        if admin { TerminationReason::AdminRequest } else { TerminationReason::UserRequest }
    }

    /// Whether somebody in this role may give it as the reason of a request to terminate.
    pub fn may_be_given_by(self, admin: bool) -> bool {
        use TerminationReason::*;
        match self {
            UserRequest | Completed => true,
            AdminRequest => admin,
            MaxLifetime | IdleTimeout | LeaseExpired | ExecConcurrency | Deleted | EnvironmentLost | FailedInit
            | FailedRuntime | FailedInfra => false,
        }
    }
}

words! {
    /// What set an audited event off.
    Trigger {
        /// A user did it.
        UserAction = "user_action",
        /// It follows from a call, and nobody asked for it as such.
        ApiCall = "api_call",
        /// A limit passed.
        SystemTimeout = "system_timeout",
        /// It was found so after a restart.
        Recovery = "recovery",
        /// Something failed.
        Error = "error",
    }
}
